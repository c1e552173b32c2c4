// Headless Firefox ESR of the system over WebDriver BiDi, through puppeteer-core.
import puppeteer from 'puppeteer-core';
import { servePages } from './pages.mjs';

const EXECUTABLE = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

const PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  // Nothing in the background that asks the network.
  'media.gmp-manager.url': 'data:text/plain,',
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.safebrowsing.update.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
};

/** Starts a browser with a page origin of its own. */
export async function launchFirefox() {
  const browser = await puppeteer.launch({
    browser: 'firefox', executablePath: EXECUTABLE, headless: true, extraPrefsFirefox: PREFERENCES,
  });
  const pages = await servePages();
  return {
    browser,
    version: await browser.version(),
    async open() {
      const context = await browser.createBrowserContext();
      const page = await context.newPage();
      await page.goto(`${pages.origin}/`);
      await page.addScriptTag({ url: `${pages.origin}/stage.js`, type: 'module' });
      await page.waitForFunction(() => 'stage' in globalThis);
      return page;
    },
    async close() {
      await browser.close();
      await pages.close();
    },
  };
}
