import assert from "node:assert/strict";
import { test } from "node:test";
import { Frontier, HOLE_MS, RUNS_MAX } from "../src/chat/frontier.ts";

const at = (offset: number) => ({ epoch: 7n, offset: BigInt(offset) });

function seen(...batches: [first: number, count: number, now?: number][]): Frontier {
  const frontier = new Frontier();
  frontier.reset(at(10));
  for (const [first, count, now = 0] of batches) frontier.see(first, count, now);
  return frontier;
}

for (const [what, batches, position, high] of [
  ["nothing yet", [], 10, 10],
  ["one after the other", [[11, 2], [13, 1]], 13, 13],
  ["a hole holds it back", [[11, 1], [13, 2]], 11, 14],
  ["the hole fills", [[13, 2], [12, 1], [11, 1]], 14, 14],
  ["holes fill in any order", [[20, 1], [15, 2], [11, 4], [17, 3]], 20, 20],
  ["what was seen comes again", [[9, 3], [5, 2], [11, 1]], 11, 11],
  ["runs that overlap", [[15, 3], [13, 4], [11, 3]], 17, 17],
  ["an empty batch", [[30, 0]], 10, 10],
  ["an old hole is given up", [[12, 1, 0], [13, 1, HOLE_MS]], 13, 13],
  ["a young one is not", [[12, 1, 0], [13, 1, HOLE_MS - 1]], 10, 13],
  ["each hole has its own time", [[12, 1, 0], [14, 1, HOLE_MS]], 12, 14],
] as const satisfies readonly (readonly [string, readonly [number, number, number?][], number, number])[]) {
  test(`frontier: ${what}`, () => {
    const frontier = seen(...batches);
    assert.deepEqual([frontier.position, frontier.high], [at(position), high]);
  });
}

test("frontier: a gap that the server admits never fills", () => {
  const frontier = seen([13, 1], [16, 1]);
  frontier.giveUp();
  assert.deepEqual(frontier.position, at(16));
});

test("frontier: a newer beginning in the same count keeps what was seen behind it", () => {
  const frontier = seen([13, 2], [17, 1]);
  frontier.reset(at(12));
  assert.deepEqual([frontier.position, frontier.high], [at(14), 17]);
  frontier.reset(at(11));
  assert.deepEqual(frontier.position, at(14), "it does not go back");
  frontier.reset({ epoch: 8n, offset: 2n });
  assert.deepEqual([frontier.position, frontier.high], [{ epoch: 8n, offset: 2n }, 2]);
});

test("frontier: without a welcome there is no position", () => assert.equal(new Frontier().position, undefined));

test("frontier: holes are bounded", () => {
  const frontier = seen(...Array.from({ length: RUNS_MAX + 1 }, (_, i): [number, number] => [12 + 2 * i, 1]));
  assert.deepEqual(frontier.position, at(12));
});
