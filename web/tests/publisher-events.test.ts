import assert from "node:assert/strict";
import { test } from "node:test";
import { RETRY_MS, followPublisher, parseAudience, parseHints, parseWishes, type Stream } from "../src/client/publisher-events.ts";

for (const [data, unwanted] of [
  ['{"layers":[{"layer":"low","rid":"l","wanted":true},{"layer":"high","rid":"h","wanted":false}]}', ["h"]],
  ['{"layers":[{"track":"video-1","rid":"l","wanted":false},{"track":"video-2","rid":"h","wanted":false}]}', ["l"]],
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

test("the audience is a number that is not negative", () => {
  assert.equal(parseAudience('{"viewers":12}'), 12);
  for (const data of ['{"viewers":-1}', '{"viewers":"3"}', "{}", "nonsense"]) assert.equal(parseAudience(data), undefined);
});

test("hints have a code and a sentence", () => {
  const hint = { code: "b_frames", message: "The encoder sends B-frames." };
  assert.deepEqual(parseHints(JSON.stringify({ hints: [hint, { code: 7 }, null, { ...hint, more: 1 }] })), [hint, hint]);
  assert.deepEqual(parseHints('{"hints":[]}'), []);
  for (const data of ['{"hints":{}}', "{}", "["]) assert.equal(parseHints(data), undefined);
});

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
  tells(type: string, data: object): void {
    this.listeners.get(type)?.({ data: JSON.stringify(data) } as unknown as Event);
  }
  breaks(readyState: number): void {
    this.readyState = readyState;
    this.listeners.get("error")?.({} as Event);
  }
}

function follow() {
  const streams: Fake[] = [];
  const heard: string[] = [];
  const audience: (number | undefined)[] = [];
  const hints: string[][] = [];
  const timers: { ms: number; act: () => void }[] = [];
  const leave = followPublisher(
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
    {
      onUnwanted: (rids) => heard.push([...rids].join("+") || "all"),
      onAudience: (viewers) => audience.push(viewers),
      onHints: (all) => hints.push(all.map(({ code }) => code)),
    },
  );
  return { streams, heard, audience, hints, timers, leave };
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

test("the audience and the hints are told as they come, and the number is not known while the stream is broken", () => {
  const { streams, audience, hints } = follow();
  streams[0]?.tells("audience", { viewers: 3 });
  streams[0]?.tells("hints", { hints: [{ code: "b_frames", message: "" }] });
  streams[0]?.breaks(0);
  streams[0]?.tells("audience", { viewers: 4 });
  streams[0]?.tells("hints", { hints: [] });
  assert.deepEqual(audience, [3, undefined, 4]);
  assert.deepEqual(hints, [["b_frames"], []]);
});
