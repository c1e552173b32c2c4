// Every client publishes to a browser that decodes it, and watches a browser's show.
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { AT_ONCE, clientCase } from '../lib/case.mjs';
import { able, CLIENTS } from '../lib/clients.mjs';
import { place } from '../lib/place.mjs';

const here = place('clients');

describe('publishing', AT_ONCE, () => {
  for (const { id } of able('publish')) {
    clientCase(here, id, 'publish', 'publishes, and Chromium decodes it', async (scope) => {
      const room = here.room();
      const publisher = await scope.publisher(id, room);
      await publisher.connected();
      const fan = await scope.viewer('chromium', room);
      await fan.gets('video', 30);
      await fan.gets('audio', 30);
      await publisher.leaves();
    });
  }
});

describe('watching', AT_ONCE, () => {
  for (const { id, codec } of able('view')) {
    clientCase(here, id, 'watch', 'watches what Chromium publishes', async (scope) => {
      const viewer = await scope.viewer(id, await here.show(codec));
      await viewer.connected();
      await viewer.gets('video', 30);
      await viewer.gets('audio', 30);
      await viewer.leaves();
    });
  }
});

/** Enough for a client that can connect, and long for one that cannot. */
const IN_VAIN = 15_000;

describe('clients with a fault of their own', AT_ONCE, () => {
  for (const { id, fault } of CLIENTS.filter((one) => one.fault)) {
    clientCase(here, id, 'publish', 'does not publish', async (scope) => {
      const publisher = await scope.publisher(id, here.room());
      await assert.rejects(publisher.connected(IN_VAIN), /./, `it connects now; known was: ${fault}`);
      return 'fails';
    });
  }
});
