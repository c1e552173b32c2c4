// A camera and a screen beside it: viewers see both, or the main one of them, and the main one changes without
// renegotiation, for one viewer and for all.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { assertAccessible } from '../lib/accessible.mjs';
import { openWatched } from '../lib/faults.mjs';
import { Publisher, Viewer, pictureOf } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { OUT } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';

const WIDE = 1280;

const here = scene('tracks');

/** A publisher of both, with simulcast of the camera. */
function publish(room) {
  return here.page().then((page) => Publisher.start(page, here.server.whip(room), {
    codec: 'VP8', width: WIDE, height: (WIDE / 16) * 9, simulcast: true, screen: true, token: here.server.token,
  }));
}

/** The room shows this track first from now on. */
async function setMain(room, track) {
  const { status } = await here.server.api(`/rooms/${room}/main`, { method: 'PUT', token: here.server.token, body: { track } });
  assert.equal(status, 204, `PUT main ${track}`);
}

async function decodesAll(viewer, sections) {
  const count = async () => Object.values((await viewer.media()).sections)
    .filter(({ kind }) => kind === 'video').map(({ framesDecoded }) => framesDecoded ?? 0);
  const before = await count();
  assert.equal(before.length, sections);
  await until('every section goes on', async () => {
    const now = await count();
    return { ok: now.every((frames, at) => frames >= before[at] + 15), value: { before, now } };
  });
}

test('two pictures beside each other, and the main one changes', async (t) => {
  const room = here.room();
  await publish(room);
  const both = await Viewer.start(await here.page(), here.server.whep(room), { videos: 2 });
  const one = await Viewer.start(await here.page(), here.server.whep(room));
  await both.shows(['camera', 'screen'], 30_000);
  await one.shows(['camera']);

  const { answer } = both.posted;
  const all = (pattern) => [...answer.matchAll(pattern)].map(([, found]) => found);
  assert.equal(new Set(all(/^a=ssrc:\d+ cname:(\S+)/gm)).size, 1, 'one clock');
  const names = all(/^a=msid:(.*?)\r?$/gm);
  assert.deepEqual([names.length, new Set(names).size], [3, 3], `tracks of their own: ${names}`);
  const { body } = await here.server.api(`/rooms/${room}`);
  assert.deepEqual(body.tracks.map(({ id }) => id), ['audio', 'video-1', 'video-2']);
  assert.equal(body.main, 'video-1');
  assert.equal((await both.event('tracks')).main, 'video-1');

  const swap = async (what, act, check) => {
    const told = (await both.events()).length;
    await both.watchGap();
    const began = Date.now();
    await act();
    await check(told);
    const took = Date.now() - began;
    await decodesAll(both, 2);
    t.diagnostic(`${what}: ${took} ms, the longest gap ${Math.round(await both.gap())} ms`);
  };
  await swap('for one viewer', () => both.chooseMain('video-2'), async (told) => {
    await both.shows(['screen', 'camera']);
    await both.event('tracks', ({ main }) => main === 'video-2', { from: told });
  });
  await one.shows(['camera']);
  await swap('back', () => both.chooseMain('auto'), () => both.shows(['camera', 'screen']));

  await swap('for all', () => setMain(room, 'video-2'), async (told) => {
    await Promise.all([both.shows(['screen', 'camera']), one.shows(['screen'])]);
    await both.event('tracks', ({ main }) => main === 'video-2', { from: told });
  });
  assert.equal((await here.server.api(`/rooms/${room}`)).body.main, 'video-2');
  // A newcomer begins with it too.
  const late = await Viewer.start(await here.page(), here.server.whep(room), { videos: 2 });
  await late.shows(['screen', 'camera']);

  // Who has chosen stays with that.
  await one.chooseMain('video-2');
  await swap('to the first again', () => setMain(room, null), () => both.shows(['camera', 'screen']));
  await late.shows(['camera', 'screen']);
  await one.shows(['screen']);
  await one.chooseMain('auto');
  await one.shows(['camera']);

  // Layers are chosen of the camera; the screen has one.
  await both.chooseLayer('low');
  await until('the camera is small', async () => {
    const widths = (await both.call('pictures')).map(({ width }) => width);
    return { ok: widths.join() === [WIDE / 4, 640].join(), value: widths };
  });
  await both.shows(['camera', 'screen']);
  assert.equal(await both.call('choose', { main: 'video-3' }), 404);
  for (const viewer of [both, one, late]) {
    assert.equal(await viewer.call('renegotiations'), 0);
    await viewer.assertWhole();
  }
});

test('a section without a track stays silent until a publisher brings one', async () => {
  const room = here.room();
  const first = await Publisher.start(await here.page(), here.server.whip(room), { codec: 'VP8', token: here.server.token });
  const viewer = await Viewer.start(await here.page(), here.server.whep(room), { videos: 2 });
  await viewer.shows(['camera', 'none'], 30_000);
  await first.remove();
  await publish(room);
  await viewer.shows(['camera', 'screen'], 30_000);
});

/** Waits until the watch page shows these pictures, the large one first. */
async function pageShows(page, pictures) {
  await until(`the page shows ${pictures}`, async () => {
    const seen = await page.evaluate(() => ['video', 'beside-video'].map((id) => {
      const context = new OffscreenCanvas(1, 1).getContext('2d');
      context.drawImage(document.querySelector(`[data-testid="${id}"]`), 0, 0, 1, 1);
      return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    }));
    return { ok: seen.map(pictureOf).join() === pictures.join(), value: seen };
  }, { within: 20_000 });
}

for (const [what, options] of [
  ['desk', { viewport: { width: 1280, height: 800 } }],
  ['phone', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
]) {
  test(`the watch page on a ${what} shows the second picture small, and a tap swaps them`, async () => {
    const room = here.room();
    const first = await Publisher.start(await here.page(), here.server.whip(room), { codec: 'VP8', token: here.server.token });
    const page = await openWatched(here.chromium.browser, options);
    here.keep(page);
    await page.goto(`${here.server.base}/watch/${room}`);
    await page.waitForFunction(() => document.documentElement.dataset.state === 'live');
    const beside = page.locator('[data-testid="beside"]');
    assert.ok(await beside.isHidden(), 'there is one picture');
    await first.remove();

    await publish(room);
    await beside.waitFor();
    await pageShows(page, ['camera', 'screen']);
    await assertAccessible(page);
    await mkdir(OUT, { recursive: true });
    await page.screenshot({ path: path.join(OUT, `watch-${what}-beside.png`) });
    await beside.click();
    await pageShows(page, ['screen', 'camera']);
    await beside.click();
    await pageShows(page, ['camera', 'screen']);
    await setMain(room, 'video-2');
    await beside.click();
    await pageShows(page, ['screen', 'camera']);
    assert.deepEqual(page.faults, []);
  });
}
