/** The events of a publisher's session (`text/event-stream`): layers that nobody watches, the audience, and what is wrong with the stream. */

import type { Schedule } from "./keeper.ts";

/** How long a stream that the server has closed is left alone, in milliseconds. */
export const RETRY_MS = 3_000;

/** What of `EventSource` is used, so that tests can stand in for the network. */
export interface Stream {
  readonly readyState: number;
  addEventListener(type: string, listener: (event: Event) => void): void;
  close(): void;
}

const CLOSED = 2;

/** What the server finds wrong with the media that it gets. */
export interface Hint {
  /** Stable, for a text in the user's language. */
  readonly code: string;
  /** One English sentence, where the code is not known. */
  readonly message: string;
}

/** Callbacks of [`followPublisher`]. */
export interface PublisherListener {
  /** Ids of the layers that need not be sent. */
  onUnwanted(rids: ReadonlySet<string>): void;
  /** How many watch; `undefined` while that cannot be known. */
  onAudience(viewers: number | undefined): void;
  /** All that is wrong now. */
  onHints(hints: readonly Hint[]): void;
}

/** The track that a session of ours sends: it has one picture. */
const TRACK = "video-1";

/** Reads a `layers` event: the ids of the layers that are not wanted. `undefined`: it is none that we know. */
export function parseWishes(data: string): ReadonlySet<string> | undefined {
  const layers = field(data, "layers");
  if (!Array.isArray(layers)) return undefined;
  const unwanted = layers.flatMap((layer: unknown) => {
    const { track = TRACK, rid, wanted } = record(layer);
    return track === TRACK && typeof rid === "string" && wanted === false ? [rid] : [];
  });
  return new Set(unwanted);
}

/** Reads an `audience` event. */
export function parseAudience(data: string): number | undefined {
  const viewers = field(data, "viewers");
  return typeof viewers === "number" && viewers >= 0 ? viewers : undefined;
}

/** Reads a `hints` event. */
export function parseHints(data: string): readonly Hint[] | undefined {
  const hints = field(data, "hints");
  if (!Array.isArray(hints)) return undefined;
  return hints.flatMap((hint: unknown) => {
    const { code, message } = record(hint);
    return typeof code === "string" && typeof message === "string" ? [{ code, message }] : [];
  });
}

/**
 * Follows the events until the returned function is called. Whatever becomes of the stream, it is opened again, and
 * the server repeats the present state then. Meanwhile nothing is unwanted: a wish might come that is not heard.
 */
export function followPublisher(open: () => Stream, schedule: Schedule, listener: PublisherListener): () => void {
  let stream: Stream | undefined;
  let cancel = () => {};
  const start = () => {
    const opened = open();
    stream = opened;
    const on = <T>(type: string, parse: (data: string) => T | undefined, tell: (value: T) => void) =>
      opened.addEventListener(type, (event) => {
        const value = parse(String((event as MessageEvent).data));
        if (value !== undefined && stream === opened) tell(value);
      });
    on("layers", parseWishes, (rids) => listener.onUnwanted(rids));
    on("audience", parseAudience, (viewers) => listener.onAudience(viewers));
    on("hints", parseHints, (hints) => listener.onHints(hints));
    opened.addEventListener("error", () => {
      if (stream !== opened) return;
      listener.onUnwanted(new Set());
      listener.onAudience(undefined);
      // The browser opens a stream again that broke, but not one that was refused.
      if (opened.readyState !== CLOSED) return;
      stream = undefined;
      cancel = schedule(RETRY_MS, start);
    });
  };
  start();
  return () => {
    cancel();
    stream?.close();
    stream = undefined;
  };
}

function field(data: string, name: string): unknown {
  try {
    return record(JSON.parse(data))[name];
  } catch {
    return undefined;
  }
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
