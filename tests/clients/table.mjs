// The table of docs/clients.md, out of what the cases saw (tests/out/clients.json) and what was measured (figures.json).
//
//   node tests/clients/table.mjs --write    writes the document
//   node tests/clients/table.mjs --check    fails where the document's rows say something else than the cases
import { readFileSync, writeFileSync } from 'node:fs';
import { CLIENTS } from './lib/clients.mjs';
import { figures } from './lib/figures.mjs';
import { results } from './lib/results.mjs';

const DOCUMENT = new URL('../../docs/clients.md', import.meta.url);
const BEGIN = '<!-- written by ./dev clients --write -->';
const END = '<!-- end -->';
const HEAD = ['client', 'package', 'version', 'publishes', 'watches', 'moves while publishing', 'moves while watching',
  'connects, publishing', 'connects, watching', 'freeze, publishing', 'freeze, watching', 'known limits'];
/** What a row says of the client that the cases can contradict. */
const JUDGED = { publish: 'publishes', watch: 'watches', publisherMoves: 'moves while publishing', viewerMoves: 'moves while watching' };
const ROLE = { publish: 'publish', publisherMoves: 'publish', watch: 'view', viewerMoves: 'view' };

const times = (figure) => (figure ? `${figure.p50} / ${figure.p95}` : '');

/** The row of one client, as `{ [heading]: text }`. */
function row(one, seen, { connect, rebind }) {
  const tried = (column) => one[ROLE[column]] && !(one.fault && column !== 'publish');
  const cells = {
    client: one.name, package: one.library, version: seen.version ?? '', 'known limits': one.fault ?? one.limits ?? '',
    'connects, publishing': times(connect[one.id]?.publish), 'connects, watching': times(connect[one.id]?.view),
    'freeze, publishing': times(rebind[one.id]?.publish), 'freeze, watching': times(rebind[one.id]?.view),
  };
  for (const [column, heading] of Object.entries(JUDGED)) cells[heading] = tried(column) ? seen[column] ?? 'not tried' : '–';
  return cells;
}

const line = (cells) => `| ${cells.join(' | ')} |`;

function write(seen) {
  const rows = CLIENTS.map((one) => row(one, seen[one.id] ?? {}, figures()));
  const untried = rows.filter((cells) => Object.values(cells).some((text) => ['not tried', 'skipped'].includes(text)));
  if (untried.length > 0) throw new Error(`not tried on this machine: ${untried.map((cells) => cells.client).join('; ')}`);
  const table = [HEAD, HEAD.map(() => '---'), ...rows.map((cells) => HEAD.map((heading) => cells[heading]))].map(line).join('\n');
  const text = readFileSync(DOCUMENT, 'utf8');
  const [before, rest] = text.split(BEGIN);
  const [, after] = rest.split(END);
  writeFileSync(DOCUMENT, `${before}${BEGIN}\n\n${table}\n\n${END}${after}`);
}

/** The document's rows. */
function written() {
  const rows = readFileSync(DOCUMENT, 'utf8').split(BEGIN)[1].split(END)[0].trim().split('\n').slice(2);
  return rows.map((text) => Object.fromEntries(text.split('|').slice(1, -1).map((cell, i) => [HEAD[i], cell.trim()])));
}

function check(seen) {
  const complaints = [];
  const rows = written();
  CLIENTS.forEach((one, i) => {
    const is = row(one, seen[one.id] ?? {}, figures());
    const said = rows[i] ?? {};
    if (seen[one.id]?.why) {
      console.log(`${one.name}: not compared, ${seen[one.id].why}`);
      Object.assign(is, { ...said, client: is.client, package: is.package });
    }
    // Packages of the system have the system's version.
    if (one.system) is.version = said.version;
    for (const heading of ['client', 'package', 'version', 'known limits', ...Object.values(JUDGED)]) {
      if (is[heading] !== said[heading]) complaints.push(`${is.client}: ${heading} is "${is[heading]}", the document says "${said[heading]}"`);
    }
  });
  if (rows.length !== CLIENTS.length) complaints.push(`${CLIENTS.length} clients, but ${rows.length} rows`);
  for (const complaint of complaints) console.error(complaint);
  if (complaints.length > 0) {
    console.error('docs/clients.md is not what the cases saw: run ./dev clients --write');
    process.exitCode = 1;
  }
}

const [flag] = process.argv.slice(2);
if (flag === '--write') write(results());
else if (flag === '--check') check(results());
else throw new Error('table.mjs --write | --check');
