/** Up to where a room has been seen: the place to go on from after a break. Pure. */

import type { Position } from "./frames.ts";

/** A hole that old will not fill any more, in milliseconds: servers hold nothing back for longer. */
export const HOLE_MS = 5_000;
/** Separate runs that are remembered; at the bound the first hole is given up. */
export const RUNS_MAX = 64;

/**
 * Batches come on two channels, and one of them in any order. This keeps the last place before the first hole, for
 * a position behind a hole would never bring what is missing.
 */
export class Frontier {
  #epoch: bigint | undefined;
  #low = 0;
  /** Runs above the first hole, in order, that touch neither each other nor `#low`. */
  #runs: { from: number; to: number }[] = [];
  #holeSince = 0;

  /** Everything up to this place is known. What was seen behind it, in the same count, stays known. */
  reset(position: Position): void {
    const offset = Number(position.offset);
    const same = this.isIn(position.epoch);
    this.#epoch = position.epoch;
    this.#low = same ? Math.max(this.#low, offset) : offset;
    this.#runs = same ? this.#runs.filter(({ to }) => to > this.#low) : [];
    this.#settle();
  }

  /** Whether `epoch` is the one that is counted in. */
  isIn(epoch: bigint): boolean {
    return this.#epoch === epoch;
  }

  /** The highest place that was seen. */
  get high(): number {
    return this.#runs.at(-1)?.to ?? this.#low;
  }

  /** `count` entries from `first` on have come. */
  see(first: number, count: number, now: number): void {
    if (count > 0 && first + count - 1 > this.#low) this.#add(first, first + count - 1, now);
    if (this.#runs.length > RUNS_MAX) this.#jump(now);
    while (this.#runs.length > 0 && now - this.#holeSince >= HOLE_MS) this.#jump(now);
  }

  /** The server has left something out for this client: what is missing now stays missing. */
  giveUp(): void {
    this.#low = this.high;
    this.#runs = [];
  }

  /** From where to go on; `undefined` before anything was seen. */
  get position(): Position | undefined {
    return this.#epoch === undefined ? undefined : { epoch: this.#epoch, offset: BigInt(this.#low) };
  }

  #add(from: number, to: number, now: number): void {
    const whole = this.#runs.length === 0;
    let at = this.#runs.findIndex((run) => run.to >= from - 1);
    if (at < 0) at = this.#runs.length;
    let end = at;
    for (let run = this.#runs[end]; run && run.from <= to + 1; run = this.#runs[end]) {
      from = Math.min(from, run.from);
      to = Math.max(to, run.to);
      end += 1;
    }
    this.#runs.splice(at, end - at, { from, to });
    if (this.#settle()) this.#holeSince = now;
    else if (whole) this.#holeSince = now;
  }

  /** Takes in a run that follows on what is known; true when that moved the first hole. */
  #settle(): boolean {
    const [run] = this.#runs;
    if (!run || run.from > this.#low + 1) return false;
    this.#low = Math.max(this.#low, run.to);
    this.#runs.shift();
    return true;
  }

  #jump(now: number): void {
    const [run] = this.#runs;
    if (!run) return;
    this.#low = run.to;
    this.#runs.shift();
    this.#holeSince = now;
  }
}
