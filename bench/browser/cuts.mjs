// The artist's line is cut while the server's own pages run: how long fans stand still beyond the cut itself, and
// whether anybody is told that the show is over.
import { setTimeout as pause } from 'node:timers/promises';
import { Uplink } from '../../tests/e2e/lib/uplink.mjs';
import { Visitor } from '../../tests/e2e/lib/visitor.mjs';
import { Browser, until } from './lib/browser.mjs';
import { flagsOf } from './lib/flags.mjs';
import { circumstances, publish, round } from './lib/report.mjs';
import { Target } from './lib/target.mjs';

const flags = flagsOf("Cuts of the artist's line, and what fans see of them.", {
  seconds: { kind: 'list', default: ['1', '2', '5', '10', '25'], help: 'lengths of the cuts' },
  times: { kind: 'number', default: 3, help: 'how often each' },
  silent: { kind: 'switch', default: false, help: "without the browser's events: a line that is cut further away" },
});
/** Frames that prove that the picture moves again. */
const FRAMES = 30;

async function cut(browser, target, seconds, run) {
  const room = `cut-${seconds}-${run}`;
  const uplink = await Uplink.start(target);
  const studio = await Visitor.inChromium(browser, `${uplink.base}/studio/${room}#token=${target.token}`, {});
  const fan = await Visitor.inChromium(browser, `${target.base}/watch/${room}`, {});
  try {
    await studio.is('preview');
    await studio.click('go-live');
    await studio.is('live');
    await fan.is('live');
    await fan.paints(FRAMES);
    await fan.forget();
    uplink.cut();
    if (!flags.silent) await studio.hears(false);
    await pause(seconds * 1_000);
    uplink.mend();
    if (!flags.silent) await studio.hears(true);
    await fan.paints(FRAMES, 60_000);
    // Nothing comes after it: an earlier page would have ended the show eight seconds later.
    await studio.is('live');
    await pause(10_000);
    await until('the fan is live', async () => ({ ok: (await fan.state()) === 'live', value: await fan.states() }), { within: 30_000 });
    const states = await fan.states();
    return {
      seconds, beyond: round((await fan.longestGap()) - seconds * 1_000),
      ended: states.includes('ended'), states, sessions: (await studio.requests()).filter((method) => method === 'POST').length,
    };
  } finally {
    await fan.leave();
    await studio.leave();
    await uplink.close();
  }
}

const target = await Target.open(flags);
let browser;
try {
  browser = await Browser.launch(flags.chromium);
  const results = [];
  for (const seconds of flags.seconds.map(Number)) {
    for (let run = 1; run <= flags.times; run += 1) {
      results.push(await cut(browser.chromium, target, seconds, run));
      console.error(JSON.stringify(results.at(-1)));
    }
  }
  const report = { what: "cuts of the artist's line", ...circumstances({ browser: browser.version, server: target.name }), results };
  const events = flags.silent ? 'without browser events' : 'with browser events';
  await publish(report, [
    ...[...new Set(results.map(({ seconds }) => seconds))].map((seconds) => {
      const beyond = results.filter((result) => result.seconds === seconds).map((result) => result.beyond);
      return {
        figure: `artist's line cut for ${seconds} s, ${events}: fan's longest freeze beyond the cut, worst of ${beyond.length}`,
        target: '<= 1,500 ms', measured: `${Math.max(...beyond)} ms`,
      };
    }),
    { figure: `shows ended by ${results.length} cuts, ${events}`, target: '0', measured: String(results.filter(({ ended }) => ended).length) },
  ], flags.json);
} finally {
  await browser?.close();
  await target.close();
}
