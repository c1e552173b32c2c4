import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { Relay, serverOf, through } from '../lib/relay.mjs';

const ANSWER = [
  'v=0',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'a=candidate:1 1 tcp 900 127.0.0.1 7700 typ host tcptype passive',
  'a=candidate:2 1 UDP 800 127.0.0.1 7701 typ host',
  'a=candidate:3 1 udp 700 10.0.0.1 7701 typ host',
  'a=end-of-candidates',
  '',
].join('\r\n');

test('an answer leads through the link, and nowhere else', () => {
  const server = serverOf(ANSWER);
  assert.deepEqual(server, { address: '127.0.0.1', port: 7701 });
  assert.equal(through(ANSWER, server, 9), [
    'v=0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=candidate:2 1 UDP 800 127.0.0.1 9 typ host', 'a=end-of-candidates', '',
  ].join('\r\n'));
  assert.throws(() => serverOf('v=0\r\n'), /no candidate/);
});

/** Sends numbers through a link and back. Gives those that came, and the least time they took. */
async function echo(link, count) {
  const server = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  const viewer = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await Promise.all([once(server, 'listening'), once(viewer, 'listening')]);
  server.on('message', (datagram, { port, address }) => server.send(datagram, port, address));
  const relay = await Relay.open(server.address(), { seed: 1, ...link });
  const [came, sentAt] = [[], []];
  let least = Infinity;
  const all = new Promise((done) => {
    viewer.on('message', (datagram) => {
      const number = datagram.readUInt16BE();
      came.push(number);
      least = Math.min(least, performance.now() - sentAt[number]);
      if (came.length + relay.counts.lostUp + relay.counts.lostDown === count) done();
    });
  });
  for (let n = 0; n < count; n += 1) {
    sentAt.push(performance.now());
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16BE(n);
    viewer.send(bytes, relay.port, '127.0.0.1');
  }
  await all;
  const { counts } = relay;
  await relay.close();
  server.close();
  viewer.close();
  return { came, least, counts };
}

test('a link delays all and loses some', { timeout: 20_000 }, async () => {
  const clean = await echo({ loss: 0, rttMs: 40 }, 50);
  assert.deepEqual(clean.came, Array.from({ length: 50 }, (_, n) => n));
  assert.ok(clean.least >= 39, String(clean.least));
  // The last of them comes with this seed.
  const lossy = await echo({ loss: 0.2, rttMs: 0 }, 50);
  assert.ok(lossy.counts.lostUp > 0 && lossy.counts.lostDown > 0, JSON.stringify(lossy.counts));
  assert.deepEqual(lossy.came, [...lossy.came].sort((a, b) => a - b));
});
