// A viewer behind a link that becomes narrow, and wide again.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { processorWaited } from '../lib/kernel.mjs';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { narrow, widen } from '../lib/shaper.mjs';
import { until } from '../lib/wait.mjs';

const here = scene('congestion');
const WIDE = 1280;
const NARROW_KBPS = 800;
/** Twice what we aim at, in milliseconds, where browsers get the processors that they need; otherwise the rest. */
const AIMS = { down: 3_000, frozen: 2_000, up: 30_000 };
const BUSY = { down: 15_000, frozen: 15_000, up: 60_000 };
/** The part of the time in which something waits for a processor, from which on a machine is busy. */
const BUSY_FROM = 0.6;

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
  // Without temporal layers, which may be left out first: `temporal.test.mjs` sees to those.
  const publisher = await Publisher.start(await here.page(), server.whip(room), {
    codec: 'VP8', width: WIDE, height: (WIDE / 16) * 9, simulcast: true, scalabilityMode: 'L1T1', token: server.token,
  });
  const viewer = await Viewer.start(await here.page(), server.whep(room));
  await publisher.sends(['l', 'm', 'h'], 25_000);
  await viewer.width(WIDE, 25_000);
  await viewer.decodes(60);
  // A browser that is short of processor time sends less of the best layer: it would fit the link, or rests.
  await until('the best layer does not fit the narrow link', async () => {
    const { body } = await server.api(`/rooms/${room}`);
    const high = body.tracks.find(({ kind }) => kind === 'video').layers.find(({ layer }) => layer === 'high');
    return { ok: high?.bitrateBps > NARROW_KBPS * 1_050, value: high };
  }, { within: 30_000 });
  await viewer.width(WIDE);
  const frozenBefore = (await viewer.media()).video.totalFreezesDuration;

  const { localPort } = await viewer.path();
  const waitedBefore = processorWaited();
  const narrowAt = Date.now();
  narrow(localPort, NARROW_KBPS);
  const fits = await viewer.narrower(WIDE, BUSY.down);
  const down = Date.now() - narrowAt;
  await viewer.decodes(90, 15_000);
  const estimate = await until('the API shows an estimate of the narrow link', async () => {
    const { body } = await server.api(`/rooms/${room}/sessions`);
    const bps = body.sessions.find(({ role }) => role === 'viewer').media.estimateBps;
    return { ok: bps > 100_000 && bps < NARROW_KBPS * 1_500, value: bps };
  });
  await until('the metrics count it', async () => {
    const buckets = await server.metric('lightstick_viewer_estimate_bits_per_second_bucket');
    const counted = buckets.filter(({ labels, value }) => labels.le === '1200000' && value === 1);
    return { ok: counted.length === 1, value: buckets };
  });

  const wideAt = Date.now();
  widen();
  await viewer.width(WIDE, BUSY.up);
  const up = Date.now() - wideAt;
  const frozen = Math.round(((await viewer.media()).video.totalFreezesDuration - frozenBefore) * 1_000);
  const busy = (processorWaited() - waitedBefore) / (Date.now() - narrowAt);
  t.diagnostic(`down to a width of ${fits} after ${down} ms, up again after ${up} ms, frozen for ${frozen} ms, estimate ${Math.round(estimate / 1_000)} kbit/s, busy ${busy.toFixed(2)}`);
  assert.ok(fits <= WIDE / 2, `${fits} is what a narrow link gets`);
  const limits = busy < BUSY_FROM ? AIMS : BUSY;
  for (const [what, took] of Object.entries({ down, frozen, up })) {
    assert.ok(took <= limits[what], `${what}: ${took} ms, limit ${limits[what]} ms on a machine that was busy for ${busy.toFixed(2)}`);
  }

  await viewer.remove();
  await publisher.remove();
});
