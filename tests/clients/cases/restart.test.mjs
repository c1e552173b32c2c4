// Libraries of other people's pages restart ICE. At a server with a single candidate: medooze's joins several with commas.
import { describe } from 'node:test';
import { clientCase } from '../lib/case.mjs';
import { place } from '../lib/place.mjs';
import { until } from '../../e2e/lib/wait.mjs';

const here = place('restart', { media: { bind: [process.env.TEST_NETWORK_ADDRESS], tcp: false } });

/** Restarts by the library, and waits until another pair carries the media. */
async function restart({ party }) {
  const before = await party.path();
  await party.call('restartByLibrary');
  await until('another candidate pair is in use', async () => {
    const now = await party.path();
    return { ok: now && now.id !== before.id, value: [now, await party.states()] };
  }, { within: 20_000 });
}

describe('libraries restart ICE', () => {
  clientCase(here, 'medooze', 'restarts', 'publishes and watches on', async (scope) => {
    const room = here.room();
    const publisher = await scope.publisher('medooze', room);
    await publisher.connected();
    const viewer = await scope.viewer('medooze', room);
    await viewer.gets('video', 30);
    for (const peer of [viewer, publisher]) {
      await restart(peer);
      await viewer.gets('video', 45);
    }
    await viewer.leaves();
    await publisher.leaves();
  });
});
