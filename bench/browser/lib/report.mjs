// How figures are put together and printed.
import { writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ROOT } from './flags.mjs';

/** Milliseconds to a tenth. */
export const round = (value) => Number(value.toFixed(1));

/** Order statistics of a list of milliseconds; the nearest rank, so that each is a value seen. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) throw new Error('nothing was measured');
  const rank = (p) => round(sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)]);
  return { count: sorted.length, min: round(sorted[0]), p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), max: round(sorted.at(-1)) };
}

/** The machine, the command and the date that belong to every figure. */
export function circumstances({ browser, server }, argv = process.argv) {
  const cpus = os.cpus();
  const hidden = argv.slice(2).map((word, i, words) => (/token$/.test(words[i - 1] ?? '') ? '...' : word.replace(/token=.*/, 'token=...')));
  return {
    date: new Date().toISOString(),
    command: ['node', path.relative(ROOT, argv[1]), ...hidden].join(' '),
    machine: {
      cpu: cpus[0].model.trim(), cores: cpus.length, memoryGiB: Math.round(os.totalmem() / 2 ** 30),
      kernel: `${os.type()} ${os.release()}`,
      // Figures taken beside other work are worth nothing: this shows it.
      loadAtEnd: Number(os.loadavg()[0].toFixed(2)),
    },
    server,
    browser: `Chromium ${browser}`,
    node: process.version,
  };
}

/** Rows of a table as `bench/RESULTS.md` has them. `figures`: `{ figure, target, measured }`. */
export function table(figures, { command, machine, date }) {
  const where = `${machine.cores} x ${machine.cpu}, load ${machine.loadAtEnd}`;
  const cells = figures.map(({ figure, target, measured }) => [figure, target, measured, `\`${command}\``, where, date.slice(0, 10)]);
  const rows = [['figure', 'target', 'measured', 'command', 'machine', 'date'], Array(6).fill('---'), ...cells];
  return rows.map((row) => `| ${row.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`).join('\n');
}

/** Prints the table, and writes the JSON where `--json` says. */
export async function publish(report, figures, json) {
  const rows = table(figures, report);
  const text = JSON.stringify(report, null, 2);
  if (json === '-') {
    console.error(rows);
    console.log(text);
    return;
  }
  console.log(rows);
  if (json) await writeFile(json, `${text}\n`);
}
