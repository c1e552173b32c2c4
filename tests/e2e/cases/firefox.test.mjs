// Firefox with Chromium, both ways. Firefox has no H264 of its own here: VP8 and VP9.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchFirefox } from '../lib/firefox.mjs';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { KEY, mintToken } from '../lib/token.mjs';

// Firefox connects to no loopback address: the server also takes that of `network.sh`.
const address = process.env.TEST_NETWORK_ADDRESS;
assert.ok(address, 'run the tests by network.sh, as ./dev e2e does');

const here = scene('firefox', {
  settings: {
    auth: { keys: { [KEY.kid]: { secret: KEY.secret } } },
    media: { bind: ['127.0.0.1', address] },
    signaling: { watch_open: true },
  },
});
const token = mintToken(KEY, { room: '*', grants: { publish: true } });
let firefox;
before(async () => { firefox = await launchFirefox(); });
after(() => firefox?.close());

test('Firefox watches VP8 from Chromium', async () => {
  const { server } = here;
  const room = here.room();
  await Publisher.start(await here.page(), server.whip(room), { codec: 'VP8', token });
  const viewer = await Viewer.start(await firefox.open(), server.whep(room));
  const video = await server.explaining(() => viewer.decodes(45, 15_000));
  assert.deepEqual([video.codec, video.frameWidth, video.frameHeight], ['video/VP8', 640, 360]);
  await viewer.hears(60);
  await viewer.assertWhole();
  await viewer.event('active');
  await viewer.remove();
});

test('Firefox publishes VP8; Chromium and Firefox watch', async () => {
  const { server } = here;
  const room = here.room();
  const publisher = await Publisher.start(await firefox.open(), server.whip(room), { codec: 'VP8', token });
  const viewers = [
    await Viewer.start(await here.page(), server.whep(room)),
    await Viewer.start(await firefox.open(), server.whep(room)),
  ];
  for (const viewer of viewers) {
    const video = await server.explaining(() => viewer.decodes(45, 15_000));
    assert.equal(video.codec, 'video/VP8');
    // Firefox sends fewer pixels where the machine is busy.
    assert.equal(video.frameWidth / video.frameHeight, 16 / 9);
    await viewer.hears(60);
    await viewer.assertWhole();
    await viewer.remove();
  }
  await publisher.remove();
});

test('Firefox sees a camera and a screen, and the main one changes', async () => {
  const { server } = here;
  const room = here.room();
  const publisher = await Publisher.start(await here.page(), server.whip(room), {
    codec: 'VP8', width: 1280, height: 720, simulcast: true, screen: true, token,
  });
  const viewer = await Viewer.start(await firefox.open(), server.whep(room), { videos: 2 });
  await server.explaining(() => viewer.shows(['camera', 'screen'], 30_000));
  await viewer.chooseMain('video-2');
  await viewer.shows(['screen', 'camera']);
  await viewer.chooseMain('auto');
  await viewer.shows(['camera', 'screen']);
  const { status } = await server.api(`/rooms/${room}/main`, { method: 'PUT', token, body: { track: 'video-2' } });
  assert.equal(status, 204);
  await viewer.shows(['screen', 'camera']);
  await viewer.remove();
  await publisher.remove();
});
