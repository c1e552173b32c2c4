// Fans and the artist chat on the pages: over data channels beside the video, and over a WebSocket
// where there is no session.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { assertAccessible } from '../lib/accessible.mjs';
import { scene } from '../lib/scene.mjs';
import { OUT } from '../lib/server.mjs';
import { KEY, mintToken } from '../lib/token.mjs';
import { until } from '../lib/wait.mjs';

const DESK = { viewport: { width: 1280, height: 800 }, locale: 'en-GB' };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, locale: 'ko-KR' };

const here = scene('chat', {
  settings: {
    auth: { keys: { [KEY.kid]: { secret: KEY.secret } } },
    signaling: { watch_open: true },
  },
});
const at = (page, id) => page.locator(`[data-testid="${id}"]`);
const fan = (room, name) => mintToken(KEY, { sub: name.toLowerCase(), name, room, grants: { watch: true, chat: true } });
const moderator = (room) => mintToken(KEY, {
  sub: 'mod', name: 'Mod', role: 'lead_moderator', room, grants: { watch: true, chat: true, moderate: true },
});
const artist = (room) => mintToken(KEY, { sub: 'idol', name: 'Idol', room, grants: { publish: true, chat: true } });

async function visit(where, options) {
  const context = await here.chromium.browser.newContext(options);
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy|TypeError|ReferenceError/.test(message.text())) page.faults.push(message.text());
  });
  here.keep(page);
  await page.goto(here.server.base + where);
  return page;
}

/** Waits until the page's chat is open over one transport. */
async function joined(page, via) {
  await page.waitForFunction((kind) => {
    const chat = document.querySelector('[data-testid="chat"]');
    return chat?.dataset.status === 'open' && chat.dataset.via === kind;
  }, via, { timeout: 20_000 });
}

async function write(page, text) {
  await at(page, 'chat-input').fill(text);
  await at(page, 'chat-input').press('Enter');
}

/** The texts that a page shows, oldest first. */
const texts = (page) => page.locator('[data-testid="chat-messages"] .line[data-state="shown"] .line-text').allTextContents();
const shows = (page, text) => until(`"${text}" is shown`, async () => {
  const value = await texts(page);
  return { ok: value.includes(text), value };
});

async function shoot(page, name) {
  await mkdir(OUT, { recursive: true });
  await page.screenshot({ path: path.join(OUT, `${name}.png`) });
  await assertAccessible(page);
  assert.deepEqual(page.faults, []);
}

async function goLive(room) {
  const studio = await visit(`/studio/${room}#token=${artist(room)}`, DESK);
  await studio.waitForFunction(() => document.querySelector('[data-testid="preview"]')?.videoWidth > 0, null, { timeout: 20_000 });
  await at(studio, 'go-live').click();
  await studio.waitForFunction(() => document.documentElement.dataset.state === 'live', null, { timeout: 20_000 });
  return studio;
}

test('the chat travels beside the video, is moderated, and finds those who come back', async () => {
  const room = here.room();
  const studio = await goLive(room);
  await joined(studio, 'channels');
  const mina = await visit(`/watch/${room}#token=${fan(room, 'Mina')}`, DESK);
  const hana = await visit(`/watch/${room}#token=${fan(room, 'Hana')}`, PHONE);
  const mod = await visit(`/watch/${room}#token=${moderator(room)}`, DESK);
  for (const page of [mina, hana, mod]) await joined(page, 'channels');

  await write(mina, '안녕하세요 <b>bold</b>');
  for (const page of [mina, hana, mod, studio]) await shows(page, '안녕하세요 <b>bold</b>');
  await write(studio, 'Hello everybody');
  await shows(hana, 'Hello everybody');
  await write(hana, 'this will be deleted');
  await shows(mina, 'this will be deleted');

  await write(mod, '/timeout hana 60 spoilers');
  await until('the message is gone everywhere', async () => {
    const value = await Promise.all([mina, hana, mod, studio].map(texts));
    return { ok: value.every((all) => !all.includes('this will be deleted')), value };
  });
  await write(hana, 'still here?');
  await until('the sanction is told', async () => {
    const value = await hana.locator('[data-testid="chat"]').innerText();
    return { ok: !(await texts(mina)).includes('still here?') && value.length > 0, value };
  });

  await shoot(mina, 'chat-desk');
  await shoot(hana, 'chat-phone');
  await shoot(studio, 'chat-studio');

  // The session is gone; what is written meanwhile is there when its page comes back.
  await mina.context().setOffline(true);
  await write(studio, 'while you were away');
  await shows(mod, 'while you were away');
  await mina.context().setOffline(false);
  await shows(mina, 'while you were away');
  assert.deepEqual((await texts(mina)).slice(0, 2), ['안녕하세요 <b>bold</b>', 'Hello everybody'], 'nothing twice, nothing lost');
});

test('who has no session chats over a WebSocket', async () => {
  const room = here.room();
  const mina = await visit(`/watch/${room}#token=${fan(room, 'Mina')}`, DESK);
  await joined(mina, 'channels');
  // The JSON of the same protocol, as an integrator's program speaks it.
  const heard = await mina.evaluate(async ([url, token]) => {
    const socket = new WebSocket(url, ['lightstick.chat.v1.json']);
    const parts = [];
    await new Promise((done, fail) => {
      socket.onerror = fail;
      socket.onopen = () => {
        socket.send(JSON.stringify({ hello: { token } }));
        socket.send(JSON.stringify({ send: { nonce: '1', text: 'from a program' } }));
      };
      socket.onmessage = ({ data }) => {
        parts.push(...JSON.parse(data).parts);
        if (parts.some((part) => part.ack)) done();
      };
    });
    socket.close();
    return parts;
  }, [`${here.server.base.replace('http', 'ws')}/chat/${room}`, fan(room, 'Program')]);
  assert.equal(heard[0].welcome.you.name, 'Program');
  await shows(mina, 'from a program');
});

test('who may not write reads along', async () => {
  const room = here.room();
  const guest = await visit(`/watch/${room}`, PHONE);
  await joined(guest, 'channels');
  await until('the field is closed', async () => {
    const input = at(guest, 'chat-input');
    return (await input.count()) === 0 || !(await input.isEnabled()) || !(await input.isVisible());
  });
  await shoot(guest, 'chat-phone-guest');
});
