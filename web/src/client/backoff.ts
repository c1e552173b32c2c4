/** How long to wait before the next attempt. */

/** Limits of a [`Backoff`], in milliseconds. */
export interface BackoffLimits {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** Viewers: quick at first, and never so slow that a fan misses a song. */
export const VIEWER_BACKOFF: BackoffLimits = { firstMs: 500, maxMs: 15_000 };
/** The artist: the whole room waits, and the grace time runs. There is one of them. */
export const PUBLISHER_BACKOFF: BackoffLimits = { firstMs: 300, maxMs: 1_000 };

/**
 * Exponential back-off with jitter: the n-th wait is random between half and all of `first * 2^n`, so that a
 * hundred thousand viewers who lost the same server do not come back in the same moment.
 */
export class Backoff {
  #attempt = 0;

  constructor(
    private readonly limits: BackoffLimits,
    /** Uniform in [0, 1). */
    private readonly random: () => number,
  ) {}

  /** Attempts since the last success. */
  get attempt(): number {
    return this.#attempt;
  }

  /**
   * The next wait. The server's `Retry-After` is a lower bound; up to half of it, or of the own wait if that is
   * longer, comes on top at random, since the server told everybody the same.
   */
  next(retryAfterMs = 0): number {
    const ceiling = Math.min(this.limits.maxMs, this.limits.firstMs * 2 ** this.#attempt);
    this.#attempt += 1;
    if (retryAfterMs > 0) return retryAfterMs + (Math.max(retryAfterMs, ceiling) / 2) * this.random();
    return ceiling * (0.5 + 0.5 * this.random());
  }

  /** After a success. */
  reset(): void {
    this.#attempt = 0;
  }
}
