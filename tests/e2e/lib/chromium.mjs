// Headless Chromium of the system, through playwright-core (which brings no browser of its own).
import { chromium } from 'playwright-core';
import { servePages } from './pages.mjs';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';

const FLAGS = [
  '--no-first-run', '--disable-gpu', '--mute-audio', '--disable-extensions', '--disable-sync',
  '--disable-default-apps', '--disable-component-update', '--disable-background-networking',
  '--disable-domain-reliability', '--autoplay-policy=no-user-gesture-required',
  // Pages that are not in front must go on encoding and painting.
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  // Without this a machine with no network but loopback gives no candidates at all.
  '--allow-loopback-in-peer-connection',
  '--use-fake-device-for-media-stream=fps=30',
];
const QUIET = 'MediaRouter,OptimizationHints,Translate';

/**
 * Starts a browser with a page origin of its own.
 * @param {{ realCandidates?: boolean, grantMedia?: boolean, flags?: string[], scripts?: string[] }} [options]
 *   `realCandidates`: off, host candidates have `.local` names, as those of real viewers have;
 *   `grantMedia`: camera and microphone without asking; `scripts`: folders with more page scripts.
 */
export async function launchChromium({ realCandidates = true, grantMedia = true, flags = [], scripts = [] } = {}) {
  const browser = await chromium.launch({
    executablePath: EXECUTABLE, headless: true, chromiumSandbox: false,
    // playwright-core's own defaults disable the feature that gives `.local` names.
    args: [
      ...FLAGS, ...flags,
      ...(grantMedia ? ['--use-fake-ui-for-media-stream'] : []),
      ...(realCandidates
        ? [`--disable-features=${QUIET},WebRtcHideLocalIpsWithMdns`]
        : [`--disable-features=${QUIET}`, '--enable-features=WebRtcHideLocalIpsWithMdns']),
    ],
  });
  const pages = await servePages(scripts);
  return {
    browser,
    version: browser.version(),
    origin: pages.origin,
    /**
     * A harness page in a context of its own: contexts share no renderer process, so one page can
     * crash without the other.
     */
    async open(script = 'stage.js') {
      const context = await browser.newContext();
      const page = await context.newPage();
      page.on('pageerror', (error) => console.error('[page error]', error.message));
      await page.goto(`${pages.origin}/`);
      await page.addScriptTag({ url: `/${script}`, type: 'module' });
      await page.waitForFunction(() => 'stage' in globalThis);
      return page;
    },
    async close() {
      await browser.close();
      await pages.close();
    },
  };
}
