// SIGTERM in the middle of a show.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';

const here = scene('drain', { settings: { shutdown: { deadline: '3s' } } });

test('viewers are told, joins are refused, and the process ends in order', async () => {
  const { server } = here;
  const room = here.room();
  await Publisher.start(await here.page(), server.whip(room), { codec: 'VP8', token: server.token });
  const viewer = await Viewer.start(await here.page(), server.whep(room));
  await viewer.decodes(15, 15_000);
  const late = await here.page();

  server.terminate();
  const { retryAfterMs } = await viewer.event('reconnect');
  assert.ok(retryAfterMs > 0 && retryAfterMs < 60_000, `${retryAfterMs}`);
  for (const attempt of [
    () => Viewer.attempt(late, server.whep(room), {}),
    () => Publisher.attempt(late, server.whip(here.room()), { codec: 'VP8', token: server.token }),
  ]) {
    const refused = await attempt();
    assert.equal(refused.status, 503);
    assert.match(refused.retryAfter, /^\d+$/);
    assert.equal(typeof refused.problem.code, 'string');
  }
  assert.deepEqual(await server.end(8_000), { code: 0, signal: null });
  await viewer.closed();
});
