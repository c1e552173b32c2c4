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
  if (!simulcast || pixels < TWO_PIXELS_MIN) return [{ maxBitrate: total, maxFramerate: fps, ...temporalLayers(codec) }];
  // Without a mode of their own, VP9 and AV1 would turn the encodings into spatial layers of one stream.
  const mode = codec === "VP9" || codec === "AV1" ? { scalabilityMode: "L1T2" } : {};
  return (pixels < THREE_PIXELS_MIN ? TWO : THREE).map(({ rid, scale, share }) => ({
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

/**
 * Lets those encodings rest whose ids are unwanted, and wakes all others. Never all of them: the next viewer starts
 * from what is sent.
 */
export function withoutUnwanted(
  encodings: readonly RTCRtpEncodingParameters[],
  unwanted: ReadonlySet<string>,
): RTCRtpEncodingParameters[] {
  const rests = ({ rid }: RTCRtpEncodingParameters) => rid !== undefined && unwanted.has(rid);
  const all = encodings.every(rests);
  return encodings.map((encoding) => ({ ...encoding, active: all || !rests(encoding) }));
}

/** Gives running encodings a new bit rate; their number and order stay. */
export function withBitrate(encodings: readonly RTCRtpEncodingParameters[], kbps: number): RTCRtpEncodingParameters[] {
  const layers: readonly { rid: string; share: number }[] = encodings.length === TWO.length ? TWO : THREE;
  return encodings.map((encoding) => {
    const layer = layers.find(({ rid }) => rid === encoding.rid);
    return { ...encoding, maxBitrate: Math.round(kbps * 1_000 * (layer?.share ?? 1)) };
  });
}
