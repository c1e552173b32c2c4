// A link between one viewer and the server that loses and delays datagrams, both ways.
import dgram from 'node:dgram';
import { once } from 'node:events';
import { randomFrom } from './random.mjs';

/** A way to reach a peer: protocol, address and port (RFC 8839 section 5.1). */
const CANDIDATE = /^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) typ/i;

/** Where a line of an answer says that the server takes UDP, if it does. */
function candidate(line) {
  const [, protocol, address, port] = line.match(CANDIDATE) ?? [];
  return protocol?.toLowerCase() === 'udp' ? { address, port: Number(port) } : undefined;
}

/** Where the server of an answer takes datagrams: its first candidate for UDP. */
export function serverOf(sdp) {
  const [found] = sdp.split('\r\n').map(candidate).filter(Boolean);
  if (!found) throw new Error('the answer has no candidate for UDP');
  return found;
}

/** The answer with `port` in place of the server's, and no other way to reach it. */
export function through(sdp, server, port) {
  const lines = sdp.split('\r\n').map((line) => {
    if (!CANDIDATE.test(line)) return line;
    const { address, port: own } = candidate(line) ?? {};
    return address === server.address && own === server.port ? line.replace(` ${own} typ`, ` ${port} typ`) : undefined;
  });
  return lines.filter((line) => line !== undefined).join('\r\n');
}

/** Datagrams that leave in order, each after the same time. */
class Line {
  constructor(delayMs, send) {
    Object.assign(this, { delayMs, send, queue: [], timer: undefined });
  }

  push(datagram) {
    this.queue.push({ datagram, due: performance.now() + this.delayMs });
    this.timer ??= setTimeout(() => this.#flush(), this.delayMs);
  }

  #flush() {
    this.timer = undefined;
    while (this.queue.length > 0 && this.queue[0].due <= performance.now()) this.send(this.queue.shift().datagram);
    if (this.queue.length > 0) this.timer = setTimeout(() => this.#flush(), Math.max(0, this.queue[0].due - performance.now()));
  }

  close() {
    clearTimeout(this.timer);
    this.queue = [];
  }
}

export class Relay {
  /** Between `server` and whoever sends to `port` first. Loses a share of `loss`, takes `rttMs` there and back. */
  static async open(server, { loss, rttMs, seed }) {
    const relay = new Relay();
    relay.counts = { down: 0, lostDown: 0, up: 0, lostUp: 0 };
    // Each way has its own: what one loses does not depend on when the other asks.
    const randoms = [randomFrom(seed), randomFrom(seed + 1)];
    const sockets = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
    for (const socket of sockets) {
      socket.bind(0, server.address);
      await once(socket, 'listening');
    }
    const [outer, inner] = sockets;
    relay.sockets = sockets;
    relay.port = outer.address().port;
    let viewer;
    // Whatever cannot be sent is lost: that is what links do.
    const ignore = () => {};
    const up = new Line(rttMs / 2, (datagram) => inner.send(datagram, server.port, server.address, ignore));
    const down = new Line(rttMs / 2, (datagram) => viewer && outer.send(datagram, viewer.port, viewer.address, ignore));
    relay.lines = [up, down];
    const pass = (line, random, count, lost) => (datagram) => {
      relay.counts[count] += 1;
      if (random() < loss) relay.counts[lost] += 1;
      else line.push(datagram);
    };
    const fromViewer = pass(up, randoms[0], 'up', 'lostUp');
    outer.on('message', (datagram, from) => {
      viewer = from;
      fromViewer(datagram);
    });
    inner.on('message', pass(down, randoms[1], 'down', 'lostDown'));
    return relay;
  }

  async close() {
    this.lines.forEach((line) => line.close());
    await Promise.all(this.sockets.map((socket) => new Promise((done) => socket.close(done))));
  }
}
