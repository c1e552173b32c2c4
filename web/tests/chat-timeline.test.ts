import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../src/chat/frames.ts";
import { DELETED_MAX, LINES_MAX, Timeline } from "../src/chat/timeline.ts";

const message = (id: number, user = "mina", text = `m${id}`): Message => ({
  id: BigInt(id), author: { user, name: user, role: 0 }, text, atMs: 0n, reply: undefined, mentions: [], paid: undefined,
});
const texts = (timeline: Timeline) => timeline.lines.map(({ message: { text } }) => text);

/** Places 1 to 4 hold the messages 1 to 4. */
function filled(): Timeline {
  const timeline = new Timeline();
  for (const id of [2, 4, 1, 3]) timeline.add(message(id), id);
  return timeline;
}

test("messages stand by their places, whatever the order they come in", () => {
  assert.deepEqual(texts(filled()), ["m1", "m2", "m3", "m4"]);
});

test("one that comes again is one, and its line stays the same object", () => {
  const timeline = filled();
  const line = timeline.byId(2n);
  timeline.add(message(2), 2);
  assert.deepEqual([texts(timeline).length, timeline.byId(2n) === line, line?.version], [4, true, 0]);
});

test("a deletion takes a message out, also one that comes later", () => {
  const timeline = filled();
  const line = timeline.byId(2n);
  timeline.delete([2n, 9n]);
  timeline.add(message(9), 9);
  timeline.addDirect(message(9), 9);
  assert.deepEqual([texts(timeline), line?.gone], [["m1", "m3", "m4"], true]);
});

test("what is remembered of deletions is bounded, and the newest count", () => {
  const timeline = new Timeline();
  timeline.delete(Array.from({ length: DELETED_MAX + 1 }, (_, i) => BigInt(i + 1)));
  timeline.add(message(1), 1);
  timeline.add(message(2), 2);
  assert.deepEqual(texts(timeline), ["m1"]);
});

test("clearing a user takes what came before, and what comes late, but not what is written after", () => {
  const timeline = filled();
  timeline.add(message(5, "troll"), 5);
  timeline.clear("troll", 7);
  timeline.add(message(6, "troll"), 6);
  timeline.add(message(8, "troll"), 8);
  assert.deepEqual(texts(timeline), ["m1", "m2", "m3", "m4", "m8"]);
});

test("one's own stands last at once, and at its place when the room shows it", () => {
  const timeline = filled();
  timeline.addPending(message(0, "me", "hello"), 77n);
  const line = timeline.byNonce(77n);
  timeline.add(message(5), 5);
  assert.deepEqual(texts(timeline), ["m1", "m2", "m3", "m4", "m5", "hello"]);
  timeline.confirm(77n, 6n, false, "", 5);
  assert.deepEqual([line?.state, line?.message.id], ["shown", 6n]);
  timeline.add(message(7), 7);
  timeline.add(message(6, "me", "hello"), 6);
  assert.deepEqual(texts(timeline), ["m1", "m2", "m3", "m4", "m5", "hello", "m7"]);
  assert.equal(timeline.byId(6n), line);
});

test("the room may be faster than the answer", () => {
  const timeline = filled();
  timeline.addPending(message(0, "me", "hello"), 77n);
  timeline.add(message(5, "me", "hello"), 5);
  timeline.confirm(77n, 5n, false, "", 5);
  assert.deepEqual(texts(timeline), ["m1", "m2", "m3", "m4", "hello"]);
});

test("an answer with a changed text changes the line; a held one says so; a command leaves none", () => {
  const timeline = new Timeline();
  for (const nonce of [1n, 2n, 3n]) timeline.addPending(message(0, "me", "raw"), nonce);
  timeline.confirm(1n, 10n, false, "***", 0);
  timeline.confirm(2n, 11n, true, "", 0);
  timeline.confirm(3n, 0n, false, "", 0);
  assert.deepEqual(timeline.lines.map(({ state, message: { text } }) => [state, text]), [["shown", "***"], ["held", "raw"]]);
});

test("a refused one stays until it is dropped", () => {
  const timeline = new Timeline();
  timeline.addPending(message(0, "me", "no"), 1n);
  timeline.fail(1n, { code: "blocked", detail: "", retryAfterMs: 0 });
  assert.deepEqual([timeline.lines[0]?.state, timeline.lines[0]?.why?.code], ["failed", "blocked"]);
  timeline.drop(1n);
  assert.deepEqual(timeline.lines, []);
});

test("a newcomer's view replaces everything but what is on its way", () => {
  const timeline = filled();
  const old = timeline.byId(3n);
  timeline.addPending(message(0, "me", "hello"), 1n);
  timeline.replace([message(20), message(21)], 30, false);
  timeline.add(message(31), 31);
  assert.deepEqual([texts(timeline), old?.gone], [["m20", "m21", "m31", "hello"], true]);
});

test("a view that was overtaken keeps what came after it", () => {
  const timeline = filled();
  timeline.delete([21n]);
  timeline.replace([message(3), message(21)], 3, true);
  assert.deepEqual(texts(timeline), ["m3", "m4"]);
});

test("the list is bounded: the oldest go", () => {
  const timeline = new Timeline();
  for (let id = 1; id <= LINES_MAX + 5; id += 1) timeline.add(message(id), id);
  assert.deepEqual([timeline.lines.length, texts(timeline)[0], timeline.byId(5n)], [LINES_MAX, "m6", undefined]);
});
