/** Reading `RTCPeerConnection.getStats()`. */

/** An entry of a report. */
export type Stat = Readonly<Record<string, unknown>> & { readonly id: string; readonly type: string; readonly timestamp: number };

/** The pair that media takes: the transport names it, or it is the nominated one (Firefox). */
export function activePair(stats: ReadonlyMap<string, Stat>): Stat | undefined {
  const all = [...stats.values()];
  const id = all.find((stat) => stat.type === "transport")?.["selectedCandidatePairId"];
  return (
    (typeof id === "string" ? stats.get(id) : undefined) ??
    all.find((stat) => stat.type === "candidate-pair" && stat["nominated"] === true && stat["state"] === "succeeded")
  );
}

/** Sent or received kilobits a second between two entries. */
export function kbps(before: Stat | undefined, now: Stat): number {
  const ms = before ? now.timestamp - before.timestamp : 0;
  if (!before || ms <= 0) return 0;
  const name = now.type === "inbound-rtp" ? "bytesReceived" : "bytesSent";
  const bytes = (num(now[name]) ?? 0) - (num(before[name]) ?? 0);
  return Math.max(0, (bytes * 8) / ms);
}

/** The value if it is a finite number. */
export function num(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** A report as a plain map. */
export function reportMap(report: RTCStatsReport): Map<string, Stat> {
  const map = new Map<string, Stat>();
  report.forEach((stat: Stat, id: string) => map.set(id, stat));
  return map;
}
