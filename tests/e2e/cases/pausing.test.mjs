// Layers that nobody watches rest at the artist's studio, and come back when somebody wants them. Screenshots of the
// studio in tests/out/.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { assertAccessible } from '../lib/accessible.mjs';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { OUT } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';

const WIDE = 1280;
const DESK = { viewport: { width: 1280, height: 1000 }, locale: 'en-GB' };
const PHONE = { width: 390, height: 844 };

const here = scene('pausing', { settings: { media: { pause_after: '2s' } } });

/** What arrives of a room's video: `{ low: { paused, framesPerSecond, ... }, ... }`. */
async function arriving(room) {
  const { body } = await here.server.api(`/rooms/${room}`);
  const video = body.tracks?.find(({ kind }) => kind === 'video');
  return Object.fromEntries((video?.layers ?? []).map((layer) => [layer.layer, layer]));
}

/** Waits until exactly these of the room's three layers arrive. */
async function only(room, layers, within = 20_000) {
  await until(`only ${layers} arrive`, async () => {
    const seen = await arriving(room);
    const flows = ['low', 'medium', 'high'].filter((layer) => seen[layer]?.framesPerSecond > 0);
    return { ok: flows.join() === layers.join(), value: seen };
  }, { within });
}

/** A studio on air with three layers. */
async function studioOf(room) {
  const context = await here.chromium.browser.newContext(DESK);
  const page = await context.newPage();
  here.keep(page);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(error.message));
  await page.goto(`${here.server.base}/studio/${room}#token=${here.server.token}`);
  const at = (id) => page.locator(`[data-testid="${id}"]`);
  await page.waitForFunction(() => document.documentElement.dataset.state === 'preview');
  await at('codec').selectOption('VP8');
  await at('go-live').click();
  await page.waitForFunction(() => document.documentElement.dataset.state === 'live');
  return page;
}

/** Waits until the studio shows which layers rest, the best one first. */
async function shows(studio, rests) {
  await until(`the studio shows ${rests}`, async () => {
    const rows = await studio.locator('#layers tr').evaluateAll((all) => all.map((row) => String(row.dataset.state === 'unwatched')));
    return { ok: rows.join() === rests.join(), value: rows };
  }, { within: 15_000 });
}

async function shoot(studio, name) {
  await mkdir(OUT, { recursive: true });
  await studio.locator('[data-testid="stats"]').scrollIntoViewIfNeeded();
  await studio.screenshot({ path: path.join(OUT, `${name}.png`) });
}

test('a studio lets rest what nobody watches, and wakes it for who does', async (t) => {
  const room = here.room();
  const studio = await studioOf(room);
  const viewer = await Viewer.start(await here.page(), here.server.whep(room));
  await viewer.width(WIDE, 30_000);
  // Whoever follows its link may need the lowest layer at any moment.
  await only(room, ['low', 'high']);

  await viewer.chooseLayer('low');
  await viewer.width(WIDE / 4);
  await only(room, ['low']);
  const seen = await arriving(room);
  assert.deepEqual([seen.low.paused, seen.medium.paused, seen.high.paused], [false, true, true]);
  assert.deepEqual((await viewer.events()).filter(({ type }) => type === 'layers').at(-1).layers, ['low', 'medium', 'high']);
  await shows(studio, ['true', 'true', 'false']);
  await assertAccessible(studio);
  await shoot(studio, 'studio-desk-resting');
  await studio.setViewportSize(PHONE);
  await studio.locator('[data-lang="ko"]').click();
  assert.ok(await studio.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
  await shoot(studio, 'studio-phone-resting');

  const asked = Date.now();
  await viewer.watchGap();
  await viewer.chooseLayer('high');
  await viewer.width(WIDE);
  const back = Date.now() - asked;
  await viewer.decodes(30);
  t.diagnostic(`back after ${back} ms, the longest gap ${Math.round(await viewer.gap())} ms`);
  await only(room, ['high']);
  await viewer.assertWhole();

  // A newcomer may see what flows first; the best layer wakes for it.
  await viewer.chooseLayer('medium');
  await viewer.width(WIDE / 2);
  await only(room, ['medium']);
  const second = await Viewer.start(await here.page(), here.server.whep(room));
  await second.width(WIDE, 15_000);
  const { sizes } = await second.painted();
  assert.ok(sizes.every((size) => [WIDE / 2, WIDE].includes(parseInt(size, 10))), `painted: ${sizes}`);

  // The next viewer starts from the best layer, so that one stays.
  await second.remove();
  await viewer.remove();
  await only(room, ['high']);
  await shows(studio, ['false', 'true', 'true']);
  assert.equal(await studio.evaluate(() => document.documentElement.dataset.state), 'live');
  const wishes = Object.fromEntries((await here.server.metric('lightstick_layer_wishes_total'))
    .filter(({ value }) => value > 0).map(({ labels, value }) => [labels.wish, value]));
  assert.ok(wishes.pause >= 5 && wishes.resume >= 3, JSON.stringify(wishes));
  assert.deepEqual(studio.faults, []);
});

test('the layers of a publisher that does not listen go on', async () => {
  const room = here.room();
  const { server } = here;
  const publisher = await Publisher.start(await here.page(), server.whip(room), {
    codec: 'VP8', width: WIDE, height: (WIDE / 16) * 9, simulcast: true, token: server.token,
  });
  const viewer = await Viewer.start(await here.page(), server.whep(room));
  await publisher.sends(['l', 'm', 'h'], 25_000);
  await viewer.chooseLayer('low');
  await viewer.width(WIDE / 4);
  await until('the other layers are unwanted, and arrive', async () => {
    const { medium, high } = await arriving(room);
    return { ok: [medium, high].every((layer) => layer?.paused && layer.framesPerSecond > 0), value: { medium, high } };
  }, { within: 20_000 });
  await viewer.chooseLayer('high');
  await viewer.width(WIDE);
  await viewer.remove();
  await publisher.remove();
});
