import assert from "node:assert/strict";
import { test } from "node:test";
import { readRoom } from "../src/ui/api.ts";
import { activePair, kbps, num, type Stat } from "../src/client/report.ts";
import { roomOfPath, tokenOfFragment } from "../src/ui/room.ts";

for (const [path, room] of [
  ["/watch/stage", "stage"],
  ["/studio/a.b-c_9", "a.b-c_9"],
  ["/watch/stage/", "stage"],
  ["/watch/%61bc", "abc"],
  ["/watch/", undefined],
  ["/watch/.hidden", undefined],
  ["/watch/a%20b", undefined],
  ["/watch/%2e%2e", undefined],
  ["/watch/%ff", undefined],
  ["/watch/%EB%B3%84", undefined],
  [`/watch/${"x".repeat(64)}`, "x".repeat(64)],
  [`/watch/${"x".repeat(65)}`, undefined],
] as const) {
  test(`room of ${path.slice(0, 30)}`, () => assert.equal(roomOfPath(path), room));
}

test("tokens come in the fragment", () => {
  for (const [fragment, token] of [
    ["#token=a.b.c", "a.b.c"], ["token=a.b.c", "a.b.c"], ["#x=1&token=%20t%20", "t"], ["#token=", undefined], ["", undefined], ["#t=1", undefined],
  ] as const) {
    assert.equal(tokenOfFragment(fragment), token, fragment);
  }
});

test("rooms of the API are read with care", () => {
  assert.deepEqual(readRoom({ name: "stage", state: "live", viewers: 7, more: {} }), { name: "stage", live: true, viewers: 7 });
  assert.deepEqual(readRoom({ name: "stage", state: "interrupted" }), { name: "stage", live: false, viewers: 0 });
  for (const junk of [null, undefined, 7, "stage", [], {}, { name: 7 }]) assert.equal(readRoom(junk), undefined);
});

const stat = (id: string, type: string, more: object = {}) => ({ id, type, timestamp: 1_000, ...more }) as Stat;
const map = (...stats: Stat[]) => new Map(stats.map((entry) => [entry.id, entry]));

test("the pair that media takes", () => {
  const idle = stat("p1", "candidate-pair", { nominated: false, state: "succeeded" });
  const used = stat("p2", "candidate-pair", { nominated: true, state: "succeeded" });
  assert.equal(activePair(map(idle, used))?.id, "p2");
  assert.equal(activePair(map(idle, used, stat("t", "transport", { selectedCandidatePairId: "p1" })))?.id, "p1");
  assert.equal(activePair(map(idle)), undefined);
});

test("rates need two entries, and never run backwards", () => {
  const at = (timestamp: number, bytesReceived: number) => stat("v", "inbound-rtp", { timestamp, bytesReceived });
  assert.equal(kbps(at(1_000, 1_000), at(3_000, 251_000)), 1_000);
  assert.equal(kbps(undefined, at(1_000, 9)), 0);
  assert.equal(kbps(at(1_000, 9), at(1_000, 99)), 0);
  assert.equal(kbps(at(1_000, 999), at(2_000, 0)), 0);
});

test("numbers are finite numbers", () => {
  for (const junk of [NaN, Infinity, "7", null, undefined, {}]) assert.equal(num(junk), undefined);
  assert.equal(num(0), 0);
});
