import assert from "node:assert/strict";
import { test } from "node:test";
import { VIDEO_CODECS } from "../src/client/whip.ts";
import { en } from "../src/i18n/dictionary.ts";
import { deviceErrorKey } from "../src/studio/devices.ts";
import { BITRATE_KBPS_MAX, BITRATE_KBPS_MIN, FRAME_RATES, RESOLUTIONS, fitted, videoEncodings } from "../src/studio/encodings.ts";
import { hintText } from "../src/studio/hints.ts";
import { loudness } from "../src/studio/level.ts";
import { parseOnAir } from "../src/studio/onair.ts";
import { sendFigures } from "../src/studio/stats.ts";
import type { Stat } from "../src/client/report.ts";

test("simulcast: three layers, the lowest first, that share the chosen bit rate", () => {
  for (const codec of VIDEO_CODECS) {
    const encodings = videoEncodings({ codec, simulcast: true, kbps: 2_500, fps: 30, pixels: 1280 * 720 });
    assert.deepEqual(encodings.map(({ rid }) => rid), ["l", "m", "h"]);
    assert.deepEqual(encodings.map(({ scaleResolutionDownBy }) => scaleResolutionDownBy), [4, 2, 1]);
    assert.equal(encodings.reduce((sum, { maxBitrate }) => sum + (maxBitrate ?? 0), 0), 2_500_000);
    const rates = encodings.map(({ maxBitrate }) => maxBitrate ?? 0);
    assert.deepEqual(rates, [...rates].sort((a, b) => a - b));
    // VP9 and AV1 would make one stream with spatial layers of it otherwise.
    const modes = new Set(encodings.map((encoding) => (encoding as { scalabilityMode?: string }).scalabilityMode));
    assert.deepEqual([...modes], [codec === "VP9" || codec === "AV1" ? "L1T2" : undefined]);
  }
});

test("small pictures have fewer layers, so that the largest is always sent", () => {
  for (const [width, height, wanted] of [
    [1920, 1080, [4, 2, 1]], [720, 1280, [4, 2, 1]], [960, 540, [4, 2, 1]],
    [640, 480, [2, 1]], [640, 360, [2, 1]], [480, 270, [2, 1]],
    [320, 180, [undefined]], [0, 0, [undefined]],
  ] as const) {
    const encodings = videoEncodings({ codec: "VP8", simulcast: true, kbps: 1_000, fps: 30, pixels: width * height });
    assert.deepEqual(encodings.map(({ scaleResolutionDownBy }) => scaleResolutionDownBy), wanted, `${width}x${height}`);
    assert.equal(encodings.reduce((sum, { maxBitrate }) => sum + (maxBitrate ?? 0), 0), 1_000_000);
  }
});

test("without simulcast: one encoding with all of it", () => {
  assert.deepEqual(videoEncodings({ codec: "H264", simulcast: false, kbps: 800, fps: 24, pixels: 1280 * 720 }), [{ maxBitrate: 800_000, maxFramerate: 24 }]);
  for (const codec of VIDEO_CODECS) {
    const [encoding] = videoEncodings({ codec, simulcast: false, kbps: 800, fps: 24, pixels: 1280 * 720 });
    assert.equal((encoding as { scalabilityMode?: string }).scalabilityMode, codec === "H264" ? undefined : "L1T3");
  }
});

const NOBODY: ReadonlySet<string> = new Set();
const FULL_HD = 1920 * 1080;
/** Encodings of a show that began with this many pixels. */
const running = (pixels: number, simulcast = true) =>
  videoEncodings({ codec: "VP8", simulcast, kbps: 1_000, fps: 30, pixels }).map((encoding) => ({ ...encoding, active: true }));

test("a new bit rate keeps the encodings as they are otherwise", () => {
  for (const pixels of [1280 * 720, 640 * 360, 320 * 180]) {
    const { encodings } = fitted(running(pixels), { kbps: 3_000, pixels, unwanted: NOBODY });
    const rest = (all: RTCRtpEncodingParameters[]) => all.map(({ maxBitrate, scaleResolutionDownBy = 1, ...more }) => ({ scaleResolutionDownBy, ...more }));
    assert.deepEqual(rest(encodings), rest(running(pixels)));
    assert.equal(encodings.reduce((sum, { maxBitrate }) => sum + (maxBitrate ?? 0), 0), 3_000_000);
  }
  assert.deepEqual(fitted([{ active: true }], { kbps: 500, pixels: 0, unwanted: NOBODY }).encodings, [{ active: true, maxBitrate: 500_000 }]);
  assert.deepEqual(fitted([], { kbps: 500, pixels: FULL_HD, unwanted: NOBODY }).encodings, []);
});

