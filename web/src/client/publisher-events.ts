/** What a server wishes of a publisher's layers (`text/event-stream` of its session): nobody need send what nobody watches. */

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

/** Reads a `layers` event: the ids of the layers that are not wanted. `undefined`: it is none that we know. */
export function parseWishes(data: string): ReadonlySet<string> | undefined {
  let body: unknown;
  try {
    body = JSON.parse(data);
  } catch {
    return undefined;
  }
  const layers = typeof body === "object" && body !== null ? (body as Record<string, unknown>)["layers"] : undefined;
  if (!Array.isArray(layers)) return undefined;
  const unwanted = layers.flatMap((layer: unknown) => {
    const { rid, wanted } = (layer ?? {}) as Record<string, unknown>;
    return typeof rid === "string" && wanted === false ? [rid] : [];
  });
  return new Set(unwanted);
}

/**
 * Follows the wishes until the returned function is called. Whatever becomes of the stream, it is opened again, and
 * the server repeats the present state then. Meanwhile nothing is unwanted: a wish might come that is not heard.
 */
export function followWishes(
  open: () => Stream,
  schedule: Schedule,
  onUnwanted: (rids: ReadonlySet<string>) => void,
): () => void {
  let stream: Stream | undefined;
  let cancel = () => {};
  const start = () => {
    const opened = open();
    stream = opened;
    opened.addEventListener("layers", (event) => {
      const unwanted = parseWishes(String((event as MessageEvent).data));
      if (unwanted && stream === opened) onUnwanted(unwanted);
    });
    opened.addEventListener("error", () => {
      if (stream !== opened) return;
      onUnwanted(new Set());
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
