import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeeperStatus } from "../src/client/keeper.ts";
import { ProblemError } from "../src/client/problem.ts";
import type { Stat } from "../src/client/report.ts";
import { Kinds } from "../src/watch/kinds.ts";
import { Playback, RESUMES_MAX, WINDOW_MS } from "../src/watch/playback.ts";
import { DELAY_MS_MAX, LOSS_MAX, SlowLink } from "../src/watch/slowlink.ts";
import { watchState, type Known } from "../src/watch/state.ts";
import { RunningMedian, frameLatency, watchFigures } from "../src/watch/stats.ts";
import { Clock, settled } from "./clock.ts";

const connected: KeeperStatus = { kind: "connected" };
const reconnecting = (code?: string): KeeperStatus =>
  ({ kind: "reconnecting", waitMs: 500, problem: code ? new ProblemError(409, code, "") : undefined });

for (const [what, known, wanted] of [
  ["the page has just opened", { status: { kind: "connecting" } }, "connecting"],
  ["the artist is not there yet", { status: connected, show: "not_started" }, "waiting"],
  ["the same while ICE is under way", { status: { kind: "connecting" }, show: "not_started" }, "waiting"],
  ["a server that lets nobody wait", { status: reconnecting("not_live") }, "waiting"],
  ["live, before the first frame", { status: connected, show: "active" }, "connecting"],
  ["live", { status: connected, show: "active", painted: true }, "live"],
  ["a frame before the server's word", { status: connected, painted: true }, "live"],
  ["a server without events, and no frame", { status: connected, hasEvents: false }, "waiting"],
  ["the artist dropped", { status: connected, show: "interrupted", painted: true }, "interrupted"],
  ["the show is over", { status: connected, show: "ended", painted: true }, "ended"],
  ["live, but nothing comes", { status: connected, show: "active", painted: true, stalled: true }, "interrupted"],
  ["sound alone is a show", { status: connected, show: "active", soundOnly: true }, "live"],
  ["sound alone that stops", { status: connected, show: "active", soundOnly: true, stalled: true }, "interrupted"],
  ["nothing has come yet", { status: connected, show: "active", stalled: true }, "connecting"],
  ["sent away after the end", { status: { kind: "refused", problem: new ProblemError(0, "show_over", "") }, show: "ended" }, "ended"],
  ["sent away", { status: { kind: "refused", problem: new ProblemError(0, "removed", "") }, show: "active" }, "error"],
  ["the line broke", { status: reconnecting(), show: "active", painted: true }, "reconnecting"],
  ["a busy server", { status: reconnecting("overloaded") }, "reconnecting"],
  ["no network", { status: { kind: "offline" }, show: "active", painted: true }, "offline"],
  ["refused", { status: { kind: "refused", problem: new ProblemError(401, "token_missing", "") } }, "error"],
] as const satisfies readonly (readonly [string, Partial<Known> & Pick<Known, "status">, string])[]) {
  test(`watch page: ${what}`, () => {
    assert.equal(watchState({ show: "unknown", painted: false, stalled: false, soundOnly: false, hasEvents: true, ...known }), wanted);
  });
}

const report = (...stats: (Partial<Stat> & { id: string; type: string })[]) =>
  new Map(stats.map((stat) => [stat.id, { timestamp: 0, ...stat } as Stat]));
const video = (timestamp: number, more: object) => ({ id: "v", type: "inbound-rtp", kind: "video", timestamp, codecId: "c", ...more });

test("figures are those of the main picture", () => {
  const beside = { ...video(0, { mid: "2", frameWidth: 640 }), id: "w" };
  const main = video(0, { mid: "1", frameWidth: 1280 });
  for (const both of [report(beside, main), report(main, beside)]) {
    assert.equal(watchFigures(new Map(), both, undefined, 0).width, 1280);
  }
});