for (const [what, begun, now, wanted] of [
  ["a large picture", FULL_HD, 1280 * 720, ["l/4", "m/2", "h/1"]],
  ["a picture that has become small goes out whole in a lower layer", FULL_HD, 640 * 360, ["l/2", "m/1", "h off"]],
  ["one that is tiny, in the lowest", FULL_HD, 320 * 180, ["l/1", "m off", "h off"]],
  ["two layers that are one", 640 * 360, 320 * 180, ["l/1", "h off"]],
  ["two layers of a picture that has grown", 640 * 360, FULL_HD, ["l/2", "h/1"]],
  ["a size that is not known", FULL_HD, 0, ["l/4", "m/2", "h/1"]],
] as const) {
  test(`sizes while live: ${what}`, () => {
    const { encodings, needless } = fitted(running(begun), { kbps: 1_000, pixels: now, unwanted: NOBODY });
    assert.deepEqual(encodings.map(({ rid, active, scaleResolutionDownBy }) => (active ? `${rid}/${scaleResolutionDownBy}` : `${rid} off`)), wanted);
    assert.deepEqual([...needless], encodings.filter(({ active }) => !active).map(({ rid }) => rid));
    const sent = encodings.filter(({ active }) => active);
    assert.equal(sent.reduce((sum, { maxBitrate }) => sum + (maxBitrate ?? 0), 0), 1_000_000);
    // Going back gives what there was.
    const back = fitted(encodings, { kbps: 1_000, pixels: begun, unwanted: NOBODY }).encodings;
    assert.deepEqual(back, running(begun));
  });
}

test("a single encoding keeps its size", () => {
  assert.deepEqual(fitted(running(FULL_HD, false), { kbps: 1_000, pixels: 320 * 180, unwanted: NOBODY }).encodings, running(FULL_HD, false));
});

test("unwatched layers rest, and never all of them", () => {
  const active = (pixels: number, ...unwanted: string[]) =>
    fitted(running(FULL_HD), { kbps: 1, pixels, unwanted: new Set(unwanted) }).encodings.map((e) => e.active);
  assert.deepEqual(active(FULL_HD), [true, true, true]);
  assert.deepEqual(active(FULL_HD, "m", "h", "x"), [true, false, false]);
  assert.deepEqual(active(FULL_HD, "l", "m", "h"), [true, true, true]);
  // The middle one carries what those want who look at the highest.
  assert.deepEqual(active(640 * 360, "l", "m"), [false, true, false]);
  assert.deepEqual(active(640 * 360, "m", "h"), [true, false, false]);
  assert.deepEqual(active(640 * 360, "l", "m", "h"), [true, true, false]);
});

test("what is on offer fits together", () => {
  for (const { width, height, kbps } of RESOLUTIONS) {
    assert.equal(width * 9, height * 16);
    assert.ok(kbps >= BITRATE_KBPS_MIN && kbps * 1.4 <= BITRATE_KBPS_MAX, String(kbps));
    // A quarter of it must still be even in both directions: encoders need that.
    assert.ok(Math.floor(width / 4) > 0 && Math.floor(height / 4) >= 90);
  }
  assert.ok(FRAME_RATES.includes(30));
});

for (const [name, asked, key] of [
  ["NotAllowedError", "both", "device.refused"],
  ["NotAllowedError", "camera", "device.camera.refused"],
  ["NotAllowedError", "screen", "device.screen.refused"],
  ["SecurityError", "microphone", "device.microphone.refused"],
  ["NotFoundError", "both", "device.missing"],
  ["NotFoundError", "microphone", "device.microphone.missing"],
  ["NotReadableError", "camera", "device.camera.busy"],
  ["AbortError", "both", "device.busy"],
  ["OverconstrainedError", "camera", "device.unfit"],
  ["TypeError", "both", "device.unsupported"],
  ["AnErrorOfTomorrow", "both", "device.other"],
] as const) {
  test(`a device fails with ${name} (${asked})`, () => {
    assert.equal(deviceErrorKey(name, asked), key);
    assert.ok(key in en);
  });
}

test("hints have words of their own where their code is known, else the server's", () => {
  for (const code of [
    "b_frames", "long_keyframe_interval", "no_keyframes", "keyframe_requests_ignored", "no_parameter_sets",
    "no_video_packets", "no_audio_packets", "unplaced_packets", "changing_ssrc", "mono_audio",
  ]) {
    assert.notEqual(hintText({ code, message: "as the server says" }), "as the server says", code);
  }
  assert.equal(hintText({ code: "of_tomorrow", message: "Something new." }), "Something new.");
});

