// Ports for one server: nothing else on this machine listens there at this moment.
import dgram from 'node:dgram';
import net from 'node:net';

const HOST = '127.0.0.1';

function bindTcp(port) {
  return new Promise((done, fail) => {
    const server = net.createServer();
    server.once('error', fail);
    server.listen(port, HOST, () => done(server));
  });
}

function bindUdp(port) {
  return new Promise((done, fail) => {
    const socket = dgram.createSocket('udp4');
    socket.once('error', fail);
    socket.bind(port, HOST, () => done(socket));
  });
}

const closed = (socket) => new Promise((done) => socket.close(done));

/** One TCP port that is free. */
export async function freePort() {
  const server = await bindTcp(0);
  const { port } = server.address();
  await closed(server);
  return port;
}

/** The first of `count` neighbouring ports that are free for UDP and TCP. */
export async function freeMediaPorts(count) {
  for (let tries = 0; tries < 100; tries += 1) {
    const first = await freePort();
    const held = [];
    try {
      for (let port = first; port < first + count; port += 1) {
        held.push(await bindUdp(port), await bindTcp(port));
      }
      return first;
    } catch {
      // Taken in between, or past the last port: another place.
    } finally {
      await Promise.all(held.map(closed));
    }
  }
  throw new Error(`no ${count} neighbouring ports are free`);
}
