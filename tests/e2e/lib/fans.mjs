// People in a room's chat, each in a page of the server's own, in Chromium.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { assertAccessible } from './accessible.mjs';
import { openWatched } from './faults.mjs';
import { OUT } from './server.mjs';
import { KEY, mintToken } from './token.mjs';

export const DESK = { viewport: { width: 1280, height: 800 }, locale: 'en-GB' };
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, locale: 'ko-KR' };

/** What a server needs for them. */
export const SETTINGS = { auth: { keys: { [KEY.kid]: { secret: KEY.secret } } }, signaling: { watch_open: true } };

export const fan = (room, name) => mintToken(KEY, { sub: name.toLowerCase(), name, room, grants: { watch: true, chat: true } });
export const moderator = (room, role = 'moderator', name = 'Momo') =>
  mintToken(KEY, { sub: name.toLowerCase(), name, role, room, grants: { watch: true, chat: true, moderate: true } });

export const at = (page, id) => page.locator(`[data-testid="${id}"]`);
export const line = (page, text) => page.locator('li.line', { hasText: text });
export const joined = (page, via) => page.locator(`[data-testid="chat"][data-status="open"][data-via="${via}"]`).waitFor();

export async function write(page, text) {
  await at(page, 'chat-input').fill(text);
  await page.keyboard.press('Enter');
}

/** Leaves a screenshot, and fails on what a machine can see of a page that is not in order. */
export async function assertSound(page, name) {
  await mkdir(OUT, { recursive: true });
  await page.screenshot({ path: path.join(OUT, `${name}.png`) });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0, 'the page is wider than the screen');
  await assertAccessible(page);
  assert.deepEqual(page.faults, []);
}

/** How people come to the server of a scene. */
export function doors(here) {
  /** Opens a page of the server. `prepare` sees it before it is loaded. */
  async function visit(where, token, options = DESK, prepare = async () => {}) {
    const page = await openWatched(here.chromium.browser, options);
    here.keep(page);
    await prepare(page);
    await page.goto(`${here.server.base}${where}${token ? `#token=${token}` : ''}`);
    return page;
  }

  /** Somebody who watches, and is in the chat: over a WebSocket where `prepare` lets no session through. */
  async function watch(room, token, options, prepare) {
    const page = await visit(`/watch/${room}`, token, options, prepare);
    await joined(page, prepare ? 'socket' : 'channels');
    return page;
  }

  return { visit, watch };
}
