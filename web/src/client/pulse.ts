/**
 * Whether a connection that calls itself connected still carries anything. Browsers ask for consent on a path, and a
 * path can answer those checks while nothing else comes through it: behind a NAT that has moved the client's port,
 * for one. Pure.
 */

import { num, type Stat } from "./report.ts";

/** Counters of one moment. */
export interface Vitals {
  /** Bytes, reports and measurements that have come from the peer; it grows while the path works. */
  readonly received: number;
  /** Answers to connectivity checks, where the browser counts them. */
  readonly checks: number;
  /** Whether `received` has to grow: the peer sends media, or reports on ours. */
  readonly expected: boolean;
}

/** A peer that sends or reports speaks each second at least. After two such times without a word, the path is taken for dead. */
export const QUIET_MS = 2_000;
/** The same where there is reason to doubt: the network has changed, or the page has slept. */
export const DOUBT_MS = 1_200;
/** Looks that lie further apart were kept from their time: the page was frozen, or the device asleep. */
export const ASLEEP_MS = 3_000;

/** See the module. Times are in milliseconds of one clock. */
export class Pulse {
  #last: Vitals | undefined;
  #since: number;
  #looked: number;
  #signs = 0;

  constructor(now: number) {
    this.#since = now;
    this.#looked = now;
  }

  /** Counts looks at which something had come; checks count where nothing else is expected. */
  get signs(): number {
    return this.#signs;
  }

  /** Whether something has to come. */
  get expected(): boolean {
    return this.#last?.expected ?? false;
  }

  /** Silence so far says nothing, but a short one from here on does. */
  doubt(now: number): void {
    this.#looked = now;
    this.#since = now - (QUIET_MS - DOUBT_MS);
  }

  look(now: number, vitals: Vitals): void {
    if (now - this.#looked > ASLEEP_MS || now < this.#looked) this.doubt(now);
    this.#looked = now;
    const last = this.#last;
    this.#last = vitals;
    const grew = last !== undefined && vitals.received !== last.received;
    const checked = last !== undefined && !vitals.expected && vitals.checks !== last.checks;
    if (grew || checked) this.#signs += 1;
    if (grew || !vitals.expected) this.#since = now;
  }

  /** Whether nothing has come for too long. */
  quiet(now: number): boolean {
    return this.expected && now - this.#since >= QUIET_MS;
  }
}

/**
 * What a report says of a viewer's connection. The server sends media, and reports on it for as long as the session
 * lives, whether the artist sends anything or not. Data channels count for nothing: they may find a way that media
 * does not.
 */
export function viewerVitals(stats: ReadonlyMap<string, Stat>): Vitals {
  const inbound = total(stats, "inbound-rtp", "bytesReceived");
  // The time that the newest report names.
  const reported = total(stats, "remote-outbound-rtp", "remoteTimestamp");
  return { received: inbound + reported, checks: total(stats, "candidate-pair", "responsesReceived"), expected: inbound > 0 };
}

/** What a report says of a publisher's connection. `sentBefore`: packets sent at the look before. */
export function publisherVitals(stats: ReadonlyMap<string, Stat>, sentBefore: number): Vitals & { readonly sent: number } {
  const sent = total(stats, "outbound-rtp", "packetsSent");
  const measured = total(stats, "remote-inbound-rtp", "roundTripTimeMeasurements");
  const reported = [...stats.values()].some(({ type }) => type === "remote-inbound-rtp");
  return {
    // Most of the feedback stands in no other counter than the path's.
    received: total(stats, "candidate-pair", "bytesReceived") + measured,
    checks: total(stats, "candidate-pair", "responsesReceived"),
    expected: reported && sent > sentBefore,
    sent,
  };
}

function total(stats: ReadonlyMap<string, Stat>, type: string, name: string): number {
  let sum = 0;
  for (const stat of stats.values()) if (stat.type === type) sum += num(stat[name]) ?? 0;
  return sum;
}
