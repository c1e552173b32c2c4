// The reverse proxies of docs/operations.md, as they are written there: WHIP, event streams, WebSockets.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from '../lib/ports.mjs';
import { Server } from '../lib/server.mjs';
import { inTime, until } from '../lib/wait.mjs';

const DOCUMENT = fileURLToPath(new URL('../../../docs/operations.md', import.meta.url));
const NGINX = ['/usr/sbin/nginx', '/usr/bin/nginx'].find((file) => existsSync(file));
const OFFER = `v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
a=fingerprint:sha-256 ${Array(32).fill('AB').join(':')}\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\n\
a=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
a=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n`;

const running = [];
afterEach(() => Promise.all(running.splice(0).map((stop) => stop())));

/** The document's text for nginx, but without TLS and on other ports. */
async function documented(port, server) {
  const [, text] = (await readFile(DOCUMENT, 'utf8')).match(/```nginx\n([\s\S]*?)```/) ?? [];
  assert.ok(text, 'docs/operations.md has a text for nginx');
  const here = text
    .replace(/^\s*listen \[::\]:443.*\n/m, '')
    .replace(/listen 443 ssl http2;/, `listen 127.0.0.1:${port};`)
    .replace(/^\s*ssl_certificate.*\n/gm, '')
    .replaceAll('http://127.0.0.1:8080', server.base);
  assert.ok(!here.includes('ssl') && here.includes(server.base), here);
  return here;
}

async function nginx(server) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'lightstick-nginx-'));
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`);
  await writeFile(path.join(folder, 'nginx.conf'), `daemon off; pid ${folder}/pid; error_log stderr warn;
events {}
http { access_log off; ${temporary.join(' ')}
${await documented(port, server)} }`);
  const child = spawn(NGINX, ['-p', folder, '-c', path.join(folder, 'nginx.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk) => { said += chunk; });
  const ended = new Promise((done) => child.once('close', done));
  running.push(async () => {
    child.kill('SIGTERM');
    await ended;
    await rm(folder, { recursive: true, force: true });
  });
  const base = `http://127.0.0.1:${port}`;
  await until('nginx listens', async () => {
    assert.equal(child.exitCode, null, said);
    return fetch(`${base}/api/v1/client-config`).then(({ ok }) => ok, () => false);
  });
  return base;
}

/** A WebSocket's handshake, as a browser sends it. */
async function upgraded(url) {
  const request = http.request(url, { headers: {
    connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
    'sec-websocket-key': randomBytes(16).toString('base64'), 'sec-websocket-protocol': 'lightstick.chat.v1.json',
  } });
  request.once('response', ({ statusCode }) => request.destroy(new Error(`the answer was ${statusCode}`)));
  request.end();
  const [{ headers }, socket] = await once(request, 'upgrade');
  socket.resume();
  return { headers, socket };
}

test('nginx passes WHEP, event streams and WebSockets through', { skip: NGINX ? false : 'nginx is not installed' }, async () => {
  const server = await Server.start('proxy', { signaling: { trusted_proxies: ['127.0.0.1'] } });
  running.push(() => server.stop());
  const base = await nginx(server);

  const created = await fetch(`${base}/whep/stage/`, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: OFFER });
  assert.equal(created.status, 201, await created.clone().text());
  const session = new URL(created.headers.get('location'), base).href;
  assert.match(await created.text(), /^v=0/);

  const events = await fetch(`${session}/events`);
  const reader = events.body.pipeThrough(new TextDecoderStream()).getReader();
  let seen = '';
  await inTime('the first event', (async () => {
    while (!seen.includes('event: viewercount')) seen += (await reader.read()).value;
  })());
  assert.match(seen, /event: inactive/);
  await reader.cancel();

  const { headers, socket } = await inTime('the WebSocket opens', upgraded(`${base}/chat/stage`));
  assert.equal(headers['sec-websocket-protocol'], 'lightstick.chat.v1.json');
  const closed = once(socket, 'close');
  // A masked close frame without a body (RFC 6455 section 5.5.1): the server answers it and ends.
  socket.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]));
  await inTime('the WebSocket closes', closed);

  assert.equal((await fetch(session, { method: 'DELETE' })).status, 200);
  assert.equal((await fetch(session, { method: 'DELETE' })).status, 404);
});
