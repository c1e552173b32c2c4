// Nothing small ends a show, or keeps a fan away from it: networks that come and go, pages that are left, pauses from
// outside, ports that change; and shows of sound alone or of pictures alone. In Chromium and in Firefox.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { launchFirefox } from '../lib/firefox.mjs';
import { scene } from '../lib/scene.mjs';
import { KEY, mintToken } from '../lib/token.mjs';
import { Uplink } from '../lib/uplink.mjs';
import { Visitor } from '../lib/visitor.mjs';
import { until } from '../lib/wait.mjs';

// Firefox connects to no loopback address: the server also takes that of `network.sh`.
const address = process.env.TEST_NETWORK_ADDRESS;
assert.ok(address, 'run the tests by network.sh, as ./dev e2e does');

const DESK = { viewport: { width: 1280, height: 800 }, locale: 'en-GB' };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, locale: 'en-GB' };
const GRACE = 20;

const here = scene('staying', {
  settings: {
    auth: { keys: { [KEY.kid]: { secret: KEY.secret } } },
    signaling: { watch_open: true, grace: `${GRACE}s` },
    media: { bind: ['127.0.0.1', address], consent_timeout: '12s' },
  },
});
let firefox;
before(async () => { firefox = await launchFirefox(); });
const open = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await (one.leave ?? one.close).call(one);
});
after(() => firefox?.close());

const publishing = (room) => mintToken(KEY, { sub: 'mina', room, grants: { publish: true } });
const keep = (one) => {
  open.push(one);
  return one;
};
const line = async (options) => keep(await Uplink.start(here.server, options));
const studioAt = async (base, room, options = DESK) =>
  keep(await Visitor.inChromium(here.chromium.browser, `${base}/studio/${room}#token=${publishing(room)}`, options));
const fanAt = async (base, room, options = DESK) => keep(await Visitor.inChromium(here.chromium.browser, `${base}/watch/${room}`, options));
const fanInFirefox = async (base, room) => keep(await Visitor.inFirefox(firefox.browser, `${base}/watch/${room}`));

/** A studio on air; `prepare` sets it up before. */
async function onAir(base, room, prepare = async () => {}) {
  const studio = await studioAt(base, room);
  await studio.is('preview');
  // Firefox has no H.264 here; and what is shown matters less than that it goes on, on a busy machine too.
  await studio.page.locator('[data-testid="codec"]').selectOption('VP8');
  await studio.page.locator('[data-testid="resolution"]').selectOption('640x360');
  await studio.page.locator('[data-testid="simulcast"]').uncheck();
  await prepare(studio);
  await studio.click('go-live');
  await studio.is('live');
  return studio;
}

/** What the server has said of a room's show so far. */
const shows = (room) => [...here.server.log.matchAll(new RegExp(`show (started|ended).*room=${room}\\b`, 'g'))].map(([, what]) => what);

/** The show has begun once, and nobody was told that it ended. */
async function assertOneShow(room, ...fans) {
  assert.deepEqual(shows(room), ['started'], 'what the log says of the show');
  for (const fan of fans) {
    const states = await fan.states();
    assert.ok(!states.includes('ended') && !states.includes('error'), states.join());
    assert.deepEqual(fan.page.faults, []);
  }
}

test('networks that are said to change change nothing where the path still works', async () => {
  const room = here.room();
  const studio = await onAir(here.server.base, room);
  const fans = [await fanAt(here.server.base, room), await fanInFirefox(here.server.base, room)];
  for (const fan of fans) await fan.is('live');
  for (const one of [studio, ...fans]) {
    await one.forget();
    await one.hears(false);
    await one.hears(true);
  }
  // Long after any time that a page might wait for an event that never comes.
  for (const fan of fans) await fan.paints(150);
  // On a machine that is too busy to send for a second, silence is silence.
  const gaps = await Promise.all(fans.map((fan) => fan.longestGap()));
  for (const [at, fan] of fans.entries()) {
    if (gaps[at] < 1_000) assert.deepEqual([await fan.states(), await fan.requests()], [['live'], []]);
  }
  const requests = await studio.requests();
  assert.ok(!requests.includes('POST') && !requests.includes('DELETE'), requests.join());
  await assertOneShow(room, ...fans);
});

