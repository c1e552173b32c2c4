/** What the video encoder is asked for. Pure. */

import type { VideoCodec } from "../client/whip.ts";

/** A picture size to choose, with a bit rate that suits it. */
export interface Resolution {
  readonly width: number;
  readonly height: number;
  readonly kbps: number;
}

/** Sizes on offer, the largest first. */
export const RESOLUTIONS: readonly Resolution[] = [
  { width: 1920, height: 1080, kbps: 4_500 },
  { width: 1280, height: 720, kbps: 2_500 },
  { width: 960, height: 540, kbps: 1_500 },
  { width: 640, height: 360, kbps: 800 },
];

/** Picture rates on offer. */
export const FRAME_RATES = [60, 30, 24] as const;
/** The least total bit rate that can be chosen. */
export const BITRATE_KBPS_MIN = 300;
/** The greatest, where the server sets no limit of its own. */
export const BITRATE_KBPS_MAX = 8_000;

/** Simulcast layers, lowest first as RFC 8853 lists them: id, divisor of the size, share of the bit rate. */
const THREE = [
  { rid: "l", scale: 4, share: 0.06 },
  { rid: "m", scale: 2, share: 0.22 },
  { rid: "h", scale: 1, share: 0.72 },
] as const;
const TWO = [
  { rid: "l", scale: 2, share: 0.25 },
  { rid: "h", scale: 1, share: 0.75 },
] as const;
/** By their number, from one on. */
const LAYOUTS: readonly (readonly { readonly scale: number; readonly share: number }[])[] = [[{ scale: 1, share: 1 }], TWO, THREE];
/**
 * Of pictures with fewer pixels than these, browsers send fewer layers than asked for, and leave out the largest:
 * fans would never see the picture in its own size.
 */
const THREE_PIXELS_MIN = 960 * 540;
const TWO_PIXELS_MIN = 480 * 270;

/** What the artist has chosen. */
export interface EncodingChoice {
  readonly codec: VideoCodec;
  readonly simulcast: boolean;
  /** Of all layers together. */
  readonly kbps: number;
  readonly fps: number;
  /** Of the picture as it is captured. */
  readonly pixels: number;
}

/** `sendEncodings` for the video transceiver. Bit rates add up to the chosen one. */
export function videoEncodings({ codec, simulcast, kbps, fps, pixels }: EncodingChoice): RTCRtpEncodingParameters[] {
  const total = kbps * 1_000;
  const layers = layersFor(pixels);
  if (!simulcast || layers === 1) return [{ maxBitrate: total, maxFramerate: fps, ...temporalLayers(codec) }];
  // Without a mode of their own, VP9 and AV1 would turn the encodings into spatial layers of one stream.
  const mode = codec === "VP9" || codec === "AV1" ? { scalabilityMode: "L1T2" } : {};
  return (layers === TWO.length ? TWO : THREE).map(({ rid, scale, share }) => ({
    rid,
    scaleResolutionDownBy: scale,
    maxBitrate: Math.round(total * share),
    maxFramerate: fps,
    ...mode,
  }));
}

/**
 * Three temporal layers for a single encoding: fans on weak networks then get fewer pictures instead of none. Browsers
 * without the field ignore it. H.264 keeps its default: few hardware encoders divide it into layers, and a browser
 * would encode in software to please us. VP8 in simulcast has temporal layers anyway.
 */
function temporalLayers(codec: VideoCodec): { scalabilityMode?: string } {
  return codec === "H264" ? {} : { scalabilityMode: "L1T3" };
}

/** What running encodings are fitted to. */
export interface Fit {
  /** Of all layers together. */
  readonly kbps: number;
  /** Of the picture as it is captured now; 0 when that is not known. */
  readonly pixels: number;
  /** Ids of layers that nobody watches. */
  readonly unwanted: ReadonlySet<string>;
}

/** Running encodings, and the ids of those that a picture of this size has no use for. */
export interface Fitted {
  readonly encodings: RTCRtpEncodingParameters[];
  readonly needless: ReadonlySet<string>;
}

/**
 * Fits running encodings, the lowest first, to a bit rate and a size; their number and order stay. A picture that has
 * become small goes out in full size in one of the lower encodings, and those above it rest: browsers would leave the
 * largest out otherwise. What nobody watches rests too, but never all of it: the next viewer starts from what is sent.
 */
export function fitted(encodings: readonly RTCRtpEncodingParameters[], { kbps, pixels, unwanted }: Fit): Fitted {
  const layers = LAYOUTS[Math.min(encodings.length, pixels > 0 ? layersFor(pixels) : THREE.length) - 1] ?? THREE;
  const used = encodings.slice(0, layers.length);
  const isUnwanted = ({ rid }: RTCRtpEncodingParameters) => rid !== undefined && unwanted.has(rid);
  // The uppermost that is used stands in for those above it.
  const rests = (at: number) => encodings.slice(at, at === used.length - 1 ? undefined : at + 1).every(isUnwanted);
  const all = used.every((_, at) => rests(at));
  return {
    encodings: encodings.map((encoding, at) => {
      const layer = layers[at];
      if (!layer) return { ...encoding, active: false };
      const scale = encodings.length > 1 ? { scaleResolutionDownBy: layer.scale } : {};
      return { ...encoding, ...scale, maxBitrate: Math.round(kbps * 1_000 * layer.share), active: all || !rests(at) };
    }),
    needless: new Set(encodings.slice(layers.length).flatMap(({ rid }) => rid ?? [])),
  };
}

/** How many layers browsers send of a picture. */
function layersFor(pixels: number): number {
  if (pixels < TWO_PIXELS_MIN) return 1;
  return pixels < THREE_PIXELS_MIN ? TWO.length : THREE.length;
}