test("a show is gone on with while its room waits, and not later", () => {
  const show = { since: 1_000, seen: 5_000, settings: { codec: "VP8" } };
  const text = JSON.stringify(show);
  assert.deepEqual(parseOnAir(text, 35_000, 30_000), show);
  assert.equal(parseOnAir(text, 35_001, 30_000), undefined);
  assert.equal(parseOnAir(text, 4_999, 30_000), undefined, "a clock that was set back");
  for (const junk of [null, "", "{", "null", "[]", '{"since":1}', '{"since":1,"seen":"2","settings":{}}', '{"since":1,"seen":2,"settings":null}']) {
    assert.equal(parseOnAir(junk, 5_000, 30_000), undefined);
  }
});

test("loudness is logarithmic and bounded", () => {
  const level = (amplitude: number) => loudness(new Float32Array(256).fill(amplitude));
  assert.equal(level(0), 0);
  assert.equal(level(1), 1);
  assert.equal(level(10), 1);
  assert.equal(level(0.000_01), 0);
  assert.ok(Math.abs(level(10 ** (-30 / 20)) - 0.5) < 1e-6, "30 dB below full scale stands in the middle");
  assert.equal(loudness(new Float32Array(0)), 0);
});

const report = (...stats: (Partial<Stat> & { id: string; type: string })[]) =>
  new Map(stats.map((stat) => [stat.id, { timestamp: 0, ...stat } as Stat]));

test("figures of a simulcast show", () => {
  const video = (rid: string, timestamp: number, more: object) =>
    ({ id: `v${rid}`, type: "outbound-rtp", kind: "video", rid, timestamp, codecId: "c", ...more });
  const before = report(video("h", 1_000, { bytesSent: 0 }), video("l", 1_000, { bytesSent: 100 }));
  const now = report(
    video("h", 2_000, { bytesSent: 250_000, framesPerSecond: 30, frameWidth: 1280, frameHeight: 720, qualityLimitationReason: "bandwidth" }),
    video("l", 2_000, { bytesSent: 12_600, framesPerSecond: 29, frameWidth: 320, frameHeight: 180, qualityLimitationReason: "none" }),
    { id: "a", type: "outbound-rtp", kind: "audio", timestamp: 2_000, bytesSent: 9_000 },
    { id: "c", type: "codec", mimeType: "video/VP8" },
    { id: "t", type: "transport", selectedCandidatePairId: "p" },
    { id: "p", type: "candidate-pair", localCandidateId: "lc", currentRoundTripTime: 0.012, availableOutgoingBitrate: 3_000_000 },
    { id: "lc", type: "local-candidate", protocol: "udp" },
    { id: "r", type: "remote-inbound-rtp", fractionLost: 0.02 },
  );
  const figures = sendFigures(before, now);
  assert.deepEqual(figures.layers.map(({ rid, kbps, width }) => [rid, kbps, width]), [["l", 100, 320], ["h", 2_000, 1280]]);
  assert.deepEqual(
    { ...figures, layers: [] },
    { videoKbps: 2_100, audioKbps: 0, rttMs: 12, loss: 0.02, availableKbps: 3_000, limit: "bandwidth", codec: "VP8", path: "udp", layers: [] },
  );
});

test("a layer that does not go out is told from one that does", () => {
  const video = (rid: string, timestamp: number, more: object = {}) =>
    ({ id: `v${rid}`, type: "outbound-rtp", kind: "video", rid, timestamp, bytesSent: 500, framesEncoded: 9, ...more });
  const before = report(video("l", 1_000), video("m", 1_000), video("h", 1_000));
  const now = report(video("l", 2_000, { bytesSent: 900 }), video("m", 2_000), video("h", 2_000));
  const states = (unwanted: string[], needless: string[]) =>
    sendFigures(before, now, { unwanted: new Set(unwanted), needless: new Set(needless) }).layers.map(({ state }) => state);
  assert.deepEqual(states([], []), ["sent", "stopped", "stopped"]);
  assert.deepEqual(states(["m", "h"], ["h"]), ["sent", "unwatched", "needless"]);
});

test("figures of nothing", () => {
  assert.deepEqual(sendFigures(new Map(), new Map()), {
    videoKbps: 0, audioKbps: 0, rttMs: undefined, loss: undefined, availableKbps: undefined, limit: "none", codec: "", path: "", layers: [],
  });
});
