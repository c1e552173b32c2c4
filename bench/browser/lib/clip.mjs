// A show whose keyframes come at a fixed distance and at no other time: a clip that Chromium
// encodes once, published in a loop by lightstick-bench, which answers no request for keyframes.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ROOT } from './flags.mjs';

/** What `lightstick-bench publish` sends a second. */
export const FPS = 30;
/** So many GOPs are one loop: the picture moves on from one to the next. */
const GOPS = 2;
const LIVE_WITHIN_MS = 20_000;
/** Longer than any measurement; the process is ended before. */
const LONG_S = 86_400;

/** Records a clip in `page`. Gives the IVF file's bytes. */
export async function record(page, { codec, width, height, bitrate, gop }) {
  const options = { codec, width, height, bitrate, fps: FPS, gopFrames: Math.round(gop * FPS), gops: GOPS };
  return Buffer.from(await page.evaluate((all) => recorder.record(all), options), 'base64');
}

/** A running `lightstick-bench publish`. */
export class ClipPublisher {
  /** Publishes `clip` to `url`, and returns once it is live. */
  static async start(binary, clip, url, token) {
    const own = new ClipPublisher();
    own.folder = await mkdtemp(path.join(os.tmpdir(), 'lightstick-clip-'));
    const file = path.join(own.folder, 'clip.ivf');
    await writeFile(file, clip);
    const env = { ...process.env, ...(token ? { LIGHTSTICK_BENCH_TOKEN: token } : {}) };
    const args = ['publish', url, '--clip', file, '--secs', String(LONG_S)];
    own.child = spawn(path.resolve(ROOT, binary), args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    own.ended = new Promise((done) => {
      own.child.once('error', (error) => done(error.message));
      own.child.once('close', (code, signal) => done(signal ?? code));
    });
    const live = new Promise((done) => {
      own.child.stderr.on('data', (chunk) => {
        said += chunk;
        if (/^publishing/m.test(said)) done();
      });
    });
    let timer;
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Error(`${binary} did not publish:\n${said}`)), LIVE_WITHIN_MS);
    });
    const failed = own.ended.then((how) => { throw new Error(`${binary} ended (${how}):\n${said}`); });
    failed.catch(() => {});
    try {
      await Promise.race([live, failed, late]);
    } catch (error) {
      await own.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return own;
  }

  async close() {
    this.child.kill('SIGTERM');
    await this.ended;
    await rm(this.folder, { recursive: true, force: true });
  }
}
