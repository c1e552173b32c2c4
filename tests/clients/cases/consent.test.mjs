// Clients with one-shot ICE send no consent checks (RFC 7675), but authentic media: a publisher of that kind stays.
import { describe } from 'node:test';
import { AT_ONCE, clientCase } from '../lib/case.mjs';
import { place } from '../lib/place.mjs';

const CONSENT_SECS = 6;
const here = place('consent', { media: { consent_timeout: `${CONSENT_SECS}s` } });

describe('publishers without consent checks', AT_ONCE, () => {
  for (const id of ['ffmpeg-8', 'werift-old']) {
    clientCase(here, id, 'stays', 'publishes for longer than a consent holds', async (scope) => {
      const room = here.room();
      const publisher = await scope.publisher(id, room);
      await publisher.connected();
      const fan = await scope.viewer('chromium', room);
      await fan.gets('video', 30 * CONSENT_SECS * 2, 60_000);
      await publisher.leaves();
    });
  }
});
