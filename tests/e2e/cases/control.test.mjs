// Who may publish, and what an integrator does to rooms and sessions by the API.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { KEY, mintToken } from '../lib/token.mjs';
import { until } from '../lib/wait.mjs';

const here = scene('control', {
  settings: { auth: { keys: { [KEY.kid]: { secret: KEY.secret } } } },
});

const publishing = (room, sub, grants = {}) => mintToken(KEY, { sub, room, grants: { publish: true, ...grants } });
const watching = (room) => mintToken(KEY, { sub: 'fan', room, grants: { watch: true } });
const admin = () => mintToken(KEY, { sub: 'ops', room: '*', grants: { admin: true } });

async function show(room) {
  const { server } = here;
  const publisher = await Publisher.start(await here.page(), server.whip(room), {
    codec: 'VP8', token: publishing(room, 'artist'),
  });
  const viewer = await Viewer.start(await here.page(), server.whep(room), { token: watching(room) });
  await viewer.decodes(15, 15_000);
  return { publisher, viewer };
}

test('tokens decide who publishes and who watches', async () => {
  const { server } = here;
  const room = here.room();
  const page = await here.page();
  for (const [token, status, code] of [
    [undefined, 401, 'token_missing'],
    ['nonsense', 401, undefined],
    [watching(room), 403, undefined],
    [publishing('elsewhere', 'artist'), 403, undefined],
    [mintToken({ ...KEY, secret: 'x'.repeat(40) }, { room, grants: { publish: true } }), 401, undefined],
    [mintToken(KEY, { room, grants: { publish: true }, ttl: -3_600 }), 401, undefined],
  ]) {
    const refused = await Publisher.attempt(page, server.whip(room), { codec: 'VP8', token });
    assert.equal(refused.status, status, JSON.stringify(refused.problem));
    assert.equal(typeof refused.problem.code, 'string');
    if (code) assert.equal(refused.problem.code, code);
  }
  const refused = await Viewer.attempt(page, server.whep(room), {});
  assert.equal(refused.status, 401);
  assert.deepEqual((await server.api('/rooms', { token: admin() })).body.rooms, [], 'a refusal left a room behind');
});

test('a second publisher is refused; one that may take over replaces the first', async () => {
  const { server } = here;
  const room = here.room();
  const { publisher, viewer } = await show(room);

  const refused = await Publisher.attempt(await here.page(), server.whip(room), {
    codec: 'VP8', token: publishing(room, 'rival'),
  });
  assert.equal(refused.status, 409);
  assert.equal(refused.problem.code, 'room_busy');
  await viewer.decodes(15);

  const second = await Publisher.start(await here.page(), server.whip(room), {
    codec: 'VP8', token: publishing(room, 'manager', { takeover: true }), width: 320, height: 180,
  });
  await viewer.width(320, 15_000);
  await publisher.closed();
  await viewer.decodes(15);
  await second.remove();
});

test('a viewer is kicked; the others go on', async () => {
  const { server } = here;
  const room = here.room();
  const token = admin();
  const { viewer } = await show(room);
  const second = await Viewer.start(await here.page(), server.whep(room), { token: watching(room) });
  await second.decodes(10, 15_000);

  assert.equal((await server.api(`/rooms/${room}/sessions`)).status, 401, 'the API needs a token');
  const { status, body } = await server.api(`/rooms/${room}/sessions`, { token });
  assert.equal(status, 200);
  const viewers = body.sessions.filter(({ role }) => role === 'viewer');
  assert.equal(viewers.length, 2);
  const secrets = [viewer, second].map(({ posted }) => posted.location.split('/').at(-1));
  for (const secret of secrets) assert.ok(!JSON.stringify(body).includes(secret), 'the API shows a capability');

  // The oldest comes first.
  const kicked = await server.api(`/rooms/${room}/sessions/${viewers[0].id}`, { method: 'DELETE', token });
  assert.ok([200, 204].includes(kicked.status), JSON.stringify(kicked));
  await viewer.closed();
  await second.decodes(15);
});

test('a room is closed', async () => {
  const { server } = here;
  const room = here.room();
  const token = admin();
  const { publisher, viewer } = await show(room);
  const { body } = await server.api(`/rooms/${room}`, { token });
  assert.equal(body.name, room);
  assert.deepEqual(body.tracks.map(({ kind, codec }) => `${kind} ${codec}`).sort(), ['audio red', 'video vp8']);
  assert.equal(body.viewers, 1);

  const gone = await server.api(`/rooms/${room}`, { method: 'DELETE', token });
  assert.ok([200, 204].includes(gone.status), JSON.stringify(gone));
  await viewer.event('inactive', ({ reason }) => reason === 'ended');
  await publisher.closed();
  await viewer.closed();
  await until('the room is gone', async () => (await server.api(`/rooms/${room}`, { token })).status === 404);
});
