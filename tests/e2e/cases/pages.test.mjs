// The studio and the watch page as people use them, on a desk and on a phone, with screenshots in
// tests/out/.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { assertAccessible } from '../lib/accessible.mjs';
import { launchChromium } from '../lib/chromium.mjs';
import { openWatched } from '../lib/faults.mjs';
import { scene } from '../lib/scene.mjs';
import { OUT } from '../lib/server.mjs';
import { KEY, mintToken } from '../lib/token.mjs';
import { until } from '../lib/wait.mjs';

const DESK = { viewport: { width: 1280, height: 800 }, locale: 'en-GB' };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, locale: 'ko-KR' };

const here = scene('pages', {
  settings: {
    // Keys of its own: tokens then outlive a restart of the server.
    auth: { keys: { [KEY.kid]: { secret: KEY.secret } } },
    signaling: { watch_open: true, grace: '10s', reconnect_after: '500ms' },
    media: { consent_timeout: '6s' },
  },
});
const publishing = (room, grants = {}) => mintToken(KEY, { room, grants: { publish: true, ...grants } });
const admin = () => mintToken(KEY, { sub: 'ops', room: '*', grants: { admin: true } });

/** Opens a page of the server, and fails the test on an error in it or a breach of its policy. */
async function visit(where, options, browser = here.chromium.browser) {
  const page = await openWatched(browser, options);
  here.keep(page);
  await page.addInitScript(() => {
    window.states = [];
    new MutationObserver(() => window.states.push(document.documentElement.dataset.state))
      .observe(document, { attributes: true, attributeFilter: ['data-state'], subtree: true });
  });
  await page.goto(here.server.base + where);
  return page;
}

const at = (page, id) => page.locator(`[data-testid="${id}"]`);

async function shoot(page, name) {
  await mkdir(OUT, { recursive: true });
  await page.screenshot({ path: path.join(OUT, `${name}.png`) });
}

async function is(page, state, within = 15_000) {
  await page.waitForFunction((s) => document.documentElement.dataset.state === s, state, { timeout: within });
}

/** Nothing sticks out to the side, and everything that can be pressed has a name. */
async function assertSound(page) {
  const { wide, nameless } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] : [...document.querySelectorAll('body *')]
      .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .map((e) => e.outerHTML.slice(0, 80)),
    nameless: [...document.querySelectorAll('button, select, input, a, video')]
      .filter((e) => e.checkVisibility())
      .filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim() || e.ariaLabelledByElements?.length))
      .map((e) => e.outerHTML.slice(0, 120)),
  }));
  assert.deepEqual(wide, [], 'the page is wider than the screen');
  assert.deepEqual(nameless, [], 'controls without a name');
  await assertAccessible(page);
  assert.deepEqual(page.faults, []);
}

/** Waits until pictures move in the page's video. */
async function plays(page, id) {
  await page.waitForFunction(async (testId) => {
    const video = document.querySelector(`[data-testid="${testId}"]`);
    const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
    const from = frames();
    if (video.videoWidth === 0) return false;
    await new Promise((done) => video.requestVideoFrameCallback(() => video.requestVideoFrameCallback(done)));
    return frames() > from;
  }, id, { timeout: 20_000 });
}

/** Ends the show as artists do: the button, and the answer to its question. */
async function endShow(studio) {
  await at(studio, 'stop').click();
  await at(studio, 'confirm-end').click();
}

async function goLive(room, grants) {
  const studio = await visit(`/studio/${room}#token=${publishing(room, grants)}`, DESK);
  // Where the camera is allowed already, the preview starts by itself.
  await plays(studio, 'preview');
  await at(studio, 'go-live').click();
  await is(studio, 'live');
  return studio;
}

test('the way in leads to the studio and to a show', async () => {
  const home = await visit('/', DESK);
  await assertSound(home);
  await shoot(home, 'home-desk');
  await at(home, 'start-room').fill('no spaces please');
  await at(home, 'start').click();
  await home.locator('#start-error').waitFor({ state: 'visible' });
  await at(home, 'start-room').fill('debut');
  await home.keyboard.press('Enter');
  await home.waitForURL(`${here.server.base}/studio/debut`);

  const phone = await visit('/', PHONE);
  assert.equal(await phone.evaluate(() => document.documentElement.lang), 'ko');
  await assertSound(phone);
  await shoot(phone, 'home-phone');
  await at(phone, 'watch-room').fill('debut');
  await at(phone, 'watch').click();
  await phone.waitForURL(`${here.server.base}/watch/debut`);
});

