// Figures that are measured apart from the tests, and kept beside them.
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';

const FILE = new URL('../figures.json', import.meta.url);

/** `{ connect | rebind: { [client]: { publish?, view?: summary } } }`. */
export const figures = () => JSON.parse(readFileSync(FILE, 'utf8'));

/** Keeps one figure, in place of what was measured before. */
export function keep(what, id, role, summary) {
  const all = figures();
  all[what][id] = { ...all[what][id], [role]: summary };
  writeFileSync(FILE, `${JSON.stringify(all, null, 2)}\n`);
}

const rank = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];

/** Milliseconds in one line: percentiles by nearest rank. */
export function summary(values) {
  const sorted = values.map(Math.round).sort((a, b) => a - b);
  return { runs: sorted.length, p50: rank(sorted, 0.5), p95: rank(sorted, 0.95), max: sorted.at(-1) };
}

export function machine() {
  const cpus = os.cpus();
  return `${cpus.length} x ${cpus[0]?.model.trim()}, load ${os.loadavg().map((load) => load.toFixed(1)).join(' ')}`;
}
