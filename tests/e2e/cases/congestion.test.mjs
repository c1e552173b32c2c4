// A viewer behind a link that becomes narrow, and wide again.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { narrow, widen } from '../lib/shaper.mjs';

const here = scene('congestion');
const WIDE = 1280;

after(() => {
  try {
    widen();
  } catch {
    // It was wide already.
  }
});

test('a link that falls to 800 kbit/s gets a layer that fits, and the best one when it recovers', async (t) => {
  const { server } = here;
  const room = here.room();
  const publisher = await Publisher.start(await here.page(), server.whip(room), {
    codec: 'VP8', width: WIDE, height: (WIDE / 16) * 9, simulcast: true, token: server.token,
  });
  const viewer = await Viewer.start(await here.page(), server.whep(room));
  await publisher.sends(['l', 'm', 'h'], 25_000);
  await viewer.width(WIDE, 25_000);
  await viewer.decodes(60);
  const frozenBefore = (await viewer.media()).video.totalFreezesDuration;

  const { localPort } = await viewer.path();
  const narrowAt = Date.now();
  narrow(localPort, 800);
  const fits = await viewer.narrower(WIDE, 15_000);
  const down = Date.now() - narrowAt;
  await viewer.decodes(90, 15_000);

  const wideAt = Date.now();
  widen();
  await viewer.width(WIDE, 60_000);
  const up = Date.now() - wideAt;
  const { totalFreezesDuration: frozen } = (await viewer.media()).video;
  t.diagnostic(`down to a width of ${fits} after ${down} ms, up again after ${up} ms, frozen for ${Math.round((frozen - frozenBefore) * 1000)} ms`);
  assert.ok(fits <= WIDE / 2, `${fits} is what a narrow link gets`);

  await viewer.remove();
  await publisher.remove();
});
