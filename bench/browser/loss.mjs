// What one viewer in Chromium sees behind a link that loses and delays packets.
import { setTimeout as pause } from 'node:timers/promises';
import { Browser, until } from './lib/browser.mjs';
import { flagsOf } from './lib/flags.mjs';
import { Relay, serverOf, through } from './lib/relay.mjs';
import { circumstances, publish, round } from './lib/report.mjs';
import { SHOW_FLAGS, goLive } from './lib/show.mjs';
import { Target } from './lib/target.mjs';

const flags = flagsOf('Freezes and retransmissions of a viewer behind a lossy link, by its own statistics.', {
  ...SHOW_FLAGS,
  codecs: { kind: 'list', default: ['VP8', 'H264'], help: 'codecs to measure' },
  loss: { kind: 'number', default: 5, help: 'of a hundred datagrams, so many are lost, each way' },
  rtt: { kind: 'number', default: 100, help: 'round-trip time that the link adds, in ms' },
  settle: { kind: 'number', default: 10, help: 'from the first picture to the measurement, in seconds' },
  secs: { kind: 'number', default: 60, help: 'length of the measurement' },
  seed: { kind: 'number', default: 1, help: 'of what is lost' },
});

/** Joins behind the link. Gives the session's key and the link. */
async function join(fan, target, room) {
  const { key, sdp } = await fan.evaluate((options) => bench.ask(options), { url: target.whep(room), token: target.watchToken });
  const server = serverOf(sdp);
  const relay = await Relay.open(server, { loss: flags.loss / 100, rttMs: flags.rtt, seed: flags.seed });
  await fan.evaluate(([k, answer]) => bench.accept(k, answer), [key, through(sdp, server, relay.port)]);
  return { key, relay };
}

async function measure(artist, fan, target, codec) {
  const room = `loss-${codec}`.toLowerCase();
  const show = await goLive(flags, artist, target, room, codec);
  const { key, relay } = await join(fan, target, room);
  try {
    await until('the viewer has painted', async () => {
      const { paintedAt } = await fan.evaluate((k) => bench.times(k), key);
      return { ok: Boolean(paintedAt), value: paintedAt };
    }, { within: 30_000 });
    await pause(1_000 * flags.settle);
    const look = async () => ({ ...await fan.evaluate((k) => bench.video(k), key), ...relay.counts });
    const from = await look();
    await pause(1_000 * flags.secs);
    const to = await look();
    const grown = (name) => (to[name] ?? 0) - (from[name] ?? 0);
    const secs = grown('timestamp') / 1_000;
    const resent = grown('retransmittedPacketsReceived');
    const result = {
      codec,
      secs: round(secs),
      frozenPercent: round(100 * grown('totalFreezesDuration') / secs),
      freezes: grown('freezeCount'),
      resentPercent: round(100 * resent / (grown('packetsReceived') - resent)),
      framesPerSecond: round(grown('framesDecoded') / secs),
      framesDropped: grown('framesDropped'),
      keyFramesDecoded: grown('keyFramesDecoded'),
      nacks: grown('nackCount'),
      plis: grown('pliCount'),
      heldBackMs: round(1_000 * grown('jitterBufferDelay') / grown('jitterBufferEmittedCount')),
      linkLostPercent: round(100 * grown('lostDown') / grown('down')),
      ...await show.figures(),
    };
    console.error(JSON.stringify(result));
    return result;
  } finally {
    await fan.evaluate((k) => bench.close(k), key);
    await relay.close();
    await show.close();
  }
}

const target = await Target.open(flags);
let browser;
try {
  browser = await Browser.launch(flags.chromium);
  const artist = await browser.open(target.base, ['session.js', 'clock.js', 'recorder.js']);
  const fan = await browser.open(target.base, ['session.js']);
  const results = [];
  for (const codec of flags.codecs) results.push(await measure(artist, fan, target, codec));
  const link = `${flags.loss} % loss, ${flags.rtt} ms`;
  const report = { what: `a viewer behind ${link}`, ...circumstances({ browser: browser.version, server: target.name }), results };
  await publish(report, results.flatMap(({ codec, frozenPercent, freezes, resentPercent, heldBackMs }) => [
    { figure: `frozen behind ${link}, ${codec}`, target: '< 0.5 % of time', measured: `${frozenPercent} % (${freezes} freezes; ${heldBackMs} ms held back)` },
    { figure: `sent again behind ${link}, ${codec}`, target: '<= 25 % of media', measured: `${resentPercent} %` },
  ]), flags.json);
} finally {
  await browser?.close();
  await target.close();
}
