/** Virtual time for tests. */

/** A clock that moves when told to. */
export class Clock {
  #now: number;
  #due: { at: number; act: () => void }[] = [];

  constructor(start = 0) {
    this.#now = start;
  }

  get now(): number {
    return this.#now;
  }

  schedule = (ms: number, act: () => void): (() => void) => {
    const entry = { at: this.#now + ms, act };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((other) => other !== entry);
    };
  };

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#now = next.at;
      this.#due = this.#due.filter((other) => other !== next);
      next.act();
      await settled();
    }
    this.#now = end;
    await settled();
  }
}

/** Lets promises that are already decided run to their ends. */
export const settled = () => new Promise<void>((done) => setImmediate(done));
