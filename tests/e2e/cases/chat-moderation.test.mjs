// Moderators at work, in the chat and in their panel, and those whom it concerns.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DESK, PHONE, SETTINGS, assertSound, at, doors, fan, line, moderator, write } from '../lib/fans.mjs';
import { scene } from '../lib/scene.mjs';
import { until } from '../lib/wait.mjs';

const here = scene('chat-moderation', { settings: SETTINGS });
const { watch } = doors(here);

/** Waits until the server has a rule. That the panel says so may be of what was done before. */
const ruled = (room, name, value) => until(`the room's ${name} is ${value}`, async () => {
  const { body } = await here.server.api(`/rooms/${room}/chat/settings`, { token: moderator(room) });
  return { ok: String(body[name]) === value, value: body };
});

test('a moderator deletes, pauses and holds; those it concerns are told', async () => {
  const room = here.room();
  const mina = await watch(room, fan(room, 'Mina'));
  const momo = await watch(room, moderator(room, 'lead_moderator'));
  await write(mina, 'something rude');
  await line(momo, 'something rude').click();
  await at(momo, 'line-delete').click();
  for (const page of [mina, momo]) await line(page, 'something rude').waitFor({ state: 'detached' });

  // Everything waits for a moderator from here on.
  await at(momo, 'mod-toggle').click();
  await at(momo, 'mod-settings').click();
  await momo.locator('select[name="hold"]').selectOption('2');
  await momo.locator('.mod-body button', { hasText: 'Save' }).click();
  await ruled(room, 'hold', 'HOLD_ALL');
  await write(mina, 'is this alright?');
  await line(mina, 'is this alright?').and(mina.locator('[data-state="held"]')).waitFor();
  await at(momo, 'mod-queue').click();
  await at(momo, 'approve').click();
  await line(momo, 'is this alright?').waitFor();
  await line(mina, 'is this alright?').and(mina.locator('[data-state="shown"]')).waitFor();
  await assertSound(momo, 'chat-moderator');

  await at(momo, 'mod-toggle').click();
  await line(momo, 'is this alright?').click();
  await at(momo, 'line-timeout').click();
  await at(mina, 'chat-note').filter({ hasText: 'You are timed out for 10 minutes.' }).waitFor();
  await mina.getByRole('button', { name: /^You can send again in \d+ minutes/ }).waitFor();
});

/** A card of the panel's list, by all of these texts. */
const card = (page, ...texts) => texts.reduce((found, hasText) => found.filter({ hasText }), page.locator('.mod-card'));
const button = (page, name) => page.getByTestId('mod-panel').getByRole('button', { name, exact: true });
const note = (page, hasText) => at(page, 'chat-note').filter({ hasText }).waitFor();

/** Looks somebody up in the panel. */
async function lookUp(page, user) {
  await at(page, 'mod-users').click();
  await page.locator('.mod-body input[name="user"]').fill(user);
  await page.keyboard.press('Enter');
}

/** Asks the moderators to lift a sanction. */
async function appeal(page, text) {
  await at(page, 'appeal').click();
  await page.locator('.chat-appeal textarea').fill(text);
  await page.locator('.chat-appeal button').click();
  await note(page, 'Your appeal was sent');
}

test('the panel shows what was done, to whom and why, and takes it back', async () => {
  const room = here.room();
  const mina = await watch(room, fan(room, 'Mina'));
  const hana = await watch(room, fan(room, 'Hana'));
  const momo = await watch(room, moderator(room, 'lead_moderator'), DESK);
  await write(mina, 'the first of two');
  await write(mina, 'the second of two');
  await write(hana, 'look at my shop');
  await line(momo, 'look at my shop').waitFor();

  // What somebody has written, and what is done from there.
  await line(momo, 'the first of two').click();
  await at(momo, 'line-user').click();
  for (const text of ['the first of two', 'the second of two']) await card(momo, 'Mina', text).waitFor();
  assert.equal(await card(momo).count(), 2);
  await momo.locator('.mod-body input[name="reason"]').fill('shouting');
  await assertSound(momo, 'chat-mod-users-desk');
  await button(momo, 'Time out 10 min').click();
  await note(mina, 'You are timed out for 10 minutes.');
  await lookUp(momo, 'hana');
  await momo.locator('.mod-body input[name="reason"]').fill('advertising');
  await button(momo, 'Ban').click();
  await note(hana, 'You were banned from this chat.');

  // Who is kept out, why and until when.
  await at(momo, 'mod-bans').click();
  await card(momo, 'mina', 'shouting', 'Timed out · until').waitFor();
  await card(momo, 'hana', 'advertising', 'Banned · permanent').waitFor();
  await assertSound(momo, 'chat-mod-bans-desk');

  // Both ask to be heard, and one is.
  await appeal(mina, 'I was only cheering');
  await appeal(hana, 'my shop is very good');
  await at(momo, 'mod-queue').click();
  await card(momo, 'mina', 'I was only cheering').waitFor();
  await card(momo, 'hana', 'my shop is very good').waitFor();
  await assertSound(momo, 'chat-mod-queue-desk');
  await card(momo, 'my shop').getByRole('button', { name: 'Decline' }).click();
  await card(momo, 'my shop').waitFor({ state: 'detached' });
  await note(hana, 'declined your appeal');
  await card(momo, 'cheering').getByRole('button', { name: 'Accept' }).click();
  await momo.getByText('Nothing to review.').waitFor();
  await note(mina, 'You can chat again.');
  await write(mina, 'thank you!');
  await line(momo, 'thank you!').waitFor();

  // The other's ban stands, until it is lifted here.
  await at(momo, 'mod-bans').click();
  await card(momo, 'hana').waitFor();
  assert.equal(await card(momo).count(), 1);
  await button(momo, 'Unban').click();
  await momo.getByText('No one is banned.').waitFor();
  await note(hana, 'You can chat again.');
  await write(hana, 'sorry, everybody');
  await line(mina, 'sorry, everybody').waitFor();
});

