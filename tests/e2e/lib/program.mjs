// Clients that are programs of their own: one JSON object a line on standard output, and the end of standard input
// tells them to leave.
import { spawn } from 'node:child_process';
import readline from 'node:readline';
import { inTime, until } from './wait.mjs';

/** `{ url: 'x' }` as the command line's `--url x`; what is undefined is left out. */
export const flags = (values) => Object.entries(values)
  .flatMap(([flag, value]) => (value === undefined ? [] : [`--${flag}`, String(value)]));

/** One running program. */
export class Program {
  /** @param {string} command @param {string[]} args */
  constructor(command, args) {
    this.events = [];
    this.errors = '';
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    // It may have ended before it is told to.
    this.child.stdin.on('error', () => {});
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
      if (!event && this.how) {
        throw new Error(`${what}: the program ended: ${JSON.stringify(this.how)}\n${this.errors.slice(-4_000)}`);
      }
      return { ok: Boolean(event), value: event ?? { events: this.events.slice(-5), errors: this.errors.slice(-4_000) } };
    }, { within });
  }

  joined() {
    return this.said('the program joined', ({ event }) => event === 'joined');
  }

  /** Tells it to leave by DELETE, and gives `{ code }` of its end. */
  async leave() {
    this.child.stdin.end();
    return inTime('the program ends', this.ended);
  }

  /** Ends it whatever it does. */
  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
