// Waiting for conditions. Nothing here proves anything by the passing of time: a condition holds
// within its deadline, or the test fails and says what was seen last.
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';

/** A condition did not come true in time. */
export class DeadlineError extends Error {
  constructor(what, within, last) {
    super(`${what}: not within ${within} ms; last seen: ${inspect(last, { depth: 5, breakLength: 120 })}`);
    this.name = 'DeadlineError';
    this.last = last;
  }
}

/**
 * Asks `probe` until it gives something truthy, and gives that back. `probe` may instead return
 * `{ ok, value }`, so that the failure can show `value`. An error of `probe` ends the wait.
 * @param {string} what the condition in words, for the failure
 * @param {() => any} probe
 * @param {{ within?: number, every?: number }} [options] milliseconds
 */
export async function until(what, probe, { within = 10_000, every = 40 } = {}) {
  const deadline = performance.now() + within;
  let last;
  for (;;) {
    const answer = await probe();
    const judged = answer !== null && typeof answer === 'object' && 'ok' in answer;
    last = judged ? answer.value : answer;
    if (judged ? answer.ok : answer) return last;
    if (performance.now() >= deadline) throw new DeadlineError(what, within, last);
    await pause(every);
  }
}

/** Gives what `promise` gives, or fails once `within` milliseconds are over. */
export async function inTime(what, promise, within = 10_000) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new DeadlineError(what, within, undefined)), within);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
