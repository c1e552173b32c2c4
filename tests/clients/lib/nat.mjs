// A NAT between clients and the server that can lose its mappings: an HTTP proxy that puts relays of its own in place
// of an answer's candidates. The client keeps its socket and its address; the server sees the media come from
// another port, or from another address family, and the old mapping takes nothing back to the client.
import dgram from 'node:dgram';
import http from 'node:http';

const CANDIDATE = /^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host.*$/i;
/** RFC 7983 section 7. */
const isDtls = (datagram) => datagram[0] >= 20 && datagram[0] <= 63;
const familyOf = (address) => (address.includes(':') ? 6 : 4);

function bind(address) {
  return new Promise((done, fail) => {
    const socket = dgram.createSocket(`udp${familyOf(address)}`);
    socket.once('error', fail);
    socket.bind(0, address, () => done(socket));
  });
}

/** The way of one session's media. */
class Mapping {
  /**
   * @param {Record<4 | 6, string>} outside the NAT's own addresses
   * @param {string} answer
   * @param {{ atHandshake?: boolean }} moves
   */
  static async open(inside, outside, answer, { atHandshake = false }) {
    const mapping = new Mapping();
    mapping.servers = {};
    for (const line of answer.split('\r\n')) {
      const [, address, port] = CANDIDATE.exec(line) ?? [];
      if (address) mapping.servers[familyOf(address)] ??= { address, port: Number(port) };
    }
    mapping.outside = outside;
    mapping.old = [];
    mapping.late = 0;
    const family = mapping.servers[4] ? 4 : 6;
    if (atHandshake) mapping.next = await mapping.bound(family);
    mapping.inside = await bind(inside);
    mapping.inside.on('message', (datagram, { address, port }) => {
      mapping.client = { address, port };
      if (mapping.next && isDtls(datagram)) mapping.use(mapping.next, family);
      mapping.send(mapping.back, datagram, mapping.server);
    });
    mapping.use(await mapping.bound(family), family);
    return mapping;
  }

  /** A port of the NAT's. */
  async bound(family) {
    const back = await bind(this.outside[family]);
    back.on('message', (datagram) => {
      if (back !== this.back) this.late += 1;
      else if (this.client) this.send(this.inside, datagram, this.client);
    });
    return back;
  }

  use(back, family) {
    if (this.back) this.old.push(this.back);
    if (back === this.next) this.next = undefined;
    this.server = this.servers[family];
    this.back = back;
  }

  send(socket, datagram, { address, port }) {
    // Like every link, it loses what the kernel does not take.
    socket.send(datagram, port, address, () => {});
  }

  /** The answer or fragment with this way as its only candidate, in each section that has some. */
  through(sdp) {
    const { address, port } = this.inside.address();
    let section = 0;
    let written = -1;
    return sdp.split('\r\n').flatMap((line) => {
      if (line.startsWith('m=')) section += 1;
      if (!line.startsWith('a=candidate:')) return [line];
      if (written === section) return [];
      written = section;
      return [`a=candidate:1 1 udp 2130706431 ${address} ${port} typ host`];
    }).join('\r\n');
  }

  close() {
    for (const socket of [this.inside, this.back, ...this.old]) socket.close();
    this.next?.close();
  }
}

export class Nat {
  /**
   * @param {string} base the server's URL
   * @param {{ inside?: string, outside?: Record<4 | 6, string> }} addresses where clients and the server see it
   * @param {{ atHandshake?: boolean, atRestart?: boolean }} [moves] when it moves mappings by itself: at the first DTLS
   *   datagram of a client, and between the server's answer to an ICE restart and the client's reading of it
   */
  static async start(base, { inside, outside }, moves = {}) {
    const nat = new Nat();
    Object.assign(nat, { target: new URL(base), inside, outside, moves, mappings: new Map() });
    nat.server = http.createServer((request, response) => nat.proxy(request, response));
    await new Promise((done) => nat.server.listen(0, '127.0.0.1', done));
    nat.base = `http://127.0.0.1:${nat.server.address().port}`;
    return nat;
  }

  proxy(request, response) {
    const { hostname, port } = this.target;
    const upstream = http.request({
      hostname, port, path: request.url, method: request.method, headers: { ...request.headers, host: `${hostname}:${port}` },
    }, async (answer) => {
      const parts = [];
      for await (const part of answer) parts.push(part);
      let body = Buffer.concat(parts);
      const mapping = answer.statusCode === 201
        ? await this.open(body.toString(), answer.headers.location)
        : this.mappings.get(request.url);
      if (mapping && [200, 201].includes(answer.statusCode)) body = Buffer.from(mapping.through(body.toString()));
      if (this.moves.atRestart && mapping && request.method === 'PATCH' && answer.statusCode === 200) await this.rebind();
      response.writeHead(answer.statusCode, { ...answer.headers, 'content-length': body.length });
      response.end(body);
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  }

  async open(answer, location) {
    const mapping = await Mapping.open(this.inside, this.outside, answer, this.moves);
    this.mappings.set(new URL(location, this.target).pathname, mapping);
    return mapping;
  }

  /** Every session's media comes from another port from now on, of this address family or of the one before. */
  async rebind(family) {
    for (const mapping of this.mappings.values()) {
      const to = family ?? familyOf(mapping.back.address().address);
      mapping.use(await mapping.bound(to), to);
    }
  }

  async close() {
    for (const mapping of this.mappings.values()) mapping.close();
    await new Promise((done) => {
      this.server.close(done);
      this.server.closeAllConnections();
    });
  }
}
