// Ways through networks: `.local` candidates, TCP where UDP is blocked, IPv6 alone, ICE restarts.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchChromium } from '../lib/chromium.mjs';
import { blockUdp } from '../lib/firewall.mjs';
import { Publisher, Viewer } from '../lib/party.mjs';
import { scene } from '../lib/scene.mjs';
import { until } from '../lib/wait.mjs';

const here = scene('network');

const publish = async (room, options) =>
  Publisher.start(await here.page(), here.server.whip(room), { codec: 'VP8', token: here.server.token, ...options });
const watch = async (room, options) => Viewer.start(await here.page(), here.server.whep(room), options);

test('only TCP: the viewer and the publisher connect through it', async () => {
  const room = here.room();
  const keep = { protocol: 'tcp' };
  const publisher = await publish(room, { keep });
  const viewer = await watch(room, { keep });
  await viewer.decodes(45, 20_000);
  await viewer.hears(30);
  for (const party of [publisher, viewer]) assert.equal((await party.path()).protocol, 'tcp');
});

test('only IPv6', async () => {
  const room = here.room();
  const keep = { protocol: 'udp', family: 6 };
  const publisher = await publish(room, { keep });
  const viewer = await watch(room, { keep });
  await viewer.decodes(45, 20_000);
  for (const party of [publisher, viewer]) {
    const { protocol, address } = await party.path();
    assert.deepEqual([protocol, address.replace(/[[\]]/g, '')], ['udp', '::1']);
  }
});

test('a viewer whose connection moves from IPv4 to IPv6 misses nothing', async () => {
  const room = here.room();
  await publish(room);
  const viewer = await watch(room, { keep: { protocol: 'udp', family: 4 } });
  await viewer.decodes(30, 15_000);
  const { address } = await viewer.path();
  assert.equal(address, '127.0.0.1');

  await viewer.watchGap();
  // Browsers prefer IPv6 once there is a way.
  await viewer.call('widen');
  await until('the connection has moved', async () => {
    const path = await viewer.path();
    return { ok: path?.address.replace(/[[\]]/g, '') === '::1', value: path };
  });
  await viewer.decodes(45);
  const gap = await viewer.gap();
  assert.ok(gap < 1_000, `the picture stood still for ${Math.round(gap)} ms`);
  await viewer.assertWhole();
});

test('candidates come by PATCH', async () => {
  const room = here.room();
  const publisher = await publish(room, { trickle: true });
  const viewer = await watch(room, { trickle: true });
  await viewer.decodes(30, 15_000);
  for (const party of [publisher, viewer]) {
    const sent = await party.page.evaluate((key) => globalThis.stage.trickled(key), party.key);
    assert.ok(sent.length > 0, 'nothing was trickled');
    for (const { candidate, status, etag } of sent) assert.deepEqual([status, etag], [204, null], candidate);
  }
});

test('ICE restarts of the viewer and of the publisher keep the media flowing', async () => {
  const room = here.room();
  const publisher = await publish(room);
  const viewer = await watch(room);
  await viewer.decodes(30, 15_000);

  for (const party of [viewer, publisher]) {
    await party.connected();
    const path = await party.path();
    const etag = party.posted.etag;
    await viewer.watchGap();
    const restarted = await party.call('restartIce');
    assert.equal(restarted.status, 200, JSON.stringify(restarted));
    assert.match(restarted.etag, /^"[^"]+"$/, 'a strong ETag');
    assert.notEqual(restarted.etag, etag);
    assert.notEqual(restarted.after, restarted.before, 'the user fragment is new');
    await until('the new candidate pair is in use', async () => {
      const now = await party.path();
      return { ok: now && now.id !== path.id, value: now };
    });
    await viewer.decodes(45);
    const gap = await viewer.gap();
    assert.ok(gap < 1_000, `the picture stood still for ${Math.round(gap)} ms`);
    assert.ok(!(await party.states()).includes('failed'));
  }
  await viewer.assertWhole();

  // The tag of before the restart is stale now.
  const stale = await viewer.page.evaluate(async ([key, tag]) => {
    const response = await globalThis.sessions.get(key).patch(tag, globalThis.sessions.get(key).fragment([]));
    return response.status;
  }, [viewer.key, viewer.posted.etag]);
  assert.equal(stale, 412);
});

test('UDP is blocked in mid-show: an ICE restart moves the viewer and the publisher to TCP', async (t) => {
  const room = here.room();
  const publisher = await publish(room);
  const viewer = await watch(room);
  await viewer.decodes(30, 15_000);
  for (const party of [publisher, viewer]) assert.equal((await party.path()).protocol, 'udp');
  const unblock = blockUdp(here.server.mediaPorts);
  t.after(unblock);
  for (const party of [publisher, viewer]) assert.equal((await party.call('restartIce')).status, 200);
  for (const party of [publisher, viewer]) {
    await until('the connection is by TCP', async () => {
      const path = await party.path();
      return { ok: path?.protocol === 'tcp', value: [path, await party.states()] };
    }, { within: 20_000 });
  }
  await viewer.decodes(45, 20_000);
  await viewer.hears(30);
});

test('a refused ICE restart leaves the session alone', async () => {
  const room = here.room();
  await publish(room);
  const viewer = await watch(room);
  await viewer.decodes(15, 15_000);
  const status = await viewer.page.evaluate(async (key) => {
    const response = await globalThis.sessions.get(key).patch('*', 'a=ice-ufrag:x\r\n');
    return response.status;
  }, viewer.key);
  assert.ok(status >= 400 && status < 500, `${status}`);
  await viewer.decodes(30);
});

let fans;
before(async () => { fans = await launchChromium({ realCandidates: false, grantMedia: false }); });
after(() => fans?.close());

test('a viewer whose addresses hide behind .local names', async () => {
  const room = here.room();
  await publish(room);
  const viewer = await Viewer.start(await fans.open(), here.server.whep(room), { gather: true });
  const candidates = viewer.posted.offer.match(/^a=candidate:.*$/gm) ?? [];
  assert.ok(candidates.length > 0 && candidates.every((line) => line.includes('.local')), candidates.join('\n'));
  await viewer.decodes(45, 20_000);
  await viewer.hears(30);
});
