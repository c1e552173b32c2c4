import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff, PUBLISHER_BACKOFF, VIEWER_BACKOFF } from "../src/client/backoff.ts";

const LEAST = () => 0;
const MOST = () => 1 - Number.EPSILON;
const series = (backoff: Backoff, count: number, retryAfterMs = 0) =>
  Array.from({ length: count }, () => Math.round(backoff.next(retryAfterMs)));

test("waits double up to the limit, between half and all of it", () => {
  const limits = { firstMs: 500, maxMs: 3_000 };
  assert.deepEqual(series(new Backoff(limits, LEAST), 5), [250, 500, 1_000, 1_500, 1_500]);
  assert.deepEqual(series(new Backoff(limits, MOST), 5), [500, 1_000, 2_000, 3_000, 3_000]);
});

test("after a success it begins anew", () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 10_000 }, MOST);
  series(backoff, 4);
  assert.equal(backoff.attempt, 4);
  backoff.reset();
  assert.equal(backoff.attempt, 0);
  assert.equal(Math.round(backoff.next()), 100);
});

test("Retry-After is a lower bound, and what comes on top spreads a crowd that was told the same", () => {
  assert.deepEqual(series(new Backoff({ firstMs: 500, maxMs: 8_000 }, LEAST), 3, 5_000), [5_000, 5_000, 5_000]);
  assert.deepEqual(series(new Backoff({ firstMs: 500, maxMs: 8_000 }, MOST), 3, 5_000), [7_500, 7_500, 7_500]);
  // Long after the first tries the own spread is the larger one.
  const tried = new Backoff({ firstMs: 500, maxMs: 8_000 }, MOST);
  series(tried, 5);
  assert.equal(Math.round(tried.next(1_000)), 5_000);
});

test("a hundred attempts overflow nothing", () => {
  for (const limits of [VIEWER_BACKOFF, PUBLISHER_BACKOFF]) {
    const waits = series(new Backoff(limits, Math.random), 100);
    assert.ok(waits.every((ms) => ms > 0 && ms <= limits.maxMs), String(waits));
  }
});
