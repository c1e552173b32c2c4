// Headless Chromium of the system, through playwright-core (which brings no browser of its own).
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-first-run', '--disable-gpu', '--mute-audio', '--disable-extensions', '--disable-sync',
  '--disable-default-apps', '--disable-component-update', '--disable-background-networking',
  '--disable-domain-reliability', '--autoplay-policy=no-user-gesture-required',
  // Pages that are not in front must go on encoding and painting.
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  // Without this a machine with no network but loopback gives no candidates at all.
  '--allow-loopback-in-peer-connection',
  '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream=fps=30',
  '--disable-features=MediaRouter,OptimizationHints,Translate,WebRtcHideLocalIpsWithMdns',
];
const EMPTY = '<!doctype html><meta charset="utf-8"><body></body>';

export class Browser {
  static async launch(executablePath) {
    const own = new Browser();
    own.chromium = await chromium.launch({ executablePath, headless: true, chromiumSandbox: false, args: FLAGS });
    own.version = own.chromium.version();
    return own;
  }

  /**
   * An empty page with scripts of `page/`, on the server's own origin, as the server's own pages
   * are: no preflight goes before a POST, and servers without CORS can be measured too. Only this
   * one document is made up here; nothing is intercepted once it is loaded.
   */
  async open(base, scripts) {
    // Contexts share no renderer process: pages do not wait for each other.
    const page = await (await this.chromium.newContext()).newPage();
    page.on('pageerror', (error) => console.error('[page error]', error.message));
    const url = new URL('/lightstick-bench', base).href;
    await page.route(url, (route) => route.fulfill({ contentType: 'text/html', body: EMPTY }));
    await page.goto(url);
    await page.unroute(url);
    for (const name of scripts) {
      await page.addScriptTag({ content: await readFile(new URL(`../page/${name}`, import.meta.url), 'utf8'), type: 'module' });
    }
    // Inserted modules run in order, but not at once.
    await page.waitForFunction((count) => globalThis.loaded?.length === count, scripts.length);
    return page;
  }

  close() {
    return this.chromium.close();
  }
}

/** Looks at `probe`, which gives `{ ok, value }`, until it is ok; fails after `within` milliseconds. */
export async function until(what, probe, { within, every = 50 }) {
  const deadline = performance.now() + within;
  for (;;) {
    const { ok, value } = await probe();
    if (ok) return value;
    if (performance.now() >= deadline) throw new Error(`${what}: not within ${within} ms; last seen: ${JSON.stringify(value)}`);
    await new Promise((done) => setTimeout(done, every));
  }
}
