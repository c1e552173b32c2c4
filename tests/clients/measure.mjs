// Measures real clients against a server of this checkout, one run after another.
//
//   node tests/clients/measure.mjs connect [--client ID]... [--role publish|view] [--runs 50] [--save]
//   node tests/clients/measure.mjs rebind  [--client ID]... [--role publish|view] [--runs 10] [--save]
//
// connect: from the POST to the state "connected", as the client sees it. rebind: the longest time without a picture
// around a change of the client's port in mid-show. --save keeps the figures for docs/clients.md.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { client, CLIENTS } from './lib/clients.mjs';
import { keep, machine, summary } from './lib/figures.mjs';

const NETWORK = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../e2e/network.sh');
const WATCHER = 'chromium';

/** How each role starts, and who sees the picture of it. */
const ROLES = {
  publish: {
    start: async (here, scope, id, through) => {
      const room = here.room();
      return { peer: await scope.publisher(id, room, { through }), watch: () => scope.viewer(WATCHER, room) };
    },
  },
  view: {
    start: async (here, scope, id, through) => {
      const peer = await scope.viewer(id, await here.show(client(id).codec), { through });
      return { peer, watch: async () => peer };
    },
  },
};

const MEASURES = {
  connect: {
    runs: 50,
    async once(here, scope, id, role) {
      const { peer } = await ROLES[role].start(here, scope, id);
      const took = await peer.connected();
      await peer.leaves();
      return took;
    },
  },
  rebind: {
    runs: 10,
    async once(here, scope, id, role) {
      const nat = await scope.nat();
      const { peer, watch } = await ROLES[role].start(here, scope, id, nat);
      await peer.connected();
      const seen = await watch();
      await seen.gets('video', 60);
      await seen.watchGap();
      await nat.rebind();
      await seen.gets('video', 60);
      return seen.gap();
    },
  },
};

async function main() {
  const { positionals: [what], values: args } = parseArgs({
    allowPositionals: true,
    options: {
      client: { type: 'string', multiple: true }, role: { type: 'string', multiple: true },
      runs: { type: 'string' }, save: { type: 'boolean', default: false },
    },
  });
  const measure = MEASURES[what];
  if (!measure) throw new Error(`measure.mjs ${Object.keys(MEASURES).join('|')}`);
  const ids = args.client ?? CLIENTS.filter(({ fault }) => !fault).map(({ id }) => id);
  ids.forEach(client);
  const runs = Number(args.runs ?? measure.runs);
  const { Place } = await import('./lib/place.mjs');
  const here = new Place('measure');
  await here.open();
  console.log(machine());
  try {
    for (const id of ids) {
      const { missing, ...starts } = client(id);
      const why = missing?.();
      if (why) console.log(`${what} ${id}: skipped, ${why}`);
      for (const role of why ? [] : (args.role ?? Object.keys(ROLES)).filter((one) => starts[one])) {
        const values = [];
        const failures = [];
        for (let run = 0; run < runs; run += 1) {
          await here.scoped(async (scope) => values.push(await measure.once(here, scope, id, role))).catch((error) => failures.push(error));
        }
        if (failures.length > 0) {
          console.log(`${what} ${id} ${role}: ${failures.length} of ${runs} failed: ${failures[0].message.slice(0, 600)}`);
          process.exitCode = 1;
          continue;
        }
        const figure = summary(values);
        console.log(`${what} ${id} ${role}: p50 ${figure.p50} ms, p95 ${figure.p95} ms, max ${figure.max} ms of ${figure.runs}`);
        if (args.save) keep(what, id, role, figure);
      }
    }
    console.log(machine());
  } finally {
    await here.close();
  }
}

if (process.env.TEST_NETWORK_ADDRESS) {
  await main();
  // Browsers leave handles behind that keep the process alive.
  process.exit();
} else {
  const { status } = spawnSync(NETWORK, [process.execPath, ...process.argv.slice(1)], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}
