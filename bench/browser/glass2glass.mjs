// Glass to glass: from painting a frame in one page to its presentation in another, once directly
// and once through the server, in turns within one run.
import { setTimeout as pause } from 'node:timers/promises';
import { Browser, until } from './lib/browser.mjs';
import { flagsOf } from './lib/flags.mjs';
import { circumstances, publish, round, spread } from './lib/report.mjs';
import { Target } from './lib/target.mjs';

const flags = flagsOf('Glass-to-glass latency in Chromium, through the server and directly.', {
  codecs: { kind: 'list', default: ['VP8', 'H264'], help: 'codecs to measure' },
  rounds: { kind: 'number', default: 4, help: 'turns of each way and codec' },
  secs: { kind: 'number', default: 10, help: 'measured seconds of a turn' },
  settle: { kind: 'number', default: 6, help: 'seconds at full size before a turn is measured' },
  width: { kind: 'number', default: 1280, help: 'picture width' },
  height: { kind: 'number', default: 720, help: 'picture height' },
  fps: { kind: 'number', default: 30, help: 'frames a second' },
  bitrate: { kind: 'number', default: 2_500_000, help: "the encoder's limit in bit/s" },
});

/** The two pages: one paints and sends, the other receives and reads. */
class Pair {
  static async open(browser, target) {
    const pair = new Pair();
    pair.target = target;
    pair.artist = await browser.open(target.base, ['session.js', 'clock.js']);
    pair.fan = await browser.open(target.base, ['session.js', 'clock.js']);
    const { width, height, fps } = flags;
    // The stream stays in its page: it cannot be passed as an argument.
    await pair.artist.evaluate((size) => { globalThis.painter = new clock.Painter(size); }, { width, height, fps });
    return pair;
  }

  /** Connects the pages and gives the keys of both sessions. */
  async connect(way, codec) {
    const sending = { codec, maxBitrate: flags.bitrate };
    if (way === 'server') {
      const room = `glass-${codec}`.toLowerCase();
      const sent = await this.artist.evaluate((options) => bench.publish({ ...options, stream: painter.stream }), {
        url: this.target.whip(room), token: this.target.token, ...sending,
      });
      const received = await this.fan.evaluate((options) => bench.watch(options), {
        url: this.target.whep(room), token: this.target.watchToken, audio: false,
      });
      return { sent, received };
    }
    const offer = await this.artist.evaluate((options) => bench.offer({ ...options, stream: painter.stream }), sending);
    const answer = await this.fan.evaluate((sdp) => bench.answer(sdp), offer.sdp);
    await this.artist.evaluate(([key, sdp]) => bench.accept(key, sdp), [offer.key, answer.sdp]);
    return { sent: offer.key, received: answer.key };
  }

  async disconnect({ sent, received }) {
    await this.fan.evaluate((key) => bench.close(key), received);
    await this.artist.evaluate((key) => bench.close(key), sent);
  }

  /** One turn: what its frames took, in milliseconds, and what the receiver says of itself. */
  async turn(way, codec) {
    const keys = await this.connect(way, codec);
    await until(`${way} ${codec} runs at full size`, () => this.fan.evaluate(([key, width]) => {
      const { videoWidth: value } = bench.element(key);
      return { ok: value === width, value };
    }, [keys.received, flags.width]), { within: 30_000 });
    await pause(flags.settle * 1_000);
    const before = await this.fan.evaluate((key) => {
      globalThis.reader = new clock.Reader(bench.element(key));
      return bench.video(key);
    }, keys.received);
    await this.artist.evaluate(() => { painter.painted.length = 0; });
    await pause(flags.secs * 1_000);
    const { seen, unreadable, fanAhead, after } = await this.fan.evaluate(async (key) => {
      reader.close();
      const { seen, unreadable } = reader;
      return { seen, unreadable, fanAhead: clock.ahead(), after: await bench.video(key) };
    }, keys.received);
    const { painted, artistAhead } = await this.artist.evaluate(() => ({ painted: [...painter.painted], artistAhead: clock.ahead() }));
    await this.disconnect(keys);
    const paintedAt = new Map(painted);
    const latencies = seen.filter(([frame]) => paintedAt.has(frame))
      .map(([frame, at]) => (at - fanAhead) - (paintedAt.get(frame) - artistAhead));
    const grown = (name) => after[name] - before[name];
    return {
      latencies,
      painted: painted.length,
      unreadable,
      kbps: Math.round(grown('bytesReceived') * 8 / (after.timestamp - before.timestamp)),
      jitterBufferMs: round(1_000 * grown('jitterBufferDelay') / Math.max(1, grown('jitterBufferEmittedCount'))),
      packetsLost: grown('packetsLost'),
      freezes: grown('freezeCount'),
    };
  }
}

const sum = (turns, name) => turns.reduce((total, turn) => total + turn[name], 0);

function summary(turns) {
  return {
    ...spread(turns.flatMap(({ latencies }) => latencies)),
    // Frames that were never shown, or replaced before they could be read.
    painted: sum(turns, 'painted'), unreadable: sum(turns, 'unreadable'),
    packetsLost: sum(turns, 'packetsLost'), freezes: sum(turns, 'freezes'),
    medians: turns.map(({ latencies }) => spread(latencies).p50),
    kbps: turns.map(({ kbps }) => kbps),
    jitterBufferMs: turns.map(({ jitterBufferMs }) => jitterBufferMs),
  };
}

async function measure(pair, codec) {
  const turns = { direct: [], server: [] };
  for (let i = 0; i < flags.rounds; i += 1) {
    // The first of a pair alternates: whatever drifts during the run falls on both alike.
    for (const way of i % 2 === 0 ? ['direct', 'server'] : ['server', 'direct']) {
      const turn = await pair.turn(way, codec);
      turns[way].push(turn);
      const { count, p50, p95 } = spread(turn.latencies);
      console.error(`${codec} ${way.padEnd(6)} p50 ${p50} p95 ${p95} ms, ${count} of ${turn.painted} frames, ${turn.kbps} kbit/s, jitter buffer ${turn.jitterBufferMs} ms`);
    }
  }
  const [direct, server] = [summary(turns.direct), summary(turns.server)];
  return { codec, direct, server, addedMedian: round(server.p50 - direct.p50) };
}

const target = await Target.open(flags);
let browser;
try {
  browser = await Browser.launch(flags.chromium);
  const pair = await Pair.open(browser, target);
  const results = [];
  for (const codec of flags.codecs) results.push(await measure(pair, codec));
  const { width, height, fps } = flags;
  const report = { what: 'glass to glass, ms', ...circumstances({ browser: browser.version, server: target.name }), size: { width, height, fps }, results };
  await publish(report, results.flatMap(({ codec, direct, server, addedMedian }) => [
    { figure: `glass to glass in Chromium, ${height}p${fps} ${codec}, p50 / p95`, target: 'p95 <= 80 ms', measured: `${server.p50} / ${server.p95} ms (direct ${direct.p50} / ${direct.p95})` },
    { figure: `what the server adds to a direct connection, ${codec}, difference of medians`, target: '<= 5 ms', measured: `${addedMedian} ms` },
  ]), flags.json);
} finally {
  await browser?.close();
  await target.close();
}
