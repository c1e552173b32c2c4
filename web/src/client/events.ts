/** The events of a viewer's session (`text/event-stream`). */

/** Quality steps, lowest first. */
export const LAYERS = ["low", "medium", "high"] as const;
/** A quality step. */
export type Layer = (typeof LAYERS)[number];
/** What a viewer may ask for. */
export type LayerChoice = Layer | "auto";
/** Why no media flows. */
export type InactiveReason = "not_started" | "interrupted" | "ended";

/** A video track of the show. */
export interface VideoTrack {
  readonly id: string;
  /** Whether it brings a picture. */
  readonly live: boolean;
}

/** An event, read and checked. */
export type ShowEvent =
  | { readonly type: "active" }
  | { readonly type: "inactive"; readonly reason: InactiveReason }
  | { readonly type: "layers"; readonly layers: readonly Layer[]; readonly current: Layer | undefined }
  | { readonly type: "tracks"; readonly tracks: readonly VideoTrack[]; readonly main: string | undefined }
  | { readonly type: "viewercount"; readonly viewers: number }
  | { readonly type: "reconnect"; readonly retryAfterMs: number };

const NAMES: readonly ShowEvent["type"][] = ["active", "inactive", "layers", "tracks", "viewercount", "reconnect"];

/** Reads one event. What is not known or does not fit gives `undefined`: newer servers may say more. */
export function parseShowEvent(type: string, data: string): ShowEvent | undefined {
  let body: unknown;
  try {
    body = data ? JSON.parse(data) : {};
  } catch {
    return undefined;
  }
  if (typeof body !== "object" || body === null) return undefined;
  const field = (name: string): unknown => (body as Record<string, unknown>)[name];
  switch (type) {
    case "active":
      return { type };
    case "inactive": {
      const reason = field("reason");
      return { type, reason: reason === "interrupted" || reason === "ended" ? reason : "not_started" };
    }
    case "layers": {
      const layers = field("layers");
      const current = field("current");
      if (!Array.isArray(layers)) return undefined;
      return { type, layers: LAYERS.filter((layer) => layers.includes(layer)), current: LAYERS.find((layer) => layer === current) };
    }
    case "tracks": {
      const tracks = field("tracks");
      const main = field("main");
      if (!Array.isArray(tracks)) return undefined;
      const known = tracks.flatMap((track: { id?: unknown; layers?: unknown } | null) =>
        typeof track?.id === "string" ? [{ id: track.id, live: Array.isArray(track.layers) && track.layers.length > 0 }] : [],
      );
      return { type, tracks: known, main: typeof main === "string" ? main : undefined };
    }
    case "viewercount": {
      const viewers = field("viewers");
      return typeof viewers === "number" && viewers >= 0 ? { type, viewers } : undefined;
    }
    case "reconnect": {
      const after = field("retryAfterMs");
      return { type, retryAfterMs: typeof after === "number" && after >= 0 ? after : 2_000 };
    }
    default:
      return undefined;
  }
}

/**
 * Follows a session's events while the page is in sight. A page in the background leaves the stream, because
 * HTTP/1.1 gives a browser six connections to a server for all its tabs; the server repeats the present state
 * to whoever comes back. Returns a function that ends it.
 */
export function followEvents(url: string, onEvent: (event: ShowEvent) => void, onGone: () => void): () => void {
  let source: EventSource | undefined;
  const close = () => {
    source?.close();
    source = undefined;
  };
  const open = () => {
    if (source) return;
    const opened = new EventSource(url);
    source = opened;
    for (const name of NAMES) {
      opened.addEventListener(name, (message) => {
        const event = parseShowEvent(name, String((message as MessageEvent).data));
        if (event && source === opened) onEvent(event);
      });
    }
    opened.addEventListener("error", () => {
      // A broken stream is opened again by the browser; one that was refused is closed for good.
      if (source !== opened || opened.readyState !== EventSource.CLOSED) return;
      close();
      onGone();
    });
  };
  const follow = () => (document.visibilityState === "visible" ? open() : close());
  document.addEventListener("visibilitychange", follow);
  follow();
  return () => {
    document.removeEventListener("visibilitychange", follow);
    close();
  };
}
