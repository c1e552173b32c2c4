/** Figures of a running show, from `RTCPeerConnection.getStats()`. Pure: a report in, figures out. */

import { activePair, kbps, num, type Stat } from "../client/report.ts";

/** One simulcast layer, or the only stream (`rid` empty). */
export interface LayerFigures {
  readonly rid: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly kbps: number;
  /** `none`, `cpu`, `bandwidth` or `other`. */
  readonly limit: string;
  readonly encoder: string;
  /** What becomes of it: nobody watches it; the picture is too small for it; or it is sent, or not. */
  readonly state: "sent" | "stopped" | "unwatched" | "needless";
}

/** All figures of one moment. */
export interface SendFigures {
  readonly videoKbps: number;
  readonly audioKbps: number;
  readonly rttMs: number | undefined;
  /** 0 to 1, as the server last reported. */
  readonly loss: number | undefined;
  /** What the congestion control believes there is room for. */
  readonly availableKbps: number | undefined;
  /** The strongest limit of all layers. */
  readonly limit: string;
  readonly codec: string;
  /** `udp` or `tcp`. */
  readonly path: string;
  /** Lowest first. */
  readonly layers: readonly LayerFigures[];
}

const RID_ORDER = ["l", "m", "h"];
const LIMITS = ["none", "other", "bandwidth", "cpu"];

/** Ids of layers that rest on purpose. */
export interface Resting {
  readonly unwanted: ReadonlySet<string>;
  readonly needless: ReadonlySet<string>;
}

const NONE: Resting = { unwanted: new Set(), needless: new Set() };

/** What changed from `before` to `now`; rates need both. */
export function sendFigures(
  before: ReadonlyMap<string, Stat>,
  now: ReadonlyMap<string, Stat>,
  resting: Resting = NONE,
): SendFigures {
  const all = [...now.values()];
  const outbound = all.filter((stat) => stat.type === "outbound-rtp");
  const layers = outbound
    .filter((stat) => stat["kind"] === "video")
    .map((stat) => layerFigures(before.get(stat.id), stat, resting))
    .sort((a, b) => RID_ORDER.indexOf(a.rid) - RID_ORDER.indexOf(b.rid));
  const remote = all.filter((stat) => stat.type === "remote-inbound-rtp");
  const losses = remote.flatMap((stat) => num(stat["fractionLost"]) ?? []);
  const pair = activePair(now);
  const rtt = num(pair?.["currentRoundTripTime"]) ?? remote.flatMap((stat) => num(stat["roundTripTime"]) ?? [])[0];
  const available = num(pair?.["availableOutgoingBitrate"]);
  const local = now.get(String(pair?.["localCandidateId"]));
  const codecId = outbound.find((stat) => stat["kind"] === "video")?.["codecId"];
  return {
    videoKbps: sum(layers.map(({ kbps }) => kbps)),
    audioKbps: sum(outbound.filter((stat) => stat["kind"] === "audio").map((stat) => kbps(before.get(stat.id), stat))),
    rttMs: rtt === undefined ? undefined : rtt * 1_000,
    loss: losses.length > 0 ? Math.max(...losses) : undefined,
    availableKbps: available === undefined ? undefined : available / 1_000,
    limit: layers.filter(({ state }) => state === "sent" || state === "stopped").reduce((worst, { limit }) => (LIMITS.indexOf(limit) > LIMITS.indexOf(worst) ? limit : worst), "none"),
    codec: String(now.get(String(codecId))?.["mimeType"] ?? "").replace("video/", ""),
    path: String(local?.["relayProtocol"] ?? local?.["protocol"] ?? ""),
    layers,
  };
}

function layerFigures(before: Stat | undefined, now: Stat, { unwanted, needless }: Resting): LayerFigures {
  const seconds = before ? (now.timestamp - before.timestamp) / 1_000 : 0;
  const frames = (num(now["framesEncoded"]) ?? 0) - (num(before?.["framesEncoded"]) ?? 0);
  const rid = String(now["rid"] ?? "");
  const rate = kbps(before, now);
  const sent = before === undefined || rate > 0 || frames > 0;
  return {
    rid,
    state: needless.has(rid) ? "needless" : unwanted.has(rid) ? "unwatched" : sent ? "sent" : "stopped",
    width: num(now["frameWidth"]) ?? 0,
    height: num(now["frameHeight"]) ?? 0,
    fps: num(now["framesPerSecond"]) ?? (seconds > 0 ? frames / seconds : 0),
    kbps: rate,
    limit: String(now["qualityLimitationReason"] ?? "none"),
    encoder: String(now["encoderImplementation"] ?? ""),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
