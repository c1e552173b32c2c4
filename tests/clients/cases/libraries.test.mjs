// What the libraries of pages do besides connecting.
import { describe } from 'node:test';
import { AT_ONCE, clientCase } from '../lib/case.mjs';
import { place } from '../lib/place.mjs';

const here = place('libraries');

describe('ICE restarts by a library', AT_ONCE, () => {
  clientCase(here, 'medooze', 'restarts', 'restarts ICE, and the media flows on', async (scope) => {
    const room = here.room();
    const publisher = await scope.publisher('medooze', room);
    const viewer = await scope.viewer('medooze', room);
    await viewer.gets('video', 30);
    for (const peer of [publisher, viewer]) {
      await peer.restarts();
      await viewer.gets('video', 45);
      await peer.connected();
    }
    await viewer.leaves();
    await publisher.leaves();
  });
});
