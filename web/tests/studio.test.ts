import assert from "node:assert/strict";
import { test } from "node:test";
import { VIDEO_CODECS } from "../src/client/whip.ts";
import { en } from "../src/i18n/dictionary.ts";
import { deviceErrorKey } from "../src/studio/devices.ts";
import { BITRATE_KBPS_MAX, BITRATE_KBPS_MIN, FRAME_RATES, RESOLUTIONS, videoEncodings, withBitrate, withoutUnwanted } from "../src/studio/encodings.ts";
import { loudness } from "../src/studio/level.ts";
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

test("a new bit rate keeps the encodings as they are otherwise", () => {
  for (const pixels of [1280 * 720, 640 * 360, 320 * 180]) {
    const running = videoEncodings({ codec: "VP8", simulcast: true, kbps: 1_000, fps: 30, pixels }).map((e) => ({ ...e, active: true }));
    const changed = withBitrate(running, 3_000);
    assert.deepEqual(changed.map(({ maxBitrate, ...rest }) => rest), running.map(({ maxBitrate, ...rest }) => rest));
    assert.equal(changed.reduce((sum, { maxBitrate }) => sum + (maxBitrate ?? 0), 0), 3_000_000);
  }
  assert.deepEqual(withBitrate([{ active: true }], 500), [{ active: true, maxBitrate: 500_000 }]);
  assert.deepEqual(withBitrate([], 500), []);
});

test("unwanted layers rest, and never all of them", () => {
  const running = [{ rid: "l", maxBitrate: 1 }, { rid: "m" }, { rid: "h", active: false }] as RTCRtpEncodingParameters[];
  const active = (...unwanted: string[]) => withoutUnwanted(running, new Set(unwanted)).map((e) => e.active);
  assert.deepEqual(active(), [true, true, true]);
  assert.deepEqual(active("m", "h", "x"), [true, false, false]);
  assert.deepEqual(active("l", "m", "h"), [true, true, true]);
  assert.equal(withoutUnwanted(running, new Set(["l"]))[0]?.maxBitrate, 1);
  assert.deepEqual(withoutUnwanted([{}], new Set(["l"])), [{ active: true }]);
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

for (const [name, screen, key] of [
  ["NotAllowedError", false, "device.refused"],
  ["NotAllowedError", true, "device.screen.refused"],
  ["SecurityError", false, "device.refused"],
  ["NotFoundError", false, "device.missing"],
  ["NotReadableError", false, "device.busy"],
  ["AbortError", false, "device.busy"],
  ["OverconstrainedError", false, "device.unfit"],
  ["TypeError", false, "device.unsupported"],
  ["AnErrorOfTomorrow", false, "device.other"],
] as const) {
  test(`a device fails with ${name}${screen ? " (screen)" : ""}`, () => {
    assert.equal(deviceErrorKey(name, screen), key);
    assert.ok(key in en);
  });
}

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

test("figures of nothing", () => {
  assert.deepEqual(sendFigures(new Map(), new Map()), {
    videoKbps: 0, audioKbps: 0, rttMs: undefined, loss: undefined, availableKbps: undefined, limit: "none", codec: "", path: "", layers: [],
  });
});