test('an artist goes live, fans watch on a desk and on a phone, and the show ends', async () => {
  const room = here.room();
  const fan = await visit(`/watch/${room}`, PHONE);
  await is(fan, 'waiting');
  await shoot(fan, 'watch-phone-waiting');
  await assertSound(fan);

  const studio = await goLive(room);
  assert.equal(new URL(studio.url()).hash, '', 'the token stays out of the address bar');
  assert.ok((await at(studio, 'watch-link').inputValue()).endsWith(`/watch/${room}`));

  await is(fan, 'live', 20_000);
  await plays(fan, 'video');
  assert.equal(await fan.evaluate(() => document.querySelector('video').muted), true, 'starts without sound');
  await at(fan, 'unmute').click();
  await fan.waitForFunction(() => !document.querySelector('video').muted);
  await shoot(fan, 'watch-phone-live');
  await assertSound(fan);

  const desk = await visit(`/watch/${room}`, DESK);
  await is(desk, 'live', 20_000);
  await plays(desk, 'video');
  await desk.keyboard.press('i');
  await desk.waitForFunction(() => {
    const { latencyMs, fps, width } = document.querySelector('[data-testid="stats"]').dataset;
    return Number(latencyMs) > 0 && Number(latencyMs) < 1_000 && Number(fps) > 5 && Number(width) > 0;
  }, null, { timeout: 15_000 });
  // On a busy machine the browser lets the top layer rest for a while.
  const offered = (layer) => desk.waitForFunction(
    (value) => !document.querySelector(`[data-testid="quality"] option[value="${value}"]`).disabled, layer, { timeout: 45_000 },
  );
  await offered('low');
  const height = () => desk.evaluate(() => document.querySelector('video').videoHeight);
  await at(desk, 'quality').selectOption('low');
  await until('the low layer shows', async () => ({ ok: (await height()) <= 180, value: await height() }), { within: 15_000 });
  await offered('high');
  await at(desk, 'quality').selectOption('high');
  await until('the high layer shows', async () => ({ ok: (await height()) === 720, value: await height() }), { within: 25_000 });
  await shoot(desk, 'watch-desk-live');
  await assertSound(desk);

  await studio.waitForFunction(() => document.querySelectorAll('#layers tr').length >= 3, null, { timeout: 15_000 });
  await shoot(studio, 'studio-desk-live');
  await assertSound(studio);
  await endShow(studio);
  await is(studio, 'preview');
  for (const page of [fan, desk]) {
    await is(page, 'ended');
    assert.ok(!(await page.evaluate(() => window.states)).includes('interrupted'), 'an end is no interruption');
  }
  await shoot(desk, 'watch-desk-ended');
  await assertSound(desk);
});

test('the artist drops and comes back: the fan waits in the same page', async () => {
  const room = here.room();
  const first = await goLive(room);
  const fan = await visit(`/watch/${room}`, DESK);
  await is(fan, 'live', 20_000);
  await fan.evaluate(() => { window.before = document.querySelector('video').srcObject.id; });
  // The renderer dies: nothing is said to the server.
  await first.goto('chrome://crash').catch(() => {});
  await is(fan, 'interrupted');
  await shoot(fan, 'watch-desk-interrupted');
  await goLive(room);
  await is(fan, 'live', 20_000);
  await plays(fan, 'video');
  assert.ok(await fan.evaluate(() => document.querySelector('video').srcObject.id === window.before), 'the same session');
});

test('the server is restarted: the artist and the fan come back by themselves', async () => {
  const room = here.room();
  const studio = await goLive(room);
  const fan = await visit(`/watch/${room}`, PHONE);
  await is(fan, 'live', 20_000);
  here.server.terminate();
  await is(fan, 'reconnecting');
  await shoot(fan, 'watch-phone-reconnecting');
  assert.deepEqual(await here.server.end(), { code: 0, signal: null });
  await is(studio, 'reconnecting');
  await shoot(studio, 'studio-desk-reconnecting');

  await here.server.startAgain();
  await is(studio, 'live', 20_000);
  await is(fan, 'live', 30_000);
  await plays(fan, 'video');
  assert.deepEqual([...studio.faults, ...fan.faults], []);
});