test("figures between two reports", () => {
  const before = report(video(1_000, {
    bytesReceived: 1_000, packetsReceived: 100, packetsLost: 0, framesDecoded: 30, totalProcessingDelay: 1,
    jitterBufferDelay: 1, jitterBufferEmittedCount: 30,
  }));
  const now = report(
    video(2_000, {
      bytesReceived: 126_000, packetsReceived: 195, packetsLost: 5, framesDecoded: 60, totalProcessingDelay: 1.9,
      jitterBufferDelay: 1.6, jitterBufferEmittedCount: 60, framesPerSecond: 30, frameWidth: 1280, frameHeight: 720, freezeCount: 2,
    }),
    { id: "c", type: "codec", mimeType: "video/H264" },
    { id: "p", type: "candidate-pair", nominated: true, state: "succeeded", localCandidateId: "l", currentRoundTripTime: 0.02 },
    { id: "l", type: "local-candidate", protocol: "tcp" },
  );
  const { jitterBufferMs, latency, ...figures } = watchFigures(before, now, undefined, 0);
  assert.deepEqual(figures, {
    width: 1280, height: 720, fps: 30, kbps: 1_000, rttMs: 20, loss: 0.05, freezes: 2, codec: "H264", path: "tcp", bytes: { audio: 0, video: 126_000 },
  });
  assert.ok(Math.abs((jitterBufferMs ?? 0) - 20) < 1e-6);
  assert.equal(latency?.source, "part");
  assert.ok(Math.abs((latency?.ms ?? 0) - 40) < 1e-6, "half a round trip and the processing");
});

test("the best latency wins", () => {
  const NOW = 1_700_000_000_000;
  const byUnix = report(video(1, { estimatedPlayoutTimestamp: NOW - 120 }));
  const by1900 = report(video(1, { estimatedPlayoutTimestamp: NOW - 80 + 2_208_988_800_000 }));
  assert.deepEqual(watchFigures(new Map(), byUnix, 55, NOW).latency, { ms: 55, source: "frame" });
  assert.deepEqual(watchFigures(new Map(), byUnix, undefined, NOW).latency, { ms: 120, source: "clock" });
  assert.deepEqual(watchFigures(new Map(), by1900, undefined, NOW).latency, { ms: 80, source: "clock" });
  // Clocks that are a minute apart tell nothing.
  assert.equal(watchFigures(new Map(), byUnix, undefined, NOW + 60_000).latency, undefined);
  assert.equal(watchFigures(new Map(), new Map(), undefined, NOW).latency, undefined);
});

test("latency of a frame", () => {
  assert.equal(frameLatency({ captureTime: 1_000, expectedDisplayTime: 1_080 }), 80);
  assert.equal(frameLatency({ expectedDisplayTime: 1_080 }), undefined);
  assert.equal(frameLatency({ captureTime: 2_000, expectedDisplayTime: 1_000 }), undefined);
  assert.equal(frameLatency({ captureTime: 0, expectedDisplayTime: 90_000 }), undefined);
});

test("the median forgets what is old and stands above outliers", () => {
  const median = new RunningMedian(3);
  assert.equal(median.value, undefined);
  for (const value of [900, 10, 30, 20]) median.add(value);
  assert.equal(median.value, 20);
  median.clear();
  assert.equal(median.value, undefined);
});

test("a show of sound alone, and a picture that joins it", () => {
  const kinds = new Kinds();
  kinds.add(0, { audio: 100, video: 0 });
  kinds.add(1_000, { audio: 200, video: 0 });
  assert.equal(kinds.soundOnly, false, "the picture may be on its way");
  kinds.add(2_000, { audio: 300, video: 0 });
  assert.deepEqual([kinds.soundOnly, kinds.silent], [true, false]);
  // A line that is cut takes nothing from what is known, nor does another session.
  for (let at = 3_000; at < 60_000; at += 1_000) kinds.add(at, { audio: 300, video: 0 });
  kinds.begin();
  kinds.add(61_000, { audio: 50, video: 0 });
  assert.equal(kinds.soundOnly, true);
  kinds.add(62_000, { audio: 60, video: 1_200 });
  assert.equal(kinds.soundOnly, false);
  // The artist turns the camera off.
  for (let at = 63_000; at <= 65_000; at += 1_000) kinds.add(at, { audio: at, video: 1_200 });
  assert.equal(kinds.soundOnly, true);
});