test('the panel sets the rules, loses none of them, and logs who did', async () => {
  const room = here.room();
  const mina = await watch(room, fan(room, 'Mina'));
  const momo = await watch(room, moderator(room, 'lead_moderator'), DESK);
  const terms = momo.locator('.mod-body textarea');
  await at(momo, 'mod-toggle').click();
  await at(momo, 'mod-settings').click();
  await terms.fill('shop');
  await button(momo, 'Save').click();
  await note(momo, 'Done');
  await ruled(room, 'blockedTerms', 'shop');
  await write(mina, 'let us go to the shop');
  await note(mina, 'words that are blocked in this room');

  // What blocks is told to moderators only, and another rule does not take it away.
  await at(momo, 'mod-stage').click();
  await assertSound(momo, 'chat-mod-stage-desk');
  await at(momo, 'mod-settings').click();
  await momo.locator('input[name="slow"]').fill('20');
  assert.equal(await terms.inputValue(), 'shop');
  await assertSound(momo, 'chat-mod-settings-desk');
  await button(momo, 'Save').click();
  await mina.locator('.chat-modes').filter({ hasText: 'Slow mode: 20 seconds' }).waitFor();
  await write(mina, 'and now?');
  await line(momo, 'and now?').waitFor();
  await mina.locator('[data-testid="chat-send"][data-wait]').waitFor();

  await at(momo, 'mod-stage').click();
  await at(momo, 'announce-text').fill('Doors open at eight');
  await at(momo, 'announce-send').click();
  await at(mina, 'chat-announcement').filter({ hasText: 'Doors open at eight' }).waitFor();
  await lookUp(momo, 'mina');
  await card(momo, 'and now?').waitFor();
  await momo.locator('.mod-body input[name="reason"]').fill('a bit quieter');
  await button(momo, 'Time out 10 min').click();
  await note(mina, 'You are timed out for 10 minutes.');
  await card(momo, 'and now?', 'Message deleted').waitFor();

  // The newest first.
  await at(momo, 'mod-audit').click();
  await card(momo, 'Announcement').waitFor();
  const log = (await momo.locator('.mod-card > p:first-child').allTextContents()).reverse();
  assert.match(log[3], /^momo Timed out · mina · until /);
  assert.deepEqual(log.toSpliced(3, 1), [
    'momo Rules changed · Blocked words → shop',
    'momo Rules changed · Slow mode: seconds between messages → 20',
    'momo Announcement · “Doors open at eight”',
    'momo All messages deleted · mina · 1 message',
  ]);
  await assertSound(momo, 'chat-mod-audit-desk');

  // All of it on a phone, in Korean.
  const dal = await watch(room, moderator(room, 'lead_moderator', 'Dal'), PHONE);
  await assertSound(dal, 'chat-moderator-phone');
  await at(dal, 'mod-toggle').click();
  await dal.getByText('검토할 것이 없어요.').waitFor();
  await assertSound(dal, 'chat-mod-queue-phone');
  await at(dal, 'mod-settings').click();
  await dal.locator('.mod-body textarea').waitFor();
  await assertSound(dal, 'chat-mod-settings-phone');
  await lookUp(dal, 'mina');
  await card(dal, 'and now?', '메시지 삭제').waitFor();
  await assertSound(dal, 'chat-mod-users-phone');
  await at(dal, 'mod-bans').click();
  await card(dal, 'mina', '타임아웃', '까지').waitFor();
  await assertSound(dal, 'chat-mod-bans-phone');
  await at(dal, 'mod-audit').click();
  await card(dal, '금지어 → shop').waitFor();
  await assertSound(dal, 'chat-mod-audit-phone');
  await at(dal, 'mod-stage').click();
  await assertSound(dal, 'chat-mod-stage-phone');
});
