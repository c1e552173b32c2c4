// A show that viewers can join: from Chromium, or a clip in a loop.
import { until } from './browser.mjs';
import { ClipPublisher, record } from './clip.mjs';

export const SHOW_FLAGS = {
  source: { kind: 'text', default: 'camera', help: 'camera: the fake camera and microphone; canvas: the painted one of glass2glass, no sound' },
  gop: { kind: 'number', default: 0, help: 'publish a recorded clip with a keyframe every so many seconds, which no request shortens; 0: Chromium publishes, and answers requests' },
  publisher: { kind: 'text', default: 'target/release/lightstick-bench', help: 'with --gop: what publishes the clip' },
  width: { kind: 'number', default: 1280, help: 'picture width' },
  height: { kind: 'number', default: 720, help: 'picture height' },
  bitrate: { kind: 'number', default: 2_500_000, help: "the encoder's limit in bit/s" },
};

/** Starts a show, and returns once it runs. Close it. */
export function goLive(flags, artist, target, room, codec) {
  return (flags.gop > 0 ? clipShow : browserShow)(flags, artist, target, room, codec);
}

/** Publishes from `artist`, and waits until the show runs at its full size. */
async function browserShow(flags, artist, target, room, codec) {
  const { width, height, bitrate: maxBitrate } = flags;
  await artist.evaluate(async ([source, size]) => {
    globalThis.stream ??= source === 'canvas' ? new clock.Painter({ ...size, fps: 30 }).stream : await bench.camera(size);
  }, [flags.source, { width, height }]);
  const key = await artist.evaluate((options) => bench.publish({ ...options, stream }), {
    url: target.whip(room), token: target.token, codec, maxBitrate,
  });
  await until('the artist sends at full size', async () => {
    const { frameWidth, framesPerSecond } = await artist.evaluate((k) => bench.video(k), key);
    return { ok: frameWidth === width && framesPerSecond >= 25, value: { frameWidth, framesPerSecond } };
  }, { within: 30_000 });
  return {
    figures: async () => ({ keyframesEncoded: (await artist.evaluate((k) => bench.video(k), key)).keyFramesEncoded }),
    close: () => artist.evaluate((k) => bench.close(k), key),
  };
}

/** Publishes what `artist` has recorded. */
async function clipShow(flags, artist, target, room, codec) {
  const { width, height, bitrate, gop } = flags;
  const clip = await record(artist, { codec, width, height, bitrate, gop });
  const publisher = await ClipPublisher.start(flags.publisher, clip, target.whip(room), target.token);
  return { figures: async () => ({ gopSeconds: gop, clipBytes: clip.length }), close: () => publisher.close() };
}
