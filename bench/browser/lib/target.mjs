// The server under measurement: one that is started here, or one that runs already.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ROOT } from './flags.mjs';

const READY_WITHIN_MS = 20_000;
const ENDS_WITHIN_MS = 20_000;

export class Target {
  /** As the flags say. Close it in any case. */
  static async open(flags) {
    const target = new Target();
    target.paths = { whip: flags['whip-path'], whep: flags['whep-path'] };
    if (flags.url) {
      target.name = target.base = flags.url.replace(/\/+$/, '');
      target.token = flags.token;
      target.watchToken = flags['watch-token'];
    } else {
      target.name = flags.server;
      await target.#start(path.resolve(ROOT, flags.server));
    }
    return target;
  }

  /** In development mode, on free ports of loopback, with no configuration but the defaults. */
  async #start(binary) {
    this.folder = await mkdtemp(path.join(os.tmpdir(), 'lightstick-bench-'));
    const args = ['serve', '--http-bind', '127.0.0.1:0', '--operations-bind', '127.0.0.1:0', '--media-port', '0', '--log-level', 'warn'];
    this.child = spawn(binary, args, { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    this.ended = new Promise((done) => {
      this.child.once('error', (error) => done(error.message));
      this.child.once('close', (code, signal) => done(signal ?? code));
    });
    const banner = new Promise((done) => {
      for (const stream of [this.child.stdout, this.child.stderr]) {
        stream.on('data', (chunk) => {
          said += chunk;
          const [, base] = said.match(/WHIP:\s+(\S+)\/whip\//) ?? [];
          const [, token] = said.match(/Token:\s+(\S+)\n/) ?? [];
          if (base && token) done({ base, token });
        });
      }
    });
    let timer;
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Error(`${binary} did not get ready:\n${said}`)), READY_WITHIN_MS);
    });
    const failed = this.ended.then((how) => { throw new Error(`${binary} ended (${how}):\n${said}`); });
    failed.catch(() => {});
    try {
      Object.assign(this, await Promise.race([banner, failed, late]));
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  whip(room) {
    return this.base + this.paths.whip.replaceAll('{room}', room);
  }

  whep(room) {
    return this.base + this.paths.whep.replaceAll('{room}', room);
  }

  /** Ends what was started here. */
  async close() {
    if (!this.child) return;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), ENDS_WITHIN_MS);
    await this.ended;
    clearTimeout(timer);
    await rm(this.folder, { recursive: true, force: true });
  }
}
