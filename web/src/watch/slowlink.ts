/** Whether the fan's own connection is too slow for the show. Pure. */

/** What of the figures is judged. */
export interface LinkFigures {
  readonly loss: number | undefined;
  readonly rttMs: number | undefined;
  readonly jitterBufferMs: number | undefined;
}

/** Of the packets that the server has sent; less than that is repaired. */
export const LOSS_MAX = 0.1;
/** A link whose queue holds so much carries less than it is given. */
export const DELAY_MS_MAX = 1_500;
/** So many bad seconds of the last `WINDOW` say that it is slow. */
export const BAD_MIN = 3;
/** See `BAD_MIN`; so many good ones in a row say that it no longer is. */
export const WINDOW = 5;

/** Figures of one second each go in; see the module. */
export class SlowLink {
  #bad: boolean[] = [];
  #slow = false;

  get slow(): boolean {
    return this.#slow;
  }

  add({ loss, rttMs, jitterBufferMs }: LinkFigures): void {
    const bad = (loss ?? 0) >= LOSS_MAX || (rttMs ?? 0) >= DELAY_MS_MAX || (jitterBufferMs ?? 0) >= DELAY_MS_MAX;
    this.#bad = [...this.#bad, bad].slice(-WINDOW);
    const count = this.#bad.filter(Boolean).length;
    if (count >= BAD_MIN) this.#slow = true;
    else if (count === 0) this.#slow = false;
  }

  /** Another session, or none: what was measured says nothing of it. */
  clear(): void {
    this.#bad = [];
    this.#slow = false;
  }
}
