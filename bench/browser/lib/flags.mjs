// The command lines of the measurements.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** The checkout. */
export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');

/** A flag's kind (`text`, `number`, `list` of words with commas between, `switch`), default and meaning. */
const COMMON = {
  server: { kind: 'text', default: 'target/release/lightstick', help: 'server binary to start, from the checkout' },
  url: { kind: 'text', help: 'measure this running server instead: http://host:port' },
  token: { kind: 'text', help: "with --url: the publisher's bearer token" },
  'watch-token': { kind: 'text', help: "with --url: the viewers' bearer token, where watching is not open" },
  'whip-path': { kind: 'text', default: '/whip/{room}', help: 'where to publish' },
  'whep-path': { kind: 'text', default: '/whep/{room}', help: 'where to watch' },
  chromium: { kind: 'text', default: process.env.CHROMIUM ?? '/usr/bin/chromium', help: 'the browser' },
  json: { kind: 'text', help: 'write the figures as JSON too; - is standard output, the table moves to standard error' },
  help: { kind: 'switch', help: 'this text' },
};

/** A wrong command line; the message is for whoever wrote it. */
export class UsageError extends Error {}

/**
 * Reads flags into `{ name: value }`, converted by their kind.
 * @param {Record<string, { kind: string, default?: any, help: string }>} own
 * @param {string[]} args
 */
export function readFlags(own, args) {
  const all = { ...own, ...COMMON };
  const options = Object.fromEntries(Object.entries(all).map(([name, { kind }]) => [name, { type: kind === 'switch' ? 'boolean' : 'string' }]));
  let given;
  try {
    given = parseArgs({ options, args, strict: true }).values;
  } catch (error) {
    throw new UsageError(error.message);
  }
  return Object.fromEntries(Object.entries(all).map(([name, flag]) => [name, convert(name, flag, given[name])]));
}

function convert(name, { kind, default: fallback }, text) {
  if (text === undefined) return fallback;
  if (kind === 'list') return text.split(',');
  if (kind !== 'number') return text;
  const number = Number(text);
  if (text === '' || !Number.isFinite(number) || number < 0) throw new UsageError(`--${name} is ${text}: write a number`);
  return number;
}

/** The text of `--help`. */
export function usage(purpose, script, own) {
  const lines = Object.entries({ ...own, ...COMMON }).map(([name, { kind, default: fallback, help }]) => {
    const shown = kind === 'switch' ? name : `${name} ${kind === 'number' ? 'N' : kind === 'list' ? 'A,B' : 'X'}`;
    return `  --${shown.padEnd(20)} ${help}${fallback === undefined ? '' : ` [${fallback}]`}`;
  });
  return `${purpose}\n\nUsage: node ${script} [flags]\n\n${lines.join('\n')}`;
}

/** Reads the process's own flags; prints the help, or what is wrong, and ends where that is due. */
export function flagsOf(purpose, own) {
  const script = path.relative(ROOT, process.argv[1]);
  try {
    const flags = readFlags(own, process.argv.slice(2));
    if (!flags.help) return flags;
    console.log(usage(purpose, script, own));
    process.exit(0);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\nTry: node ${script} --help`);
    process.exit(2);
  }
}
