// The aiortc scripts of `py/`, as processes that say one JSON object a line.
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { inTime, until } from './wait.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const PYTHON = process.env.AIORTC_PYTHON ?? path.join(ROOT, '.venv/bin/python');

/** One running script. */
export class Script {
  /** Starts `py/<name>.py` with flags, `{ url: 'x' }` being `--url x`. */
  constructor(name, flags) {
    const file = path.join(ROOT, 'tests/e2e/py', `${name}.py`);
    const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
    this.events = [];
    this.errors = '';
    this.child = spawn(PYTHON, [file, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.ended = new Promise((done) => {
      this.child.once('error', (error) => done({ error }));
      this.child.once('close', (code, signal) => done({ code, signal }));
    });
    this.ended.then((how) => { this.how = how; });
    readline.createInterface({ input: this.child.stdout }).on('line', (line) => this.events.push(JSON.parse(line)));
    this.child.stderr.on('data', (chunk) => { this.errors += chunk; });
  }

  /** Waits for something it says. */
  said(what, test, within = 15_000) {
    return until(what, () => {
      const event = this.events.find(test);
      if (!event && this.how) throw new Error(`${what}: the script ended: ${this.errors}`);
      return { ok: Boolean(event), value: event ?? { events: this.events.slice(-5), errors: this.errors } };
    }, { within });
  }

  joined() {
    return this.said('the script joined', ({ event }) => event === 'joined');
  }

  /** Tells it to leave by DELETE, and gives `{ code }` of its end. */
  async leave() {
    this.child.stdin.end();
    return inTime('the script ends', this.ended);
  }

  /** Ends it whatever it does. */
  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
