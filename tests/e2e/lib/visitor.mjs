// The server's own pages in either browser, behind a line of their own, with what they went through.
import { openWatched } from './faults.mjs';
import { until } from './wait.mjs';

/** Runs in the page before its scripts: notes each state, each painted frame, and each session's request. */
function note() {
  window.states = [];
  new MutationObserver(() => {
    const { state } = document.documentElement?.dataset ?? {};
    if (state && state !== window.states.at(-1)) window.states.push(state);
  }).observe(document, { attributes: true, attributeFilter: ['data-state'], subtree: true, childList: true });
  window.requests = [];
  const plain = window.fetch.bind(window);
  window.fetch = (url, init) => {
    if (/\/wh[ie]p\//.test(String(url))) window.requests.push(init?.method ?? 'GET');
    return plain(url, init);
  };
  window.frames = [];
  window.addEventListener('DOMContentLoaded', () => {
    const video = document.querySelector('#video');
    let chain = 0;
    // Firefox forgets callbacks with the stream that they were asked of.
    video?.addEventListener('loadstart', () => {
      const mine = ++chain;
      const frame = (now) => {
        if (mine !== chain) return;
        window.frames.push(now);
        video.requestVideoFrameCallback(frame);
      };
      video.requestVideoFrameCallback(frame);
    });
  });
}

/** Takes the network from the page, or gives it back, as far as events and `navigator.onLine` tell. */
function tell(online) {
  Object.defineProperty(navigator, 'onLine', { configurable: true, get: () => online });
  window.dispatchEvent(new Event(online ? 'online' : 'offline'));
}

/** A page, whichever browser it is in. Both libraries evaluate a function with one argument the same way. */
export class Visitor {
  constructor(page) {
    this.page = page;
  }

  /** Opens `where` in Chromium. */
  static async inChromium(browser, where, options) {
    const page = await openWatched(browser, options);
    await page.addInitScript(note);
    await page.goto(where);
    return new Visitor(page);
  }

  /** Opens `where` in Firefox. */
  static async inFirefox(browser, where) {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await page.setViewport({ width: 1280, height: 800 });
    await page.evaluateOnNewDocument(note);
    page.faults = [];
    page.on('pageerror', (error) => page.faults.push(error.message));
    await page.goto(where);
    const visitor = new Visitor(page);
    visitor.leave = () => context.close();
    return visitor;
  }

  leave() {
    return this.page.context().close();
  }

  evaluate(act, argument) {
    return this.page.evaluate(act, argument);
  }

  state() {
    return this.evaluate(() => document.documentElement.dataset.state);
  }

  /** The states that the page has gone through, one after the other. */
  states() {
    return this.evaluate(() => window.states);
  }

  /** Methods of the requests about sessions that the page has made. */
  requests() {
    return this.evaluate(() => window.requests);
  }

  async is(state, within = 30_000) {
    await until(`the page is ${state}`, async () => {
      const now = await this.state();
      return { ok: now === state, value: [now, await this.states()] };
    }, { within });
  }

  /** Waits until so many more frames have been painted. */
  async paints(more, within = 60_000) {
    const count = () => this.evaluate(() => window.frames.length);
    const before = await count();
    await until(`${more} more frames are painted`, async () => {
      const seen = (await count()) - before;
      return { ok: seen >= more, value: [seen, await this.states()] };
    }, { within });
  }

  /** Forgets frames and states, but for the present state. */
  async forget() {
    await this.evaluate(() => {
      window.frames = window.frames.slice(-1);
      window.states = window.states.slice(-1);
      window.requests = [];
    });
  }

  /** The longest time between two painted frames, in milliseconds. */
  longestGap() {
    return this.evaluate(() => window.frames.reduce((gap, at, i, all) => Math.max(gap, i > 0 ? at - all[i - 1] : 0), 0));
  }

  /** The page hears that its network is gone, or back. */
  async hears(online) {
    await this.evaluate(tell, online);
  }

  /** Whether the element with this `data-testid` is shown. */
  shows(id) {
    return this.evaluate((name) => document.querySelector(`[data-testid="${name}"]`)?.checkVisibility() ?? false, id);
  }

  async showing(id, shown = true, within = 40_000) {
    await until(`${id} is ${shown ? 'shown' : 'hidden'}`, async () => (await this.shows(id)) === shown, { within });
  }

  /** Clicks the element with this `data-testid`. */
  click(id) {
    return this.page.locator(`[data-testid="${id}"]`).click();
  }
}
