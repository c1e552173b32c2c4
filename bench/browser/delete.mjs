// How long a deleted message stays before people's eyes: from a moderator's request to the screens of pages that
// watch, over data channels and over WebSockets.
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { Browser } from './lib/browser.mjs';
import { flagsOf } from './lib/flags.mjs';
import { randomFrom } from './lib/random.mjs';
import { circumstances, publish, spread } from './lib/report.mjs';
import { Target } from './lib/target.mjs';

const flags = flagsOf('From the request that deletes a message to the frame without it, in Chromium.', {
  messages: { kind: 'number', default: 200, help: 'messages to delete, one after another' },
  channels: { kind: 'number', default: 4, help: 'pages over data channels' },
  sockets: { kind: 'number', default: 2, help: 'pages over WebSockets: their WHEP requests fail' },
  others: { kind: 'number', default: 5, help: 'other messages a second, which come meanwhile and stay' },
  'admin-token': { kind: 'text', help: 'with --url: a bearer token with admin; a server on this machine in development mode needs none' },
  motion: { kind: 'switch', help: "leave the ornaments of a room without a show moving: painted without a GPU, each page's take most of a processor" },
  seed: { kind: 'number', default: 1, help: 'of the moments' },
});

const ROOM = 'delete';
/** A line that has not gone by then stays: the measurement fails. */
const WITHIN_MS = 10_000;
/** The processors of one machine paint all the pages, which belong to people with machines of their own. */
const SCREEN = { viewport: { width: 1_280, height: 800 }, reducedMotion: flags.motion ? 'no-preference' : 'reduce' };

/** The room's chat over HTTP. */
class Moderator {
  constructor(target) {
    this.base = `${target.base}/api/v1/rooms/${ROOM}/chat/messages`;
    this.headers = { 'content-type': 'application/json', ...(flags['admin-token'] && { authorization: `Bearer ${flags['admin-token']}` }) };
  }

  async #ask(url, init) {
    const response = await fetch(url, { ...init, headers: this.headers });
    const text = await response.text();
    if (!response.ok) throw new Error(`${init.method} ${url}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  write(text) {
    return this.#ask(this.base, { method: 'POST', body: JSON.stringify({ text }) });
  }

  delete(id) {
    return this.#ask(`${this.base}/${id}`, { method: 'DELETE' });
  }
}

async function openPage(browser, target, via) {
  const context = await browser.chromium.newContext(SCREEN);
  const page = await context.newPage();
  page.on('pageerror', (error) => console.error('[page error]', error.message));
  if (via === 'socket') await page.route('**/whep/**', (route) => route.abort());
  const token = target.watchToken ? `#token=${target.watchToken}` : '';
  await page.goto(`${target.base}/watch/${ROOM}${token}`);
  await page.waitForSelector(`#chat[data-status="open"][data-via="${via}"]`);
  // The page's policy lets no foreign script in; the debugger may.
  await page.evaluate(await readFile(new URL('page/lines.js', import.meta.url), 'utf8'));
  return { page, via };
}

/** Writes other messages, until the returned function is called. */
function talk(moderator) {
  let count = 0;
  const timer = flags.others > 0 && setInterval(() => {
    count += 1;
    moderator.write(`somebody says something else, for the ${count}th time`).catch((error) => console.error(error.message));
  }, 1_000 / flags.others);
  return () => clearInterval(timer);
}

/** One message: `{ answered, gone }`, the latter for each page, in milliseconds from the request on. */
async function round(moderator, pages, text, wait) {
  const { id } = await moderator.write(text);
  const seen = await Promise.all(pages.map(({ page }) => page.evaluate((line) => lines.came(line), text)));
  if (!seen.every(Boolean)) throw new Error(`${text} came, and not into sight: ${JSON.stringify(seen)}`);
  // Its deletion falls anywhere between two ticks of the server.
  await pause(wait);
  const from = Date.now();
  const done = moderator.delete(id).then(() => Date.now() - from);
  const went = Promise.all(pages.map(({ page }) => page.evaluate((line) => lines.went(line), text)));
  const late = pause(WITHIN_MS, 'late', { ref: false });
  const times = await Promise.race([went, late]);
  if (times === 'late') throw new Error(`${text} is still there after ${WITHIN_MS} ms`);
  return { answered: await done, gone: times.map((at) => at - from) };
}

const target = await Target.open(flags);
let browser;
let hush = () => {};
try {
  browser = await Browser.launch(flags.chromium);
  const moderator = new Moderator(target);
  const kinds = [...Array(flags.channels).fill('channels'), ...Array(flags.sockets).fill('socket')];
  const pages = [];
  for (const via of kinds) pages.push(await openPage(browser, target, via));
  hush = talk(moderator);
  const random = randomFrom(flags.seed);
  const rounds = [];
  for (let i = 1; i <= flags.messages; i += 1) {
    rounds.push(await round(moderator, pages, `this will not stay, number ${i}`, 400 * random()));
    if (i % 50 === 0) console.error(`${i} of ${flags.messages}: ${JSON.stringify(spread(rounds.flatMap(({ gone }) => gone)))}`);
  }
  const of = (via) => spread(rounds.flatMap(({ gone }) => gone.filter((_, page) => kinds[page] === via)));
  const results = {
    messages: flags.messages, pages: { channels: flags.channels, sockets: flags.sockets }, othersPerSecond: flags.others,
    all: spread(rounds.flatMap(({ gone }) => gone)),
    // Until the last page has lost it.
    last: spread(rounds.map(({ gone }) => Math.max(...gone))),
    ...(flags.channels > 0 && { channels: of('channels') }),
    ...(flags.sockets > 0 && { sockets: of('socket') }),
    answered: spread(rounds.map(({ answered }) => answered)),
  };
  const report = { what: 'from a DELETE to the screens, ms', ...circumstances({ browser: browser.version, server: target.name }), results };
  const { all, last } = results;
  await publish(report, [{
    figure: `a delete reaches the screen: from the request to the frame without the line, ${flags.messages} messages, Chromium, ${flags.channels} pages over data channels and ${flags.sockets} over WebSockets; p50 / p95 / p99 / max`,
    target: 'p99 <= 300 ms',
    measured: `${all.p50} / ${all.p95} / ${all.p99} / ${all.max} ms; the last of the pages: p99 ${last.p99} ms`,
  }], flags.json);
} finally {
  hush();
  await browser?.close();
  await target.close();
}
