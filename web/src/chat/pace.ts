/** Shows an artist on stage only as many messages as can be read between two songs. Pure. */

import type { Line } from "./timeline.ts";

/** Messages may wait so long for their turn, in seconds; then they are left out, the oldest first. */
export const WAIT_SECONDS = 4;

/** See the module. What matters goes through at once and counts for nothing. */
export class Pace {
  readonly #shown = new WeakSet<Line>();
  readonly #left = new WeakSet<Line>();
  #budget: number;
  #at: number | undefined;
  /** Whether messages wait for their turn: choose again soon. */
  waiting = false;

  /** `perSecond`: how many; infinite for all. */
  constructor(public perSecond: number, private readonly matters: (line: Line) => boolean) {
    this.#budget = this.#most;
  }

  /** Those of `lines` that are shown at `now`, in milliseconds. Once shown, a line stays. */
  choose(lines: readonly Line[], now: number): readonly Line[] {
    if (this.perSecond === Infinity) {
      this.waiting = false;
      return lines;
    }
    const seconds = Math.max(0, now - (this.#at ?? now)) / 1_000;
    this.#at = now;
    this.#budget = Math.min(this.#most, this.#budget + seconds * this.perSecond);
    const queue: Line[] = [];
    for (const line of lines) {
      if (this.#shown.has(line) || this.#left.has(line)) continue;
      if (this.matters(line)) this.#shown.add(line);
      else queue.push(line);
    }
    while (queue.length > this.#most) this.#leaveOut(queue.shift());
    while (this.#budget >= 1) {
      const line = queue.shift();
      if (!line) break;
      this.#shown.add(line);
      this.#budget -= 1;
    }
    // What did not wait has saved up no more than a second's worth.
    if (queue.length === 0) this.#budget = Math.min(this.#budget, Math.max(1, this.perSecond));
    this.waiting = queue.length > 0;
    return lines.filter((line) => this.#shown.has(line));
  }

  get #most(): number {
    return Math.max(1, this.perSecond * WAIT_SECONDS);
  }

  #leaveOut(line: Line | undefined): void {
    if (line) this.#left.add(line);
  }
}