test('another takes the room over, and fans are sent away: both are told', async () => {
  const room = here.room();
  const studio = await goLive(room);
  const fan = await visit(`/watch/${room}`, DESK);
  await is(fan, 'live', 20_000);

  const kick = async () => {
    const token = admin();
    const { body } = await here.server.api(`/rooms/${room}/sessions`, { token });
    const { id } = body.sessions.find(({ role }) => role === 'viewer');
    const { status } = await here.server.api(`/rooms/${room}/sessions/${id}`, { method: 'DELETE', token });
    assert.equal(status, 204);
  };
  await kick();
  await is(fan, 'error');
  assert.match(await at(fan, 'state').innerText(), /removed from this room/);
  await shoot(fan, 'watch-desk-sent-out');
  await at(fan, 'again').click();
  await is(fan, 'live');

  const manager = await goLive(room, { takeover: true });
  await is(studio, 'error');
  assert.match(await at(studio, 'error').innerText(), /another device/);
  await shoot(studio, 'studio-desk-taken-over');
  await plays(fan, 'video');
  await is(manager, 'live');
  await endShow(manager);
  await is(fan, 'ended');

  // Who is sent away after the end reads that the show is over, and may look again.
  await kick();
  await at(fan, 'again').waitFor({ state: 'visible' });
  assert.equal(await fan.evaluate(() => document.documentElement.dataset.state), 'ended');
});

test('sound, simulcast and language are the artist\'s to choose', async () => {
  const room = here.room();
  const studio = await visit(`/studio/${room}#token=${publishing(room)}`, DESK);
  await plays(studio, 'preview');
  await at(studio, 'simulcast').uncheck();
  await at(studio, 'codec').selectOption('VP8');
  await at(studio, 'resolution').selectOption('640x360');
  await at(studio, 'go-live').click();
  await is(studio, 'live');
  await at(studio, 'stats').locator('#layers tr').first().waitFor();
  const figures = () => studio.evaluate(() => [...document.querySelectorAll('#layers tr')].map((row) => row.cells[1].textContent));
  await until('one layer of that size is sent', async () => {
    const seen = await figures();
    return { ok: seen.join() === '640×360', value: seen };
  }, { within: 10_000 });
  assert.equal(await at(studio, 'codec').isDisabled(), true, 'fixed while on air');

  await at(studio, 'mute').click();
  assert.equal(await at(studio, 'mute').getAttribute('aria-pressed'), 'true');
  await studio.locator('[data-lang="ko"]').click();
  assert.equal(await studio.evaluate(() => document.documentElement.lang), 'ko');
  assert.equal(await at(studio, 'state').innerText(), '라이브 중');
  assert.equal(await at(studio, 'mute').innerText(), '음소거 해제');
  await is(studio, 'live');

  const fan = await visit(`/watch/${room}`, DESK);
  await is(fan, 'live', 20_000);
  // Which layers there are comes by the event stream, perhaps after the first picture.
  await until('only what is sent can be chosen', async () => {
    const seen = await at(fan, 'quality').locator('option').evaluateAll((all) => all.filter((o) => !o.disabled).map((o) => o.value));
    return { ok: seen.join() === 'auto,high', value: seen };
  });
  await endShow(studio);
  await is(fan, 'ended');

  // Of a small picture browsers send two layers only, and its own size must be among them.
  await is(studio, 'preview');
  await at(studio, 'simulcast').check();
  await at(studio, 'go-live').click();
  await is(studio, 'live');
  await until('both layers are sent', async () => {
    const seen = await figures();
    return { ok: seen.join() === '640×360,320×180', value: seen };
  }, { within: 10_000 });
});

test('the studio on a phone, in Korean', async () => {
  const studio = await visit(`/studio/${here.room()}`, PHONE);
  // Where the camera is allowed already, the preview starts by itself.
  await plays(studio, 'preview');
  await shoot(studio, 'studio-phone');
  await assertSound(studio);
});

test('a wrong token is explained, and the show is not started', async () => {
  const studio = await visit(`/studio/${here.room()}#token=nonsense`, DESK);
  // Where the camera is allowed already, the preview starts by itself.
  await plays(studio, 'preview');
  await at(studio, 'go-live').click();
  await at(studio, 'error').waitFor({ state: 'visible' });
  assert.match(await at(studio, 'error').innerText(), /token/i);
  await shoot(studio, 'studio-desk-refused');
});

let guarded;
before(async () => { guarded = await launchChromium({ grantMedia: false, flags: ['--deny-permission-prompts'] }); });
after(() => guarded?.close());

test('a refused camera is explained', async () => {
  const studio = await visit(`/studio/${here.room()}`, DESK, guarded.browser);
  await at(studio, 'enable').click();
  await at(studio, 'device-error').waitFor({ state: 'visible' });
  assert.ok((await at(studio, 'device-error').innerText()).length > 20);
  await shoot(studio, 'studio-desk-device-refused');
  await assertSound(studio);
});
