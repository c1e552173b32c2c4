/** Requests that wait for their answer. Pure. */

import type { Request } from "./frames.ts";

/** Requests that are answered by `Ack` or `Refusal`. */
export type Asked = Extract<Request, { $case: "send" | "vote" | "moderate" | "appeal" }>;

/** One that waits. */
export interface Waiting {
  readonly nonce: bigint;
  readonly frame: Asked;
  /** When it was asked, in milliseconds. */
  readonly since: number;
}

/** Requests that may wait at once. The server knows the last 64 nonces of a user; repeats must stay well within. */
export const WAITING_MAX = 20;
/** One that was asked so long ago is not repeated on a new connection: the server may not know it any more. */
export const REPEAT_MS = 60_000;

/** See the module. */
export class Outbox {
  readonly #waiting = new Map<bigint, Waiting>();

  /** Keeps a request; false when too many wait already. */
  add(frame: Asked, now: number): boolean {
    if (this.#waiting.size >= WAITING_MAX) return false;
    const { nonce } = frame.value;
    this.#waiting.set(nonce, { nonce, frame, since: now });
    return true;
  }

  /** Takes out what was answered; `undefined` when nobody waits for it. */
  settle(nonce: bigint): Waiting | undefined {
    const waiting = this.#waiting.get(nonce);
    this.#waiting.delete(nonce);
    return waiting;
  }

  /** What a new connection repeats, in order. */
  get unanswered(): readonly Waiting[] {
    return [...this.#waiting.values()];
  }

  /** Takes out what is too old to be repeated. */
  expire(now: number): Waiting[] {
    const old = this.unanswered.filter(({ since }) => now - since >= REPEAT_MS);
    for (const { nonce } of old) this.#waiting.delete(nonce);
    return old;
  }
}
