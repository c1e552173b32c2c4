// Chromium publishes and Chromium watches: every codec, and simulcast with the viewer's choice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { until } from '../lib/wait.mjs';

const here = scene('media');

for (const codec of ['H264', 'VP8', 'VP9', 'AV1']) {
  test(`${codec} and Opus arrive whole`, async () => {
    const { server } = here;
    const room = here.room();
    const publisher = await Publisher.start(await here.page(), server.whip(room), { codec, token: server.token });
    const viewer = await Viewer.start(await here.page(), server.whep(room));

    await viewer.decodes(45, 15_000);
    const { video, audio } = await viewer.hears(60);
    assert.equal(video.codec, `video/${codec}`);
    assert.deepEqual([video.frameWidth, video.frameHeight], [640, 360]);
    assert.equal(audio.codec, 'audio/opus');
    await viewer.assertWhole();
    assert.ok(audio.totalSamplesReceived > 0, 'sound is decoded');
    const painted = await viewer.painted();
    assert.ok(painted.count > 20, `${painted.count} frames painted`);

    await viewer.remove();
    await publisher.remove();
  });
}

// VP9 and AV1 in the smallest size of which browsers send three layers: their encoders are much work.
for (const [codec, wide] of [['VP8', 1280], ['H264', 1280], ['VP9', 960], ['AV1', 960]]) {
  test(`${codec} simulcast: the viewer's choice changes the picture without a stop`, async () => {
    const { server } = here;
    const room = here.room();
    const publisher = await Publisher.start(await here.page(), server.whip(room), {
      codec, width: wide, height: (wide / 16) * 9, simulcast: true, token: server.token,
    });
    const viewer = await Viewer.start(await here.page(), server.whep(room));
    await publisher.sends(['l', 'm', 'h'], 25_000);

    await viewer.chooseLayer('high');
    await viewer.width(wide, 15_000);
    await viewer.event('layers', ({ layers, current }) => layers.join() === 'low,medium,high' && current === 'high');
    await viewer.decodes(10);

    await viewer.watchGap();
    for (const [layer, width] of [['low', wide / 4], ['high', wide], ['medium', wide / 2], ['high', wide]]) {
      const told = (await viewer.events()).length;
      await viewer.chooseLayer(layer);
      await viewer.width(width);
      await viewer.event('layers', ({ current }) => current === layer, { from: told });
      await viewer.decodes(15);
    }
    const gap = await viewer.gap();
    assert.ok(gap < 1_000, `the picture stood still for ${Math.round(gap)} ms`);
    await viewer.assertWhole();

    await viewer.remove();
    await publisher.remove();
  });
}

test('many viewers of one room, over every shard', async () => {
  const { server } = here;
  const room = here.room();
  await Publisher.start(await here.page(), server.whip(room), { codec: 'VP8', token: server.token });
  const page = await here.page();
  const viewers = await Promise.all(Array.from({ length: 6 }, () => Viewer.start(page, server.whep(room))));
  await Promise.all(viewers.map((viewer) => viewer.decodes(30, 15_000)));

  const ports = new Set(await Promise.all(viewers.map(async (viewer) => (await viewer.path()).port)));
  assert.ok(ports.size > 1, `all viewers are on port ${[...ports]}`);
  for (const viewer of viewers) await viewer.assertWhole();
  await until('the API counts the viewers', async () => {
    const { body } = await server.api(`/rooms/${room}`);
    return { ok: body?.viewers === 6, value: body };
  });
});
