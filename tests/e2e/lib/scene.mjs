// What every file of cases needs: a server, a browser, pages that are closed after each test, and
// room names that no other test uses.
import { after, afterEach, before } from 'node:test';
import { launchChromium } from './chromium.mjs';
import { Server } from './server.mjs';

/**
 * Registers the hooks of a file of cases.
 * @param {string} name of the file, for its log
 * @param {{ settings?: object, chromium?: object | null }} [options] settings of the server, and of
 *   the browser (none with `null`)
 */
export function scene(name, { settings, chromium = {} } = {}) {
  const here = { server: null, chromium: null };
  const pages = [];
  let rooms = 0;

  before(async () => {
    here.server = await Server.start(name, settings);
    here.chromium = chromium && await launchChromium(chromium);
  });
  afterEach(async () => {
    await Promise.all(pages.splice(0).map((page) => page.context().close()));
  });
  after(async () => {
    await here.chromium?.close();
    await here.server?.stop();
  });

  return Object.assign(here, {
    /** A harness page, closed when the test is over. */
    async page() {
      const page = await here.chromium.open();
      pages.push(page);
      return page;
    },
    /** Closes this page when the test is over. */
    keep(page) {
      pages.push(page);
    },
    /** A room that nobody has used. */
    room() {
      rooms += 1;
      return `${name}-${rooms}`;
    },
  });
}
