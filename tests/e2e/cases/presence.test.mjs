// The artist comes late, drops, returns, ends the show: viewers stay in one session throughout.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';

const CONSENT_SECS = 6;
const GRACE_SECS = 20;
const here = scene('presence', {
  settings: { media: { consent_timeout: `${CONSENT_SECS}s` }, signaling: { grace: `${GRACE_SECS}s` } },
});

const start = async (room, options) =>
  Publisher.start(await here.page(), here.server.whip(room), { codec: 'VP8', token: here.server.token, ...options });

test('a viewer who comes first waits, and sees the show begin and end', async () => {
  const room = here.room();
  const viewer = await Viewer.start(await here.page(), here.server.whep(room));
  const waiting = await viewer.event('inactive');
  assert.equal(waiting.reason, 'not_started');
  await viewer.connected();
  assert.equal((await viewer.media()).video?.framesDecoded ?? 0, 0);

  const publisher = await start(room);
  const active = await viewer.event('active', undefined, { from: waiting.at });
  await viewer.decodes(30, 15_000);
  await viewer.hears(30);

  await publisher.remove();
  await viewer.event('inactive', ({ reason }) => reason === 'ended', { from: active.at });
  assert.deepEqual((await viewer.states()).filter((state) => state !== 'connecting'), ['connected']);
});

for (const [how, drop] of [
  // The renderer is gone at once: nothing is said to the server, which must notice by itself.
  ['crashes', (page) => page.goto('chrome://crash').catch(() => {})],
  ['is closed', (page) => page.close()],
]) {
  test(`the artist's page ${how}, and the artist returns within the grace time`, async () => {
    const room = here.room();
    const page = await here.page();
    await Publisher.start(page, here.server.whip(room), { codec: 'VP8', token: here.server.token });
    const viewer = await Viewer.start(await here.page(), here.server.whep(room));
    await viewer.decodes(30, 15_000);
    await viewer.hears(30);

    await drop(page);
    const lost = await viewer.event('inactive', ({ reason }) => reason === 'interrupted', { within: (CONSENT_SECS + 8) * 1_000 });

    const publisher = await start(room);
    await viewer.event('active', undefined, { from: lost.at });
    await viewer.decodes(45, 15_000);
    await viewer.hears(60);
    // The return of another sender, with numbers of its own, leaves no hole.
    await viewer.assertWhole();

    await publisher.remove();
    await viewer.event('inactive', ({ reason }) => reason === 'ended', { from: lost.at });
  });
}

test('the artist returns before the server has noticed the loss', async () => {
  const room = here.room();
  await start(room);
  const viewer = await Viewer.start(await here.page(), here.server.whep(room));
  await viewer.decodes(15, 15_000);
  // The same person, from another page, as after a crash of the first.
  const publisher = await start(room, { codec: 'H264' });
  await publisher.connected();
  await viewer.decodes(60, 15_000);
  assert.equal((await viewer.media()).video.codec, 'video/H264', 'another codec goes to the same viewer');
});
