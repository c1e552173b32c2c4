// How smooth the watch page stays while its chat runs: the page's own client and views, fed through a real WebSocket.
import { setTimeout as pause } from 'node:timers/promises';
import { Browser } from './lib/browser.mjs';
import { Chatter } from './lib/chatter.mjs';
import { flagsOf } from './lib/flags.mjs';
import { circumstances, publish, round, spread } from './lib/report.mjs';

const flags = flagsOf('Frames a second of the watch page under messages and reactions. Needs web/ to be built.', {
  messages: { kind: 'number', default: 50, help: 'shown messages a second' },
  reactions: { kind: 'number', default: 10_000, help: 'reactions a second' },
  seconds: { kind: 'number', default: 20, help: 'of each measurement' },
  settle: { kind: 'number', default: 5, help: 'seconds before it' },
  tick: { kind: 'number', default: 200, help: 'milliseconds between two frames of the server' },
});

const SCREENS = {
  desk: { viewport: { width: 1_280, height: 800 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};
const RATES = { quiet: { messages: 0, reactions: 0 }, storm: { messages: flags.messages, reactions: flags.reactions } };
/** A frame that came later than this has missed its turn at 60 a second. */
const LATE_MS = 25;

/**
 * The watch page with a moving picture: the browser's own camera stands in for a show, because a media server beside
 * the browser would take the processor that is measured.
 */
async function openPage(browser, base, screen) {
  const context = await browser.chromium.newContext({ ...screen, permissions: ['camera'] });
  const page = await context.newPage();
  page.on('pageerror', (error) => console.error('[page error]', error.message));
  await page.goto(`${base}/watch/bench`);
  await page.waitForSelector('#chat[data-status="open"]');
  await page.evaluate(async () => {
    const root = document.documentElement;
    const live = () => { if (root.dataset.state !== 'live') root.dataset.state = 'live'; };
    new MutationObserver(live).observe(root, { attributes: true, attributeFilter: ['data-state'] });
    live();
    const video = document.querySelector('video');
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 1_280, height: 720, frameRate: 30 } });
    await video.play();
  });
  const cdp = await context.newCDPSession(page);
  // Processor time of the page's thread, which other work on the machine does not change as it does the clock's.
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  return { page, cdp, context };
}

/** What happens in the page for so long. */
function observe(page, ms) {
  return page.evaluate((span) => new Promise((done) => {
    const frames = [];
    const long = [];
    const observer = new PerformanceObserver((list) => long.push(...list.getEntries().map(({ duration }) => duration)));
    observer.observe({ type: 'longtask' });
    const video = document.querySelector('video');
    const shown = video.getVideoPlaybackQuality().totalVideoFrames;
    let nodes = 0;
    const begin = performance.now();
    let before;
    const frame = (now) => {
      if (before !== undefined) frames.push(now - before);
      before = now;
      nodes = Math.max(nodes, document.querySelectorAll('li.line').length);
      if (performance.now() - begin < span) requestAnimationFrame(frame);
      else {
        observer.disconnect();
        done({ frames, long, lines: nodes, seconds: (performance.now() - begin) / 1_000, videoFrames: video.getVideoPlaybackQuality().totalVideoFrames - shown });
      }
    };
    requestAnimationFrame(frame);
  }), ms);
}

async function metrics(cdp) {
  const { metrics: all } = await cdp.send('Performance.getMetrics');
  return Object.fromEntries(all.map(({ name, value }) => [name, value]));
}

async function measure(browser, chatter, screen, rate) {
  const { page, cdp, context } = await openPage(browser, chatter.base, SCREENS[screen]);
  const hush = chatter.talk(RATES[rate]);
  try {
    await pause(flags.settle * 1_000);
    const sent = { ...chatter.sent };
    const before = await metrics(cdp);
    const { frames, long, lines, seconds, videoFrames } = await observe(page, flags.seconds * 1_000);
    const after = await metrics(cdp);
    const share = (name) => round((100 * (after[name] - before[name])) / seconds);
    const result = {
      screen, rate,
      messagesPerSecond: round((chatter.sent.messages - sent.messages) / seconds),
      reactionsPerSecond: Math.round((chatter.sent.reactions - sent.reactions) / seconds),
      framesPerSecond: round(frames.length / seconds), frame: spread(frames),
      latePercent: round((100 * frames.filter((ms) => ms > LATE_MS).length) / frames.length),
      longTasks: long.length, longestTask: round(Math.max(0, ...long)),
      mainThreadPercent: { all: share('TaskDuration'), script: share('ScriptDuration'), layout: share('LayoutDuration'), style: share('RecalcStyleDuration') },
      videoFramesPerSecond: round(videoFrames / seconds), lines, heapMiB: round(after.JSHeapUsedSize / 2 ** 20),
    };
    console.error(JSON.stringify(result));
    return result;
  } finally {
    hush();
    await context.close();
  }
}

const chatter = await Chatter.open({ tick: flags.tick });
let browser;
try {
  browser = await Browser.launch(flags.chromium);
  const results = [];
  for (const screen of Object.keys(SCREENS)) {
    for (const rate of Object.keys(RATES)) results.push(await measure(browser, chatter, screen, rate));
  }
  const report = { what: 'watch page under its chat', ...circumstances({ browser: browser.version, server: 'none: the script feeds the page' }), results };
  await publish(report, results.filter(({ rate }) => rate === 'storm').map((result) => {
    const quiet = results.find(({ screen, rate }) => screen === result.screen && rate === 'quiet');
    return {
      figure: `watch page in Chromium, ${result.screen}, ${result.messagesPerSecond} shown messages/s and ${result.reactionsPerSecond} reactions/s: frames/s; frame p99; long tasks; main thread`,
      target: '60 frames/s',
      measured: `${result.framesPerSecond} (quiet: ${quiet.framesPerSecond}); ${result.frame.p99} ms (${quiet.frame.p99}); ${result.longTasks} (${quiet.longTasks}); ${result.mainThreadPercent.all} % (${quiet.mainThreadPercent.all} %)`,
    };
  }), flags.json);
} finally {
  await browser?.close();
  await chatter.close();
}
