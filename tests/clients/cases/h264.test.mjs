// H.264 as encoders and repackagers in the field send it, from OBS's stack to a decoder: a fan who was there before,
// and one who comes late.
import { describe, test } from 'node:test';
import { AT_ONCE } from '../lib/case.mjs';
import { place } from '../lib/place.mjs';
import { until } from '../../e2e/lib/wait.mjs';
import { SHAPES } from '../peers/lib/shapes.mjs';

const here = place('h264');
/** What nobody can decode. */
const UNDECODABLE = 'setsNever';

describe('shapes of H.264', AT_ONCE, () => {
  for (const shape of Object.keys(SHAPES).filter((name) => name !== UNDECODABLE)) {
    test(`${shape}: an early and a late fan see it`, async () => {
      await here.server.explaining(() => here.scoped(async (scope) => {
        const room = here.room();
        const early = await scope.viewer('chromium', room);
        const publisher = await scope.publisher('obs-32', room, { shape });
        await publisher.connected();
        // Past the fourth second, where some shapes change.
        await early.gets('video', 150);
        await early.gets('audio', 30);
        const late = await scope.viewer('chromium', room);
        await late.gets('video', 30);
        await publisher.leaves();
      }));
    });
  }
});

test('ssrcGroup: a fan may choose either layer', async () => {
  await here.server.explaining(() => here.scoped(async (scope) => {
    const room = here.room();
    const publisher = await scope.publisher('obs-32', room, { shape: 'ssrcGroup' });
    await publisher.connected();
    const { party } = await scope.viewer('chromium', room);
    await party.width(320, 20_000);
    await party.chooseLayer('low');
    await party.width(160, 20_000);
    await party.chooseLayer('high');
    await party.width(320, 20_000);
    await publisher.leaves();
  }));
});

test('no parameter sets at all: the artist is told', async () => {
  await here.scoped(async (scope) => {
    const room = here.room();
    const publisher = await scope.publisher('obs-32', room, { shape: UNDECODABLE });
    await publisher.connected();
    await until('the room has the hint', async () => {
      const { body } = await here.server.api(`/rooms/${room}`, { token: here.token });
      return { ok: body?.hints?.some(({ code }) => code === 'no_parameter_sets'), value: body };
    }, { within: 30_000 });
  });
});
