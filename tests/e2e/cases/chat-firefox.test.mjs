// The chat between Firefox and Chromium.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { SETTINGS, at, doors, fan, joined, line, moderator, write } from '../lib/fans.mjs';
import { launchFirefox } from '../lib/firefox.mjs';
import { scene } from '../lib/scene.mjs';

// Firefox connects to no loopback address: the server also takes that of `network.sh`.
const address = process.env.TEST_NETWORK_ADDRESS;
assert.ok(address, 'run the tests by network.sh, as ./dev e2e does');

const here = scene('chat-firefox', { settings: { ...SETTINGS, media: { bind: ['127.0.0.1', address] } } });
const { watch } = doors(here);
const pages = [];
let firefox;
before(async () => { firefox = await launchFirefox(); });
afterEach(() => Promise.all(pages.splice(0).map((page) => page.browserContext().close())));
after(() => firefox?.close());

/** Somebody who watches in Firefox and is in the chat. `prepare` sees the page before it is loaded. */
async function watchInFirefox(room, token, via, prepare = async () => {}) {
  const context = await firefox.browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  pages.push(page);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(error.message));
  await prepare(page);
  await page.goto(`${here.server.base}/watch/${room}#token=${token}`);
  await page.waitForSelector(`[data-testid="chat"][data-status="open"][data-via="${via}"]`);
  return page;
}

/** Lines of a page in Firefox: `state` as in `data-state`, or `gone`. */
const lineInFirefox = (page, text, state = 'shown') => page.waitForFunction((wanted, how) => {
  const found = [...document.querySelectorAll('li.line')].filter((li) => li.querySelector('.line-text').textContent === wanted);
  return how === 'gone' ? found.length === 0 : found.length === 1 && found[0].dataset.state === how;
}, {}, text, state);

async function writeInFirefox(page, text) {
  await page.type('[data-testid="chat-input"]', text);
  await page.keyboard.press('Enter');
}

test('Firefox and Chromium read each other over data channels, and neither keeps what is deleted', async () => {
  const room = here.room();
  const mina = await watchInFirefox(room, fan(room, 'Mina'), 'channels');
  const sora = await watch(room, fan(room, 'Sora'));
  const momo = await watch(room, moderator(room));
  await writeInFirefox(mina, '안녕하세요, from Firefox');
  await write(sora, 'from Chromium 💜');
  for (const text of ['안녕하세요, from Firefox', 'from Chromium 💜']) {
    await lineInFirefox(mina, text);
    await line(sora, text).and(sora.locator('[data-state="shown"]')).waitFor();
  }

  await line(momo, 'from Firefox').click();
  await at(momo, 'line-delete').click();
  await lineInFirefox(mina, '안녕하세요, from Firefox', 'gone');
  await line(sora, 'from Firefox').waitFor({ state: 'detached' });
  await lineInFirefox(mina, 'from Chromium 💜');

  // Counts come on the channel that may lose some, and come again.
  await mina.waitForFunction(() => document.querySelector('[data-testid="chat-present"]').textContent.startsWith('3 '));
  assert.deepEqual(mina.faults, []);
});

test('Firefox falls back to the WebSocket where no session comes about', async () => {
  const room = here.room();
  const sora = await watch(room, fan(room, 'Sora'));
  const mina = await watchInFirefox(room, fan(room, 'Mina'), 'socket', async (page) => {
    await page.setRequestInterception(true);
    page.on('request', (request) => void (request.url().includes('/whep/') ? request.abort() : request.continue()));
  });
  await write(sora, 'can you hear me?');
  await lineInFirefox(mina, 'can you hear me?');
  await writeInFirefox(mina, 'loud and clear');
  await line(sora, 'loud and clear').waitFor();
  await lineInFirefox(mina, 'loud and clear');
  await joined(sora, 'channels');
  assert.deepEqual(mina.faults, []);
});
