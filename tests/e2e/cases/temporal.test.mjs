// One encoding in three temporal layers: a viewer behind a narrow link gets fewer pictures a second.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { narrow, widen } from '../lib/shaper.mjs';
import { until } from '../lib/wait.mjs';

const here = scene('temporal');
const WIDTH = 640;
const FPS = 30;
/** Of a datagram, what the browser's figures leave out: UDP and IP, the tag, and what extensions vary by. */
const UNSEEN_BYTES = 50;

after(() => {
  try {
    widen();
  } catch {
    // It was wide already.
  }
});

/** Pictures a second and kbit/s on the wire while `frames` are decoded. */
async function measure(viewer, frames) {
  const sum = ({ video, audio }) => ({
    frames: video.framesDecoded,
    bytes: [video, audio].reduce((all, s) => all + s.bytesReceived + s.headerBytesReceived + s.packetsReceived * UNSEEN_BYTES, 0),
    at: video.timestamp,
  });
  const before = sum(await viewer.media());
  await viewer.decodes(frames, 15_000);
  const now = sum(await viewer.media());
  const seconds = (now.at - before.at) / 1000;
  return { fps: (now.frames - before.frames) / seconds, kbit: ((now.bytes - before.bytes) * 8) / 1000 / seconds };
}

const reaches = (viewer, what, frames, test, within) => until(what, async () => {
  const value = await measure(viewer, frames);
  return { ok: test(value), value };
}, { within });

test('a link that carries three fifths costs pictures, not size, and gives them back', async (t) => {
  const { server } = here;
  const room = here.room();
  const publisher = await Publisher.start(await here.page(), server.whip(room), {
    codec: 'VP8', width: WIDTH, height: (WIDTH / 16) * 9, fps: FPS, scalabilityMode: 'L1T3', maxBitrate: 800_000, token: server.token,
  });
  const viewer = await Viewer.start(await here.page(), server.whep(room));
  await viewer.decodes(30, 25_000);
  await viewer.hears(1);
  const full = await reaches(viewer, 'the show comes at its full rate', 90, ({ fps }) => fps > 0.9 * FPS, 40_000);
  assert.equal((await publisher.media()).video.scalabilityMode, 'L1T3');

  const { localPort } = await viewer.path();
  await viewer.watchGap();
  const narrowAt = Date.now();
  narrow(localPort, Math.round(full.kbit * 0.6));
  const fewer = await reaches(viewer, 'fewer pictures come', 12, ({ fps }) => fps < 0.65 * FPS, 15_000);
  const down = Date.now() - narrowAt;
  const steady = await measure(viewer, 30);
  const gap = await viewer.gap();
  assert.ok(steady.fps > 5 && steady.fps < 0.65 * FPS, `${steady.fps} pictures a second`);
  assert.ok(gap < 3_000, `nothing was painted for ${gap} ms`);
  await viewer.width(WIDTH);

  const wideAt = Date.now();
  widen();
  await reaches(viewer, 'all pictures come again', 45, ({ fps }) => fps > 0.85 * FPS, 40_000);
  const up = Date.now() - wideAt;
  const { video } = await viewer.media();
  t.diagnostic(`${full.fps.toFixed(1)} pictures/s at ${Math.round(full.kbit)} kbit/s; after ${down} ms ${fewer.fps.toFixed(1)}, `
    + `then ${steady.fps.toFixed(1)} at ${Math.round(steady.kbit)}; all again after ${up} ms; longest gap ${Math.round(gap)} ms, `
    + `${video.keyFramesDecoded} keyframes`);

  await viewer.remove();
  await publisher.remove();
});
