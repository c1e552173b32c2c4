// In mid-show the media of a client comes from another port, then from another address family: a NAT that forgot its
// mapping, a telephone between networks. The client itself notices nothing.
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { AT_ONCE, clientCase } from '../lib/case.mjs';
import { able } from '../lib/clients.mjs';
import { place } from '../lib/place.mjs';

const here = place('rebind');
/** Far more than it takes: a client that stands still for ever is to be found. Measured freezes stand in docs/clients.md. */
const FREEZE_MAX = 20_000;
const MOVES = [['another port', undefined], ['another address family', 6]];

/** Moves the NAT's mappings while `seen` watches, and asserts that the picture comes back. */
async function survives(nat, seen) {
  for (const [where, family] of MOVES) {
    await seen.gets('video', 30);
    await seen.watchGap();
    await nat.rebind(family);
    await seen.gets('video', 45);
    const gap = await seen.gap();
    assert.ok(gap < FREEZE_MAX, `${where}: the picture stood still for ${Math.round(gap)} ms`);
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
      await survives(nat, viewer);
      await viewer.leaves();
    });
  }
});
