// The chat as people use it: fans beside a picture and over it, a moderator, and the artist.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DESK, PHONE, SETTINGS, assertSound, at, doors, fan, joined, line, write } from '../lib/fans.mjs';
import { scene } from '../lib/scene.mjs';
import { KEY, mintToken } from '../lib/token.mjs';

const here = scene('chat', { settings: SETTINGS });
const { visit, watch } = doors(here);

test('fans write over data channels and over a WebSocket, and read each other', async () => {
  const room = here.room();
  const mina = await watch(room, fan(room, 'Mina'));
  const sora = await watch(room, fan(room, 'Sora'), PHONE);
  // Somebody whose network lets no WHEP through.
  const leo = await watch(room, fan(room, 'Leo'), DESK, (page) => page.route('**/whep/**', (route) => route.abort()));

  const markup = '<img src=x onerror="document.title=1"> & <b>bold</b>';
  await write(mina, markup);
  await write(sora, '안녕하세요 @Mina');
  await write(leo, 'hello from far away');
  for (const page of [mina, sora, leo]) {
    for (const text of [markup, '안녕하세요 @Mina', 'hello from far away']) await line(page, text).and(page.locator('[data-state="shown"]')).waitFor();
    assert.equal(await page.locator('li.line').count(), 3, 'one line a message, one’s own included');
    assert.equal(await page.locator('.line-text img, .line-text b:not(.mention)').count(), 0, 'what people write is text');
  }
  await mina.locator('.line-to-you').waitFor();
  await assertSound(mina, 'chat-desk');
  await assertSound(sora, 'chat-phone');

  // Who comes later finds what was said.
  const late = await watch(room, fan(room, 'Late'));
  await line(late, 'hello from far away').waitFor();

  // Hearts are counted for everybody.
  await at(mina, 'chat-heart').click();
  for (const page of [mina, sora, leo]) await page.waitForFunction(() => /[1-9]/.test(document.querySelector('.heart-count').textContent));
});

test('a session that breaks leaves the chat to a WebSocket, and nothing is missed or said twice', async () => {
  const room = here.room();
  const mina = await watch(room, fan(room, 'Mina'));
  const sora = await watch(room, fan(room, 'Sora'));
  await write(sora, 'one');
  await line(mina, 'one').waitFor();
  // From now on no media session comes about; the one there is ends at the server's word.
  await mina.route('**/whep/**', (route) => (route.request().method() === 'POST' ? route.abort() : route.continue()));
  const token = mintToken(KEY, { sub: 'ops', room: '*', grants: { admin: true } });
  const { body } = await here.server.api(`/rooms/${room}/sessions`, { token });
  await Promise.all(body.sessions.map(({ id }) => here.server.api(`/rooms/${room}/sessions/${id}`, { method: 'DELETE', token })));
  await at(mina, 'again').click();
  await at(sora, 'again').click();
  await joined(sora, 'channels');
  await write(sora, 'two');
  await joined(mina, 'socket');
  await line(mina, 'two').waitFor();
  await write(mina, 'three');
  await line(sora, 'three').waitFor();
  assert.deepEqual(await mina.locator('li.line .line-text').allTextContents(), ['one', 'two', 'three']);
});

test('whoever may only read is told so, and reads', async () => {
  const room = here.room();
  const guest = await watch(room);
  assert.equal(await at(guest, 'chat-input').isVisible(), false);
  const mina = await watch(room, fan(room, 'Mina'));
  await write(mina, 'can you read this?');
  await line(guest, 'can you read this?').waitFor();
  await assertSound(guest, 'chat-readonly');
});

test('the artist reads on stage, pins, asks and speaks in captions', async () => {
  const room = here.room();
  const mina = await watch(room, fan(room, 'Mina'));
  const studio = await visit(`/studio/${room}`, mintToken(KEY, { room, name: 'LUNA', grants: { publish: true, chat: true } }));
  await studio.waitForFunction(() => document.querySelector('video').videoWidth > 0);
  await at(studio, 'go-live').click();
  await joined(studio, 'channels');
  await write(mina, 'your voice is so clear today');
  await line(studio, 'your voice is so clear today').click();
  await at(studio, 'line-pin').click();
  await at(mina, 'chat-pinned').filter({ hasText: 'so clear today' }).waitFor();

  await at(studio, 'caption-text').fill('Thank you all for coming');
  await at(studio, 'caption-text').press('Enter');
  await at(mina, 'captions').filter({ hasText: 'Thank you all' }).waitFor();

  await studio.locator('.stage-forms summary').click();
  await at(studio, 'poll-question').fill('Encore?');
  await at(studio, 'poll-choices').fill('Yes\nOf course');
  await at(studio, 'poll-start').click();
  await at(mina, 'chat-poll').getByText('Of course').click();
  await at(mina, 'chat-poll').locator('[aria-pressed="true"]', { hasText: 'Of course' }).waitFor();
  await at(studio, 'chat-poll').filter({ hasText: '100 %' }).waitFor();
  await at(studio, 'stage-chat').scrollIntoViewIfNeeded();
  await assertSound(studio, 'chat-studio');
  await assertSound(mina, 'chat-poll');
});
