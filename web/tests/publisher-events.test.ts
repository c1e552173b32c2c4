import assert from "node:assert/strict";
import { test } from "node:test";
import { RETRY_MS, followWishes, parseWishes, type Stream } from "../src/client/wishes.ts";

for (const [data, unwanted] of [
  ['{"layers":[{"layer":"low","rid":"l","wanted":true},{"layer":"high","rid":"h","wanted":false}]}', ["h"]],
  ['{"layers":[]}', []],
  ['{"layers":[null,7,{"rid":"l"},{"wanted":false},{"rid":"h","wanted":"false"}]}', []],
  ['{"layers":{}}', undefined],
  ["{}", undefined],
  ["null", undefined],
  ["{", undefined],
] as const) {
  test(`wishes ${data}`, () => {
    const parsed = parseWishes(data);
    assert.deepEqual(parsed && [...parsed], unwanted);
  });
}

/** A stream in the hands of the test. */
class Fake implements Stream {
  readyState = 1;
  readonly listeners = new Map<string, (event: Event) => void>();
  addEventListener(type: string, listener: (event: Event) => void): void {
    this.listeners.set(type, listener);
  }
  close(): void {
    this.readyState = 2;
  }
  says(...rids: string[]): void {
    const layers = rids.map((rid) => ({ rid, wanted: false }));
    this.listeners.get("layers")?.({ data: JSON.stringify({ layers }) } as unknown as Event);
  }
  breaks(readyState: number): void {
    this.readyState = readyState;
    this.listeners.get("error")?.({} as Event);
  }
}

function follow() {
  const streams: Fake[] = [];
  const heard: string[] = [];
  const timers: { ms: number; act: () => void }[] = [];
  const leave = followWishes(
    () => {
      const stream = new Fake();
      streams.push(stream);
      return stream;
    },
    (ms, act) => {
      const timer = { ms, act };
      timers.push(timer);
      return () => timers.splice(timers.indexOf(timer), 1);
    },
    (rids) => heard.push([...rids].join("+") || "all"),
  );
  return { streams, heard, timers, leave };
}

test("a stream that breaks leaves nothing unwanted until it speaks again", () => {
  const { streams, heard, timers } = follow();
  streams[0]?.says("h");
  streams[0]?.breaks(0);
  assert.equal(timers.length, 0, "the browser opens it again by itself");
  streams[0]?.says("m", "h");
  assert.deepEqual(heard, ["h", "all", "m+h"]);
});

test("a stream that the server closed is opened again, until it is left", () => {
  const { streams, heard, timers, leave } = follow();
  streams[0]?.says("l");
  streams[0]?.breaks(2);
  assert.equal(timers[0]?.ms, RETRY_MS);
  timers.shift()?.act();
  assert.equal(streams.length, 2);
  streams[0]?.says("m");
  streams[1]?.says("h");
  assert.deepEqual(heard, ["l", "all", "h"], "the old stream is not listened to");
  streams[1]?.breaks(2);
  leave();
  assert.equal(timers.length, 0);
  assert.equal(streams.length, 2);
});
