/** The viewer's figures, from `getStats()` and from painted frames. Pure. */

import type { KindBytes } from "./kinds.ts";
import { activePair, kbps, num, type Stat } from "../client/report.ts";

/** How the latency was found, the best first. */
export type LatencySource =
  /** Capture time of a painted frame, brought to this clock by the browser. */
  | "frame"
  /** Playout time in the sender's clock: right only as far as both clocks agree. */
  | "clock"
  /** Half a round trip, buffer and decoding: the part behind the server. */
  | "part";

/** A latency in milliseconds and where it comes from. */
export interface Latency {
  readonly ms: number;
  readonly source: LatencySource;
}

/** Figures of one moment. */
export interface WatchFigures {
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly kbps: number;
  readonly jitterBufferMs: number | undefined;
  readonly rttMs: number | undefined;
  /** Of the last interval, 0 to 1. */
  readonly loss: number | undefined;
  readonly freezes: number;
  readonly codec: string;
  readonly path: string;
  /** Received since the session began. */
  readonly bytes: KindBytes;
  readonly latency: Latency | undefined;
}

/** Longer than any live latency: such a value comes from clocks that disagree. */
const LATENCY_MS_MAX = 30_000;
/** Seconds from 1900, where NTP time begins, to 1970. */
const NTP_UNIX_SECONDS = 2_208_988_800;

/** Metadata of `requestVideoFrameCallback` as far as it matters here. */
export interface FrameTimes {
  readonly expectedDisplayTime: number;
  readonly captureTime?: number;
}

/** Camera to screen of one frame. Both times are on the page's clock. */
export function frameLatency({ captureTime, expectedDisplayTime }: FrameTimes): number | undefined {
  return captureTime === undefined ? undefined : plausible(expectedDisplayTime - captureTime);
}

/** Figures between two reports. `frameMs` is the latency of recent frames, `nowMs` Unix time. */
export function watchFigures(
  before: ReadonlyMap<string, Stat>,
  now: ReadonlyMap<string, Stat>,
  frameMs: number | undefined,
  nowMs: number,
): WatchFigures {
  const inbound = [...now.values()].filter((stat) => stat.type === "inbound-rtp");
  // Of several pictures the main one, which is in the first section.
  const [video] = inbound.filter((stat) => stat["kind"] === "video").sort((a, b) => Number(a["mid"] ?? 0) - Number(b["mid"] ?? 0));
  const old = video && before.get(video.id);
  const pair = activePair(now);
  const rtt = num(pair?.["currentRoundTripTime"]);
  const local = now.get(String(pair?.["localCandidateId"]));
  const rttMs = rtt === undefined ? undefined : rtt * 1_000;
  const jitterBufferMs = per(old, video, "jitterBufferDelay", "jitterBufferEmittedCount");
  return {
    width: num(video?.["frameWidth"]) ?? 0,
    height: num(video?.["frameHeight"]) ?? 0,
    fps: num(video?.["framesPerSecond"]) ?? 0,
    kbps: inbound.reduce((total, stat) => total + kbps(before.get(stat.id), stat), 0),
    jitterBufferMs,
    rttMs,
    loss: lossBetween(old, video),
    freezes: num(video?.["freezeCount"]) ?? 0,
    codec: String(now.get(String(video?.["codecId"]))?.["mimeType"] ?? "").replace("video/", ""),
    path: String(local?.["relayProtocol"] ?? local?.["protocol"] ?? ""),
    bytes: { audio: bytesOf(inbound, "audio"), video: bytesOf(inbound, "video") },
    latency: latency(frameMs, video, rttMs, per(old, video, "totalProcessingDelay", "framesDecoded"), nowMs),
  };
}

function bytesOf(inbound: readonly Stat[], kind: string): number {
  return inbound.reduce((total, stat) => total + (stat["kind"] === kind ? (num(stat["bytesReceived"]) ?? 0) : 0), 0);
}

function latency(
  frameMs: number | undefined,
  video: Stat | undefined,
  rttMs: number | undefined,
  processingMs: number | undefined,
  nowMs: number,
): Latency | undefined {
  if (frameMs !== undefined) return { ms: frameMs, source: "frame" };
  const playout = num(video?.["estimatedPlayoutTimestamp"]);
  // Browsers count it from 1900 or from 1970.
  const playoutUnix = playout !== undefined && playout > NTP_UNIX_SECONDS * 1_000 ? playout - NTP_UNIX_SECONDS * 1_000 : playout;
  const byClock = playoutUnix === undefined ? undefined : plausible(nowMs - playoutUnix);
  if (byClock !== undefined) return { ms: byClock, source: "clock" };
  // The processing delay reaches from a frame's first packet to its decoded picture, the jitter buffer included.
  if (rttMs === undefined || processingMs === undefined) return undefined;
  return { ms: rttMs / 2 + processingMs, source: "part" };
}

function plausible(ms: number): number | undefined {
  return ms > 0 && ms < LATENCY_MS_MAX ? ms : undefined;
}

/** Growth of a sum of seconds over growth of a count, in milliseconds. */
function per(before: Stat | undefined, now: Stat | undefined, sum: string, count: string): number | undefined {
  const counted = (num(now?.[count]) ?? 0) - (num(before?.[count]) ?? 0);
  if (counted <= 0) return undefined;
  return (((num(now?.[sum]) ?? 0) - (num(before?.[sum]) ?? 0)) / counted) * 1_000;
}

function lossBetween(before: Stat | undefined, now: Stat | undefined): number | undefined {
  const lost = (num(now?.["packetsLost"]) ?? 0) - (num(before?.["packetsLost"]) ?? 0);
  const received = (num(now?.["packetsReceived"]) ?? 0) - (num(before?.["packetsReceived"]) ?? 0);
  const sent = lost + received;
  return sent > 0 ? Math.max(0, lost) / sent : undefined;
}

/** The middle of the last few values: one late frame does not make the figure jump. */
export class RunningMedian {
  #values: number[] = [];

  constructor(private readonly capacity: number) {}

  add(value: number): void {
    this.#values.push(value);
    if (this.#values.length > this.capacity) this.#values.shift();
  }

  clear(): void {
    this.#values = [];
  }

  get value(): number | undefined {
    return [...this.#values].sort((a, b) => a - b)[Math.floor(this.#values.length / 2)];
  }
}
