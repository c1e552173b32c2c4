// One browser's way to the server: an HTTP proxy, and a NAT for its media. It can be cut and mended as a line is, and
// the NAT can forget its ports, as the NATs of homes and phone networks do.
import dgram from 'node:dgram';
import http from 'node:http';
import net from 'node:net';

/** A UDP candidate of the server: what stands before the address, the address, the port, and the rest. */
const CANDIDATE = /^(a=candidate:\S+ \d+ udp \d+ )(\S+) (\d+)( typ host.*)$/i;

/** A socket that listens on `host`. */
function bound(host) {
  const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
  return new Promise((done, fail) => {
    socket.once('error', fail);
    socket.bind(0, host, () => {
      socket.off('error', fail);
      // A port that is closed on the other side is no fault of the line.
      socket.on('error', () => {});
      done(socket);
    });
  });
}

export class Uplink {
  #sockets = new Set();
  /** By the server's address: what listens for the browser in its place. */
  #doors = new Map();
  #cut = false;

  /**
   * @param {{ base: string }} server
   * @param {{ host?: string }} [options] `host`: where media is taken; Firefox sends none to a loopback address
   */
  static async start(server, { host = '127.0.0.1' } = {}) {
    const uplink = new Uplink();
    uplink.host = host;
    uplink.target = new URL(server.base);
    uplink.http = http.createServer((request, response) => uplink.#forward(request, response));
    uplink.http.on('upgrade', (request, socket, head) => uplink.#upgrade(request, socket, head));
    uplink.http.on('connection', (socket) => uplink.#track(socket));
    await new Promise((listening) => uplink.http.listen(0, '127.0.0.1', listening));
    uplink.base = `http://127.0.0.1:${uplink.http.address().port}`;
    return uplink;
  }

  /** From now on nothing comes through, and nothing is said about it. */
  cut() {
    this.#cut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** The line is as it was. */
  mend() {
    this.#cut = false;
    for (const socket of this.#sockets) socket.resume();
  }

  /** The NAT gives every flow another port. What comes to the old ones is lost. */
  rebind() {
    for (const { flows } of this.#doors.values()) {
      for (const flow of flows.values()) flow.outside.close();
      flows.clear();
    }
  }

  async close() {
    for (const { inside, flows } of this.#doors.values()) {
      inside.close();
      for (const { outside } of flows.values()) outside.close();
    }
    this.http.closeAllConnections();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((closed) => this.http.close(closed));
  }

  #track(socket) {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    if (this.#cut) socket.pause();
  }

  #request(request) {
    const { hostname, port } = this.target;
    return http.request({
      hostname, port, path: request.url, method: request.method, agent: false,
      headers: { ...request.headers, host: this.target.host, ...(request.headers.origin && { origin: this.target.origin }) },
    });
  }

  #forward(request, response) {
    const onward = this.#request(request);
    onward.on('socket', (socket) => this.#track(socket));
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    onward.on('response', async (answer) => {
      const session = /^\/wh[ie]p\//.test(request.url) && ['POST', 'PATCH'].includes(request.method);
      if (!session) {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
        return;
      }
      const chunks = [];
      for await (const chunk of answer) chunks.push(chunk);
      const body = await this.#translate(Buffer.concat(chunks).toString());
      const { 'content-length': _, 'transfer-encoding': __, ...headers } = answer.headers;
      response.writeHead(answer.statusCode, headers).end(body);
    });
    request.pipe(onward);
  }

  #upgrade(request, socket, head) {
    const onward = this.#request(request);
    onward.on('error', () => socket.destroy());
    onward.on('upgrade', (answer, server, first) => {
      this.#track(server);
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
      socket.write(first);
      server.write(head);
      server.pipe(socket).pipe(server);
      socket.on('close', () => server.destroy());
      server.on('close', () => socket.destroy());
    });
    onward.on('response', () => socket.destroy());
    onward.end();
  }

  /** The server's description with addresses of this side, UDP alone. */
  async #translate(sdp) {
    const lines = [];
    for (const line of sdp.split('\r\n')) {
      const found = CANDIDATE.exec(line);
      if (found) {
        const [, before, address, port, after] = found;
        if (net.isIPv6(address) !== net.isIPv6(this.host)) continue;
        const inside = await this.#door(address, Number(port));
        lines.push(`${before}${this.host} ${inside.address().port}${after}`);
      } else if (!line.startsWith('a=candidate:')) {
        lines.push(line);
      }
    }
    return lines.join('\r\n');
  }

  async #door(address, port) {
    const key = `${address} ${port}`;
    const known = this.#doors.get(key);
    if (known) return known.inside;
    const inside = await bound(this.host);
    const flows = new Map();
    this.#doors.set(key, { inside, flows });
    inside.on('message', async (message, from) => {
      const flow = this.#flow(flows, inside, from, address);
      const outside = await flow.ready;
      if (!this.#cut && flows.get(flow.key) === flow) outside.send(message, port, address);
    });
    return inside;
  }

  /** The port that the NAT has given to what comes from `from`. */
  #flow(flows, inside, from, address) {
    const key = `${from.address} ${from.port}`;
    const known = flows.get(key);
    if (known) return known;
    const flow = { key, outside: undefined, ready: undefined };
    const outside = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');
    outside.on('error', () => {});
    outside.on('message', (message) => {
      if (!this.#cut) inside.send(message, from.port, from.address);
    });
    flow.outside = outside;
    flow.ready = new Promise((done) => outside.bind(0, address, () => done(outside)));
    flows.set(key, flow);
    return flow;
  }
}