test('the artist\'s line is cut for two seconds, and for five: the show goes on in the same session', async () => {
  const room = here.room();
  const uplink = await line();
  const studio = await onAir(uplink.base, room);
  const fan = await fanAt(here.server.base, room);
  await fan.is('live');
  await studio.forget();
  for (const seconds of [2, 5]) {
    uplink.cut();
    await studio.hears(false);
    await pause(seconds * 1_000);
    uplink.mend();
    await studio.hears(true);
    await fan.paints(10);
    await studio.is('live');
    await fan.is('live');
  }
  assert.ok(!(await studio.requests()).includes('POST'), 'the session stays');
  await assertOneShow(room, fan);
});

test('a fan\'s line is cut for five seconds, and the fan is back, in both browsers', async () => {
  const room = here.room();
  await onAir(here.server.base, room);
  const [first, second] = [await line(), await line({ host: address })];
  const fans = [await fanAt(first.base, room, PHONE), await fanInFirefox(second.base, room)];
  for (const fan of fans) {
    await fan.is('live');
    await fan.paints(10);
    await fan.forget();
  }
  for (const uplink of [first, second]) uplink.cut();
  for (const fan of fans) await fan.is('reconnecting');
  await pause(3_000);
  for (const uplink of [first, second]) uplink.mend();
  for (const fan of fans) {
    await fan.is('live');
    await fan.paints(10);
    // Whose line it was is told right.
    const states = await fan.states();
    assert.ok(!states.slice(0, states.indexOf('live', 1)).includes('interrupted'), states.join());
  }
  await assertOneShow(room, ...fans);
});

test('a cut that outlasts the session: the room waits, and a new session goes on; a fan who stays cut off goes on trying', async () => {
  const room = here.room();
  const [uplink, other] = [await line(), await line()];
  const studio = await onAir(uplink.base, room);
  const [fan, lost] = [await fanAt(here.server.base, room), await fanAt(other.base, room)];
  for (const one of [fan, lost]) await one.is('live');
  uplink.cut();
  other.cut();
  await lost.hears(false);
  await studio.is('reconnecting');
  // The server has given the artist's session up.
  await fan.is('interrupted');
  await until('the room waits', () => here.server.log.includes(`waiting for it to return room=${room}`), { within: 30_000 });
  uplink.mend();
  await studio.is('live');
  await fan.is('live');
  await fan.paints(10);
  assert.ok(!(await studio.requests()).includes('DELETE'));
  await assertOneShow(room, fan, lost);
  assert.equal(await lost.state(), 'offline');
});

test('the studio is reloaded: it goes live again by itself, and the fans have waited', async () => {
  const room = here.room();
  const studio = await onAir(here.server.base, room, async (page) => {
    await page.click('mute');
  });
  const fans = [await fanAt(here.server.base, room), await fanInFirefox(here.server.base, room)];
  for (const fan of fans) await fan.is('live');
  await until('the studio counts them', async () => (await studio.shows('viewers')) && studio.evaluate(() => document.querySelector('#viewers').textContent.startsWith('2')));
  await studio.page.reload();
  await studio.is('live');
  assert.equal(await studio.evaluate(() => document.querySelector('[data-testid="codec"]').value), 'VP8');
  await studio.showing('muted');
  for (const fan of fans) {
    await fan.is('live');
    await fan.paints(10);
  }
  await assertOneShow(room, ...fans);
  assert.deepEqual(studio.page.faults, []);

  // Its tab is closed, and another one opened: going on is one tap away.
  await studio.page.close({ runBeforeUnload: false });
  await fans[0].is('interrupted');
  const again = await studio.page.context().newPage();
  await again.goto(`${here.server.base}/studio/${room}#token=${publishing(room)}`);
  await again.locator('[data-testid="go-live"]', { hasText: 'Resume the show' }).click();
  for (const fan of fans) {
    await fan.is('live');
    await fan.paints(10);
  }
  await assertOneShow(room, ...fans);
});

test('the end is asked about, and comes when it is meant', async () => {
  const room = here.room();
  const studio = await onAir(here.server.base, room);
  const fan = await fanAt(here.server.base, room);
  await fan.is('live');
  await studio.click('stop');
  await studio.click('confirm-cancel');
  await fan.paints(10);
  assert.equal(await studio.state(), 'live');
  await studio.click('stop');
  await studio.click('confirm-end');
  await fan.is('ended');
  await studio.is('preview');
  // What has ended is not gone on with.
  await studio.page.reload();
  await studio.is('preview');
  await studio.page.locator('[data-testid="go-live"]', { hasText: 'Go live' }).waitFor();
});

