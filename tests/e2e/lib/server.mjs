// One running server with ports, settings and a folder of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freeMediaPorts, freePort } from './ports.mjs';
import { inTime, until } from './wait.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const BINARY = process.env.LIGHTSTICK_BIN ?? path.join(ROOT, 'target/debug/lightstick');
/** Screenshots and server logs of the last run. */
export const OUT = path.join(ROOT, 'tests/out');
/** As many as the machines of this project's tests have cores: one room's viewers spread over both. */
const SHARDS = 2;

/** Writes settings as TOML: tables of plain values, one level of tables in them. */
function toml(settings, prefix = '') {
  const isTable = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
  const entries = Object.entries(settings);
  const plain = entries.filter(([, value]) => !isTable(value)).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  const tables = entries.filter(([, value]) => isTable(value))
    .map(([key, value]) => `[${prefix}${key}]\n${toml(value, `${prefix}${key}.`)}`);
  return [...plain, ...tables].join('\n') + '\n';
}

function merged(base, more) {
  const result = { ...base };
  for (const [key, value] of Object.entries(more)) {
    const both = [result[key], value].every((v) => v !== null && typeof v === 'object' && !Array.isArray(v));
    result[key] = both ? merged(result[key], value) : value;
  }
  return result;
}

export class Server {
  /**
   * Starts a server and waits until it says that it is ready.
   * @param {string} name names its log in `tests/out/`
   * @param {object} [settings] what to set besides the ports, as in `lightstick.toml`
   */
  static async start(name, settings = {}) {
    const server = new Server();
    server.folder = await mkdtemp(path.join(os.tmpdir(), 'lightstick-e2e-'));
    const [http, operations, media] = [await freePort(), await freePort(), await freeMediaPorts(SHARDS)];
    server.base = `http://127.0.0.1:${http}`;
    /** Of media: one a shard. */
    server.mediaPorts = Array.from({ length: SHARDS }, (_, shard) => media + shard);
    server.operations = `http://127.0.0.1:${operations}`;
    const all = merged({
      http: { bind: `127.0.0.1:${http}` },
      operations: { bind: `127.0.0.1:${operations}` },
      media: { port: media, shards: SHARDS },
      // At the end of a file of cases nobody is to wait for browsers that are closed already.
      shutdown: { deadline: '500ms' },
    }, settings);
    const file = path.join(server.folder, 'lightstick.toml');
    await writeFile(file, toml(all));
    await mkdir(OUT, { recursive: true });
    server.logFile = path.join(OUT, `${name}.log`);
    await rm(server.logFile, { force: true });
    await server.#spawn(['serve', '--config', file]);
    return server;
  }

  /** Starts it once more, on the same ports, after it has ended. */
  async startAgain() {
    assert.ok(this.how, 'the server has not ended');
    this.how = undefined;
    await this.#spawn(this.args);
  }

  async #spawn(args) {
    this.args = args;
    const log = createWriteStream(this.logFile, { flags: 'a' });
    this.log ??= '';
    this.child = spawn(BINARY, args, { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on('data', (chunk) => {
        this.log += chunk;
        log.write(chunk);
      });
    }
    this.ended = new Promise((done) => {
      this.child.once('error', (error) => done({ error }));
      this.child.once('close', (code, signal) => done({ code, signal }));
    });
    this.ended.then((how) => {
      this.how = how;
      log.end();
    });
    await until('the server is ready', async () => {
      if (this.how) throw new Error(`the server ended: ${JSON.stringify(this.how)}\n${this.log.slice(-4_000)}`);
      return fetch(`${this.operations}/readyz`).then(({ status }) => status === 200, () => false);
    }, { within: 20_000 });
  }

  whip(room) {
    return `${this.base}/whip/${room}`;
  }

  whep(room) {
    return `${this.base}/whep/${room}`;
  }

  /** The publishing token that a server in development mode prints at its start. */
  get token() {
    const [token] = this.log.match(/eyJ[\w-]+\.[\w-]+\.[\w-]+/) ?? [];
    assert.ok(token, `no token in what the server printed:\n${this.log}`);
    return token;
  }

  /** A request to `/api/v1`, as an integrator's program makes it: `{ status, body }`. */
  async api(resource, { method = 'GET', token, body: sent } = {}) {
    const headers = {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(sent !== undefined && { 'content-type': 'application/json' }),
    };
    const response = await fetch(`${this.base}/api/v1${resource}`, { method, headers, body: sent && JSON.stringify(sent) });
    const text = await response.text();
    return { status: response.status, body: text === '' ? null : JSON.parse(text) };
  }

  /** The samples of one metric: `[{ labels, value }]`. */
  async metric(name) {
    const text = await (await fetch(`${this.operations}/metrics`)).text();
    return text.split('\n').flatMap((line) => {
      const found = line.match(/^([a-z_:]+)(?:\{(.*)\})? (\S+)$/);
      if (found?.[1] !== name) return [];
      const labels = Object.fromEntries([...(found[2] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, k, v]) => [k, v]));
      return [{ labels, value: Number(found[3]) }];
    });
  }

  /**
   * Does `act`; where it fails, the failure tells what the server counted: what it was asked for, and what it sent.
   * @template T
   * @param {() => Promise<T>} act
   */
  async explaining(act) {
    try {
      return await act();
    } catch (error) {
      const text = await fetch(`${this.operations}/metrics`).then((response) => response.text(), String);
      const telling = /^lightstick_(keyframe|starts|nacks|rtp|retrans|dropped|layer|sessions|viewer_lost|withheld)\w*(\{.*\})? [1-9]/;
      error.message += `\nthe server has counted:\n${text.split('\n').filter((line) => telling.test(line)).join('\n')}`;
      throw error;
    }
  }

  terminate() {
    this.child.kill('SIGTERM');
  }

  /** Waits for its end: `{ code, signal }`. */
  async end(within = 15_000) {
    return inTime('the server ends', this.ended, within);
  }

  /** Stops it and asserts that it goes in good order, with no panic said on the way. */
  async stop() {
    try {
      if (!this.how) this.terminate();
      assert.deepEqual(await this.end(), { code: 0, signal: null });
      assert.doesNotMatch(this.log, /panicked at/);
    } finally {
      if (!this.how) this.child.kill('SIGKILL');
      await rm(this.folder, { recursive: true, force: true });
    }
  }
}