test("a show without sound", () => {
  const kinds = new Kinds();
  for (let at = 0; at <= 2_000; at += 1_000) kinds.add(at, { audio: 0, video: at + 1 });
  assert.deepEqual([kinds.soundOnly, kinds.silent], [false, true]);
  kinds.add(3_000, { audio: 80, video: 5_000 });
  assert.equal(kinds.silent, false);
  // Muted for a while is not without sound.
  for (let at = 4_000; at <= 9_000; at += 1_000) kinds.add(at, { audio: 80, video: at + 5_000 });
  assert.equal(kinds.silent, false);
});

test("a link is slow after three bad seconds of five, and good after five without one", () => {
  const good = { loss: 0.01, rttMs: 40, jitterBufferMs: 60 };
  const link = new SlowLink();
  const says = (...all: Partial<typeof good>[]) => all.map((figures) => {
    link.add({ ...good, ...figures });
    return link.slow;
  });
  assert.deepEqual(says({ loss: LOSS_MAX }, {}, { rttMs: DELAY_MS_MAX }, {}, { jitterBufferMs: DELAY_MS_MAX }), [false, false, false, false, true]);
  assert.deepEqual(says({}, {}, {}, {}, {}), [true, true, true, true, false]);
  says({ loss: 1 }, { loss: 1 }, { loss: 1 });
  link.clear();
  assert.equal(link.slow, false);
});

/** A media element in the hands of the test. */
function element() {
  const calls: string[] = [];
  const media = {
    paused: true, ended: false, refuses: "",
    async play(): Promise<void> {
      calls.push("play");
      if (media.refuses) throw Object.assign(new Error(""), { name: media.refuses });
      media.paused = false;
    },
    pause(): void {
      calls.push("pause");
      media.paused = true;
    },
  };
  const clock = new Clock();
  const playback = new Playback(media, () => clock.now, () => {});
  const paused = async () => {
    media.paused = true;
    playback.paused();
    await settled();
  };
  return { media, calls, clock, playback, paused };
}

test("a pause from outside is undone at once, where the browser lets it", async () => {
  const { media, playback, paused } = element();
  playback.begin();
  await settled();
  await paused();
  assert.deepEqual([media.paused, playback.stopped], [false, false]);
});

test("a refusal asks for a tap, and sight of the page is another chance", async () => {
  const { media, playback, paused } = element();
  playback.begin();
  await settled();
  media.refuses = "NotAllowedError";
  await paused();
  assert.equal(playback.stopped, true);
  playback.wake();
  await settled();
  assert.equal(playback.stopped, true);
  media.refuses = "";
  playback.wake();
  await settled();
  assert.deepEqual([media.paused, playback.stopped], [false, false]);
  media.refuses = "AbortError";
  await paused();
  assert.equal(playback.stopped, false, "a newer stream is on its way");
});

test("what the fan has paused stays so until the fan goes on", async () => {
  const { media, calls, playback } = element();
  playback.begin();
  await settled();
  playback.hold();
  playback.paused();
  playback.wake();
  playback.begin();
  await settled();
  assert.deepEqual([calls, media.paused, playback.stopped], [["play", "pause"], true, true]);
  playback.resume();
  await settled();
  assert.deepEqual([media.paused, playback.stopped], [false, false]);
});

test("who pauses again and again is not quarrelled with", async () => {
  const { media, clock, playback, paused } = element();
  playback.begin();
  await settled();
  for (let at = 0; at < RESUMES_MAX; at += 1) await paused();
  assert.equal(media.paused, false);
  await paused();
  assert.deepEqual([media.paused, playback.stopped], [true, true]);
  playback.resume();
  await settled();
  await clock.advance(WINDOW_MS);
  await paused();
  assert.deepEqual([media.paused, playback.stopped], [false, false]);
});

test("a stream that ends is no pause", async () => {
  const { media, calls, playback, paused } = element();
  media.ended = true;
  await paused();
  playback.wake();
  assert.deepEqual(calls, []);
});
