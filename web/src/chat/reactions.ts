/** Reactions, counted between frames. Pure. */

import type { Reaction } from "./frames.ts";

/** The least time between two frames of reactions, in milliseconds. */
export const REACT_MS = 500;
/** Taps of one kind that a frame counts; a finger makes about ten a second. */
export const TAPS_MAX = 50;
/** Kinds in a frame; others have to wait for the next. */
export const KINDS_MAX = 8;

/** One's own come back in the room's counts within so long, in milliseconds; else they were lost, or not counted. */
export const ECHO_MS = 3_000;

/** See the module. */
export class Reactions {
  #counts = new Map<string, number>();
  #sentAt = Number.NEGATIVE_INFINITY;

  /** One more; false when the bound of this frame is reached. */
  tap(kind: string): boolean {
    const count = this.#counts.get(kind) ?? 0;
    if (count >= TAPS_MAX || (count === 0 && this.#counts.size >= KINDS_MAX)) return false;
    this.#counts.set(kind, count + 1);
    return true;
  }

  /** How long until the next frame may go, in milliseconds; `undefined` when there is nothing to say. */
  dueIn(now: number): number | undefined {
    return this.#counts.size === 0 ? undefined : Math.max(0, this.#sentAt + REACT_MS - now);
  }

  /** The frame's content; what comes later is for the next. */
  take(now: number): Reaction[] {
    const reactions = [...this.#counts].map(([kind, count]) => ({ kind, count }));
    this.#counts = new Map();
    this.#sentAt = now;
    return reactions;
  }
}

/** Tells the reactions of others from one's own, which have been shown when they were made. */
export class Echoes {
  #sent: { readonly kind: string; count: number; readonly until: number }[] = [];

  /** These have gone out. */
  expect(reactions: readonly Reaction[], now: number): void {
    this.#sent.push(...reactions.map(({ kind, count }) => ({ kind, count, until: now + ECHO_MS })));
  }

  /** How many of a count are others'. Asked once for each count. */
  othersOf({ kind, count }: Reaction, now: number): number {
    let others = count;
    for (const sent of this.#sent) {
      if (sent.kind !== kind || sent.until < now) continue;
      const own = Math.min(others, sent.count);
      sent.count -= own;
      others -= own;
    }
    this.#sent = this.#sent.filter((sent) => sent.count > 0 && sent.until >= now);
    return others;
  }
}
