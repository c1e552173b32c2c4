// From the viewer's POST to the first painted frame of a show that runs already.
import { setTimeout as pause } from 'node:timers/promises';
import { Browser, until } from './lib/browser.mjs';
import { flagsOf } from './lib/flags.mjs';
import { randomFrom } from './lib/random.mjs';
import { circumstances, publish, round, spread } from './lib/report.mjs';
import { SHOW_FLAGS, goLive } from './lib/show.mjs';
import { Target } from './lib/target.mjs';

const flags = flagsOf('Time from POST to the first painted frame, joining a running show at random moments.', {
  ...SHOW_FLAGS,
  codecs: { kind: 'list', default: ['VP8', 'H264'], help: 'codecs to measure' },
  'apart-min': { kind: 'number', default: 200, help: 'least time from a leave to the next join, in ms' },
  'apart-max': { kind: 'number', default: 2_000, help: 'most time, in ms; in between it is random' },
  joins: { kind: 'number', default: 40, help: 'viewers one after another, a codec' },
  bursts: { kind: 'number', default: 5, help: 'bursts of viewers, a codec' },
  crowd: { kind: 'number', default: 10, help: 'viewers of a burst, evenly within 100 ms' },
  seed: { kind: 'number', default: 1, help: 'of the random moments' },
});

const BURST_MS = 100;
const { 'apart-min': apartMin, 'apart-max': apartMax } = flags;
const random = randomFrom(flags.seed);

/** Joins `crowd` viewers, `spacing` ms apart, waits for their first frames, and lets them leave. */
async function join(fan, target, room, crowd, spacing) {
  const options = { url: target.whep(room), token: target.watchToken };
  const keys = await fan.evaluate(([watching, count, apart]) => Promise.all(Array.from({ length: count }, async (_, i) => {
    await new Promise((done) => setTimeout(done, i * apart));
    return bench.watch(watching);
  })), [options, crowd, spacing]);
  const times = await until('every viewer has painted', async () => {
    const value = await fan.evaluate((all) => all.map((key) => bench.times(key)), keys);
    return { ok: value.every(({ paintedAt }) => paintedAt), value };
  }, { within: 20_000 });
  await fan.evaluate((all) => Promise.all(all.map((key) => bench.close(key))), keys);
  return times.map(({ postedAt, answeredAt, paintedAt }) => ({ answer: answeredAt - postedAt, frame: paintedAt - postedAt }));
}

async function measure(artist, fan, target, codec) {
  const room = `first-frame-${codec}`.toLowerCase();
  const show = await goLive(flags, artist, target, room, codec);
  try {
    return await measureShow(show, fan, target, room, codec);
  } finally {
    await show.close();
  }
}

async function measureShow(show, fan, target, room, codec) {
  await join(fan, target, room, 1, 0); // The browser's own first connection is not the server's time.
  const singles = [];
  for (let i = 0; i < flags.joins; i += 1) {
    await pause(apartMin + (apartMax - apartMin) * random());
    singles.push(...await join(fan, target, room, 1, 0));
  }
  const slowest = [];
  for (let i = 0; i < flags.bursts; i += 1) {
    await pause(500 + 1_500 * random());
    const crowd = await join(fan, target, room, flags.crowd, BURST_MS / flags.crowd);
    slowest.push(round(Math.max(...crowd.map(({ frame }) => frame))));
  }
  const result = {
    codec,
    firstFrame: spread(singles.map(({ frame }) => frame)),
    answer: spread(singles.map(({ answer }) => answer)),
    slowestOfCrowd: flags.bursts > 0 ? { crowd: flags.crowd, bursts: slowest, worst: Math.max(...slowest) } : undefined,
    ...await show.figures(),
  };
  console.error(JSON.stringify(result));
  return result;
}

const target = await Target.open(flags);
let browser;
try {
  browser = await Browser.launch(flags.chromium);
  const artist = await browser.open(target.base, ['session.js', 'clock.js', 'recorder.js']);
  const fan = await browser.open(target.base, ['session.js']);
  const results = [];
  for (const codec of flags.codecs) results.push(await measure(artist, fan, target, codec));
  const gop = flags.gop > 0 ? `, GOP of ${flags.gop} s` : '';
  const report = { what: 'POST to first painted frame, ms', ...circumstances({ browser: browser.version, server: target.name }), results };
  await publish(report, results.flatMap(({ codec, firstFrame, slowestOfCrowd }) => [
    { figure: `POST to first painted frame in Chromium, ${codec}${gop}, p50 / p95 of ${firstFrame.count} joins`, target: flags.gop > 0 ? '<= 150 / <= 280 ms' : '<= 300 / <= 500 ms', measured: `${firstFrame.p50} / ${firstFrame.p95} ms` },
    ...(slowestOfCrowd ? [{
      figure: `slowest of ${slowestOfCrowd.crowd} joining within ${BURST_MS} ms, ${codec}${gop}, each of ${slowestOfCrowd.bursts.length} bursts`, target: flags.gop > 0 ? '<= 400 ms' : '<= 1 s', measured: `${slowestOfCrowd.bursts.join(', ')} ms`,
    }] : []),
  ]), flags.json);
} finally {
  await browser?.close();
  await target.close();
}
