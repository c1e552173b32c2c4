// aiortc, a stack with nothing in common with browsers: publishes and watches, with Chromium too.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Publisher, Viewer } from '../lib/party.mjs';
import { Script } from '../lib/python.mjs';
import { scene } from '../lib/scene.mjs';

const here = scene('aiortc');
const scripts = [];
const script = (...args) => {
  const started = new Script(...args);
  scripts.push(started);
  return started;
};
afterEach(() => Promise.all(scripts.splice(0).map((running) => running.kill())));

const frames = (kind, count) => (event) => event.event === 'frames' && event.kind === kind && event.frames >= count;

for (const codec of ['VP8', 'H264']) {
  test(`aiortc publishes ${codec}; Chromium and aiortc watch`, async () => {
    const { server } = here;
    const room = here.room();
    const publisher = script('publish', { url: server.whip(room), token: server.token, codec });
    await publisher.joined();
    const viewer = await Viewer.start(await here.page(), server.whep(room));
    const video = await viewer.decodes(45, 15_000);
    assert.deepEqual([video.codec, video.frameWidth, video.frameHeight], [`video/${codec}`, 640, 360]);
    await viewer.hears(60);

    const watcher = script('view', { url: server.whep(room) });
    await watcher.joined();
    const seen = await watcher.said('aiortc decodes video', frames('video', 30));
    assert.deepEqual([seen.width, seen.height], [640, 360]);
    await watcher.said('aiortc decodes audio', frames('audio', 50));

    assert.deepEqual(await watcher.leave(), { code: 0, signal: null }, watcher.errors);
    assert.deepEqual(await publisher.leave(), { code: 0, signal: null }, publisher.errors);
    await viewer.event('inactive', ({ reason }) => reason === 'ended');
  });
}

for (const codec of ['VP8', 'H264']) {
  test(`aiortc watches ${codec} from Chromium`, async () => {
    const { server } = here;
    const room = here.room();
    await Publisher.start(await here.page(), server.whip(room), { codec, token: server.token });
    const watcher = script('view', { url: server.whep(room) });
    await watcher.joined();
    const seen = await watcher.said('aiortc decodes video', frames('video', 30));
    assert.deepEqual([seen.width, seen.height], [640, 360]);
    await watcher.said('aiortc decodes audio', frames('audio', 50));
    assert.deepEqual(await watcher.leave(), { code: 0, signal: null }, watcher.errors);
  });
}
