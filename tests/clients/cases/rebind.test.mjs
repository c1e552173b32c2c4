// In mid-show the media of a client comes from another port, then from another address family: a NAT that forgot its
// mapping, a telephone between networks. The client itself notices nothing.
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { AT_ONCE, clientCase } from '../lib/case.mjs';
import { able, client } from '../lib/clients.mjs';
import { place } from '../lib/place.mjs';

const here = place('rebind');
/** Milliseconds without a picture, on a machine that has much else to do. Measured freezes stand in docs/clients.md. */
const FREEZE_MAX = 6_000;
/** The same for viewers that are found late, or ask for a keyframe late. */
const FREEZE_MAX_OF_LATE = 20_000;
const MOVES = [['another port', undefined], ['another address family', 6]];

/** Moves the NAT's mappings while `seen` watches, and asserts that the picture comes back. */
async function survives(nat, seen, freezeMax = FREEZE_MAX) {
  for (const [where, family] of MOVES) {
    await seen.gets('video', 30);
    await seen.watchGap();
    await nat.rebind(family);
    await seen.gets('video', 45);
    const gap = await seen.gap();
    assert.ok(gap < freezeMax, `${where}: the picture stood still for ${Math.round(gap)} ms`);
  }
}

describe('publishers move', AT_ONCE, () => {
  for (const { id } of able('publish')) {
    clientCase(here, id, 'publisherMoves', 'publishes on after its port has changed', async (scope) => {
      const room = here.room();
      const nat = await scope.nat();
      const publisher = await scope.publisher(id, room, { through: nat });
      await publisher.connected();
      await survives(nat, await scope.viewer('chromium', room));
      await publisher.leaves();
    });
  }
});

describe('viewers move', AT_ONCE, () => {
  for (const { id, codec } of able('view')) {
    clientCase(here, id, 'viewerMoves', 'watches on after its port has changed', async (scope) => {
      const nat = await scope.nat();
      const viewer = await scope.viewer(id, await here.show(codec), { through: nat });
      await viewer.connected();
      // One that sends no checks is found by its reports: not before the first.
      await viewer.gets('video', 150);
      await survives(nat, viewer, client(id).watchesOnLate ? FREEZE_MAX_OF_LATE : FREEZE_MAX);
      await viewer.leaves();
    });
  }
});

/** Clients that go on checking their path; others cannot be found at another address before there are keys. */
const CHECKING = ['obs-32', 'aiortc-balanced', 'pion-ecdsa', 'webrtc-rs', 'chromium', 'firefox'];

describe('peers move while they join', AT_ONCE, () => {
  for (const id of CHECKING) {
    clientCase(here, id, 'publisherJoins', 'publishes although its port changes amid the handshake', async (scope) => {
      const room = here.room();
      const publisher = await scope.publisher(id, room, { through: await scope.nat({ atHandshake: true }) });
      await publisher.connected();
      await (await scope.viewer('chromium', room)).gets('video', 30);
      await publisher.leaves();
    });
    clientCase(here, id, 'viewerJoins', 'watches although its port changes amid the handshake', async (scope) => {
      const room = await here.show(client(id).codec);
      const viewer = await scope.viewer(id, room, { through: await scope.nat({ atHandshake: true }) });
      await viewer.connected();
      await viewer.gets('video', 30);
      await viewer.leaves();
    });
  }
});

describe('browsers move while they restart ICE', AT_ONCE, () => {
  for (const id of ['chromium', 'firefox']) {
    clientCase(here, id, 'restarts', 'goes on although its port changes before it reads the answer', async (scope) => {
      const room = here.room();
      const publisher = await scope.publisher(id, room, { through: await scope.nat({ atRestart: true }) });
      await publisher.connected();
      const viewer = await scope.viewer(id, room, { through: await scope.nat({ atRestart: true }) });
      for (const moving of [viewer, publisher]) {
        await viewer.gets('video', 30);
        await viewer.watchGap();
        const { status } = await moving.party.call('restartIce');
        assert.equal(status, 200);
        await viewer.gets('video', 45);
        const gap = await viewer.gap();
        assert.ok(gap < FREEZE_MAX, `the picture stood still for ${Math.round(gap)} ms`);
      }
      await viewer.leaves();
      await publisher.leaves();
    });
  }
});
