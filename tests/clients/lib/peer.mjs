// A client as the cases see it: it connects, it shows frames, it leaves.
import assert from 'node:assert/strict';
import { Program } from '../../e2e/lib/program.mjs';
import { Publisher, Viewer } from '../../e2e/lib/party.mjs';
import { until } from '../../e2e/lib/wait.mjs';

/** Machines of these tests are busy: a client that works at all does so within this. */
const PATIENCE = 30_000;

/** A client that is a program of its own; see README.md for what it says. */
export class ProgramPeer extends Program {
  /** Milliseconds from its POST to the state "connected". */
  async connected(within = PATIENCE) {
    const { at } = await this.said('the client is connected', ({ event, state }) => event === 'state' && state === 'connected', within);
    return at - this.events.find(({ event }) => event === 'posted').at;
  }

  frames(kind) {
    return this.events.findLast((event) => event.event === 'frames' && event.kind === kind)?.frames ?? 0;
  }

  /** Waits until it has `more` further frames of that kind. */
  async gets(kind, more, within = PATIENCE) {
    const before = this.frames(kind);
    await until(`the client gets ${more} more frames of ${kind}`, () => {
      if (this.how) throw new Error(`the client ended: ${JSON.stringify(this.how)}\n${this.errors.slice(-4_000)}`);
      return { ok: this.frames(kind) >= before + more, value: { frames: this.frames(kind), said: this.events.slice(-4), errors: this.errors.slice(-2_000) } };
    }, { within });
  }

  /** From now on, for `gap`. */
  async watchGap() {
    this.since = Date.now();
  }

  /** The longest wait for a picture since then, in milliseconds. */
  async gap() {
    const told = this.events.filter(({ event, kind, at }) => event === 'frames' && kind === 'video' && at >= this.since);
    return Math.max(0, ...told.map(({ gap }) => gap));
  }

  async leaves() {
    assert.deepEqual(await this.leave(), { code: 0, signal: null }, this.errors.slice(-4_000));
  }
}

/** A client in a browser's page, by the harness of tests/e2e. */
export class PagePeer {
  constructor(party) {
    this.party = party;
  }

  static async publish(page, url, options) {
    return new PagePeer(await Publisher.start(page, url, options));
  }

  static async view(page, url, options) {
    return new PagePeer(await Viewer.start(page, url, options));
  }

  async connected(within = PATIENCE) {
    await this.party.connected(within);
    return this.party.page.evaluate((key) => {
      const session = globalThis.sessions.get(key);
      return session.connectedAt - session.postedAt;
    }, this.party.key);
  }

  gets(kind, more, within = PATIENCE) {
    return kind === 'video' ? this.party.decodes(more, within) : this.party.hears(more, within);
  }

  watchGap() {
    return this.party.watchGap();
  }

  gap() {
    return this.party.gap();
  }

  leaves() {
    return this.party.remove();
  }

  async kill() {
    // Contexts of playwright-core and of puppeteer-core.
    const context = this.party.page.context?.() ?? this.party.page.browserContext();
    await context.close();
  }
}

/** A page with somebody else's library in it. */
export class LibraryPeer extends PagePeer {
  static async start(page, library, role, given) {
    const faults = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('response', (response) => {
      if (response.status() >= 400) faults.push(`${response.request().method()} ${response.url()}: ${response.status()}`);
    });
    page.on('requestfailed', (request) => {
      const { errorText } = request.failure();
      // An answer whose body nobody reads is given up by the page itself.
      if (errorText !== 'net::ERR_ABORTED') faults.push(`${request.method()} ${request.url()}: ${errorText}`);
    });
    const key = await page.evaluate(([name, as, how]) => globalThis.stage.library(name, as, how), [library, role, given]);
    const Party = role === 'publish' ? Publisher : Viewer;
    return Object.assign(new LibraryPeer(new Party(page, { key })), { faults });
  }

  /** Leaves as the library does, and asserts that nothing went wrong in the page all the time. */
  async leaves() {
    await this.party.call('stopByLibrary');
    assert.deepEqual(this.faults, []);
  }
}
