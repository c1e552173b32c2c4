// What the cases saw, for the table of docs/clients.md: one file, which each file of cases adds to.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const RESULTS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../out/clients.json');

/** What has been seen so far: `{ [client]: { version, [role]: { outcome, why? } } }`. */
export function results() {
  try {
    return JSON.parse(readFileSync(RESULTS, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return {};
    throw error;
  }
}

/** Notes one outcome. The files of cases run one after another, so nobody else writes meanwhile. */
export function note(id, seen) {
  const all = results();
  const before = all[id] ?? {};
  all[id] = { ...before, ...seen };
  mkdirSync(path.dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, `${JSON.stringify(all, null, 2)}\n`);
}