test('a pause from outside ends by itself, or with a tap', async () => {
  const room = here.room();
  await onAir(here.server.base, room);
  const fans = [await fanAt(here.server.base, room), await fanInFirefox(here.server.base, room)];
  for (const fan of fans) {
    await fan.is('live');
    await fan.click('unmute');
    await fan.evaluate(() => document.querySelector('#video').pause());
    await fan.paints(10);
    assert.equal(await fan.shows('unmute'), false);

    // A browser that wants a gesture first.
    await fan.evaluate(() => {
      const video = document.querySelector('#video');
      video.play = () => Promise.reject(new DOMException('', 'NotAllowedError'));
      video.pause();
    });
    await fan.showing('unmute');
    assert.equal(await fan.evaluate(() => document.querySelector('#unmute').textContent.trim()), 'Play');
    await fan.evaluate(() => delete document.querySelector('#video').play);
    await fan.click('video');
    await fan.paints(10);
    await fan.showing('unmute', false);

    // One's own pause lasts.
    for (const key of [' ', 'k']) {
      await fan.page.keyboard.press(key);
      await fan.showing('unmute');
      await fan.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
      assert.equal(await fan.evaluate(() => document.querySelector('#video').paused), true);
      await fan.page.keyboard.press(key);
      await fan.paints(10);
      await fan.showing('unmute', false);
    }
    assert.deepEqual(fan.page.faults, []);
  }
});

test('a show of sound alone, to which a picture comes', async () => {
  const room = here.room();
  const studio = await onAir(here.server.base, room, async ({ page }) => {
    await page.locator('[data-testid="camera"]').selectOption('none');
    await page.locator('[data-testid="sound-only"]').waitFor({ state: 'visible' });
  });
  const fans = [await fanAt(here.server.base, room, PHONE), await fanInFirefox(here.server.base, room)];
  for (const fan of fans) {
    await fan.is('live');
    await fan.showing('sound-only');
    await fan.click('unmute');
    const time = () => fan.evaluate(() => document.querySelector('#video').currentTime);
    const from = await time();
    await until('the sound plays', async () => {
      const now = await time();
      return { ok: now > from + 0.5, value: now };
    });
  }
  await studio.page.locator('[data-testid="camera"]').selectOption({ index: 0 });
  for (const fan of fans) {
    await fan.showing('sound-only', false);
    await fan.paints(10);
    assert.equal(await fan.state(), 'live');
    assert.deepEqual(fan.page.faults, []);
  }
});

test('a show of pictures alone offers no sound', async () => {
  const room = here.room();
  const studio = await onAir(here.server.base, room, async ({ page }) => {
    await page.locator('[data-testid="microphone"]').selectOption('none');
  });
  const fan = await fanAt(here.server.base, room);
  await fan.is('live');
  await fan.showing('unmute', false);
  assert.equal(await fan.evaluate(() => document.querySelector('#mute').disabled), true);
  await studio.page.locator('[data-testid="microphone"]').selectOption({ index: 0 });
  await fan.showing('unmute');
  assert.equal(await fan.evaluate(() => document.querySelector('#mute').disabled), false);
});

test('a NAT gives a fan another port: the picture goes on within seconds, in both browsers', async () => {
  const room = here.room();
  await onAir(here.server.base, room);
  const [first, second] = [await line(), await line({ host: address })];
  const fans = [await fanAt(first.base, room), await fanInFirefox(second.base, room)];
  for (const fan of fans) {
    await fan.is('live');
    await fan.paints(10);
    await fan.forget();
  }
  for (const uplink of [first, second]) uplink.rebind();
  for (const fan of fans) {
    await fan.paints(10);
    await fan.is('live');
    const gap = await fan.longestGap();
    assert.ok(gap < 15_000, `the picture stood still for ${Math.round(gap)} ms`);
  }
  await assertOneShow(room, ...fans);
});

test('a microphone that is missing does not take the camera with it', async () => {
  const studio = keep(await Visitor.inChromium(here.chromium.browser, 'about:blank', DESK));
  // A computer without a microphone, as its browser tells of it.
  await studio.page.addInitScript(() => {
    const { mediaDevices } = navigator;
    const plain = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = async (wanted) => {
      if (wanted.audio) throw new DOMException('Requested device not found', 'NotFoundError');
      return plain(wanted);
    };
  });
  const room = here.room();
  await studio.page.goto(`${here.server.base}/studio/${room}#token=${publishing(room)}`);
  await studio.is('preview');
  await studio.showing('device-error');
  assert.match(await studio.evaluate(() => document.querySelector('[data-testid="device-error"]').textContent), /microphone.*not hear/i);
  await studio.click('go-live');
  await studio.is('live');
});
