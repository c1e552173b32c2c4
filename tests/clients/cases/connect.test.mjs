// Every client publishes to a browser that decodes it, and watches a browser's show.
import { describe } from 'node:test';
import { AT_ONCE, clientCase } from '../lib/case.mjs';
import { CLIENTS } from '../lib/clients.mjs';
import { place } from '../lib/place.mjs';

const here = place('clients');

describe('publishing', AT_ONCE, () => {
  for (const { id } of CLIENTS.filter(({ publish }) => publish)) {
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
  for (const { id, codec } of CLIENTS.filter(({ view }) => view)) {
    clientCase(here, id, 'watch', 'watches what Chromium publishes', async (scope) => {
      const viewer = await scope.viewer(id, await here.show(codec));
      await viewer.connected();
      await viewer.gets('video', 30);
      await viewer.gets('audio', 30);
      await viewer.leaves();
    });
  }
});
