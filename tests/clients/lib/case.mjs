// One case of one client: it passes, fails, or is skipped with a word, and the table hears of it.
import { test } from 'node:test';
import { client } from './clients.mjs';
import { note } from './results.mjs';

/**
 * @param {import('./place.mjs').Place} here
 * @param {string} id of the client
 * @param {string} column of the table
 * @param {string} words what the case shows
 * @param {(scope: object) => Promise<string | void>} body gives the outcome where it is not "works"
 */
export function clientCase(here, id, column, words, body) {
  const { name, missing, version, library } = client(id);
  test(`${name} (${library}): ${words}`, async (t) => {
    const why = missing?.();
    if (why) {
      note(id, { [column]: 'skipped', why });
      t.skip(why);
      return;
    }
    note(id, { version: await version(here), [column]: 'fails' });
    const outcome = await here.server.explaining(() => here.scoped(body));
    note(id, { [column]: outcome ?? 'works' });
  });
}

/** How many clients are tried at once: most of their time they wait. */
export const AT_ONCE = { concurrency: 3 };
