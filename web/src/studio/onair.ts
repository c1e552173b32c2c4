/**
 * What a studio remembers of a show on air, so that a reload, a crash or a closed tab does not end it: the room waits
 * for the artist, and the page goes on with the same settings.
 */

/** Settings of a show that another page can go on with. */
export interface ShowSettings {
  readonly source: string;
  readonly camera: string;
  readonly microphone: string;
  readonly sound: string;
  readonly resolution: string;
  readonly framerate: string;
  readonly bitrate: string;
  readonly codec: string;
  readonly simulcast: boolean;
  readonly muted: boolean;
}

/** A show that was on air when its page was last seen. */
export interface OnAir {
  /** When it began; Unix time in milliseconds, as all times here. */
  readonly since: number;
  /** When the page was last seen on air. */
  readonly seen: number;
  readonly settings: ShowSettings;
}

/** How often a page on air says that it is. */
export const SEEN_MS = 2_000;
/** How long a room waits for its artist, where the server does not say. */
export const GRACE_MS = 30_000;

/** Reads what was kept; `undefined` when there is nothing, or the room waits no longer. */
export function parseOnAir(text: string | null, now: number, graceMs: number): OnAir | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text ?? "null");
  } catch {
    return undefined;
  }
  const { since, seen, settings } = (body ?? {}) as Partial<OnAir>;
  if (typeof since !== "number" || typeof seen !== "number" || typeof settings !== "object" || settings === null) return undefined;
  return now - seen <= graceMs && seen <= now ? { since, seen, settings } : undefined;
}

const key = (room: string) => `lightstick.onair.${room}`;

/**
 * Keeps a show. This tab's own memory is told from the browser's: what comes back in the same tab goes on by itself,
 * what is opened anew asks first.
 */
export function keepOnAir(room: string, show: OnAir): void {
  each((storage) => storage.setItem(key(room), JSON.stringify(show)));
}

/** The show is over, or is another's now. */
export function forgetOnAir(room: string): void {
  each((storage) => storage.removeItem(key(room)));
}

/** The show to go on with, and whether it was this tab's. */
export function recallOnAir(room: string, now: number, graceMs: number): { readonly show: OnAir; readonly own: boolean } | undefined {
  const [tab, browser] = each((storage) => parseOnAir(storage.getItem(key(room)), now, graceMs));
  const show = tab ?? browser;
  return show && { show, own: tab !== undefined };
}

/** How long the page of before may take to go. */
const HANDOVER_MS = 1_500;

/** Holds the show for this page until the returned function is called; other tabs then leave it alone. */
export function holdOnAir(room: string): () => void {
  let release = () => {};
  const held = new Promise<void>((done) => (release = done));
  void navigator.locks?.request(key(room), () => held).catch(() => {});
  return release;
}

/** Whether no other tab has the show. */
export async function isFree(room: string): Promise<boolean> {
  if (!navigator.locks) return true;
  try {
    await navigator.locks.request(key(room), { signal: AbortSignal.timeout(HANDOVER_MS) }, () => {});
    return true;
  } catch {
    return false;
  }
}

// Storage can be forbidden; a show is then remembered by nobody.
function each<T>(act: (storage: Storage) => T): (T | undefined)[] {
  return (["sessionStorage", "localStorage"] as const).map((name) => {
    try {
      return act(window[name]);
    } catch {
      return undefined;
    }
  });
}
