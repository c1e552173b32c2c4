/** Live captions: which cues stand at a time. Pure. */

import type { CaptionCue } from "./frames.ts";

/** Languages that are kept; cues of others are left out. */
export const LANGUAGES_MAX = 16;
/** Cues of a language that are kept; the oldest go. */
export const CUES_MAX = 8;
/** Cues that stand at once. */
export const LINES_SHOWN = 2;
/** How long a cue stands that does not say. */
export const DURATION_MS = 4_000;
/** The longest that one may stand, or be announced ahead. */
export const DURATION_MS_MAX = 30_000;

interface Cue {
  readonly text: string;
  readonly from: number;
  readonly to: number;
}

/** See the module. Times are Unix milliseconds of this computer. */
export class Captions {
  readonly #cues = new Map<string, Cue[]>();

  /** Languages that cues came in, first seen first. */
  get languages(): readonly string[] {
    return [...this.#cues.keys()];
  }

  /** Takes a cue. `ahead` is by how much the server's clock is ahead of this one, in milliseconds. */
  add({ language, text, atMs, durationMs }: CaptionCue, now: number, ahead: number): void {
    let cues = this.#cues.get(language);
    if (!cues) {
      if (this.#cues.size >= LANGUAGES_MAX) return;
      this.#cues.set(language, (cues = []));
    }
    // A cue that was under way for a while still gets its time on the screen.
    const said = atMs === 0n ? now : Number(atMs) - ahead;
    const from = Math.min(Math.max(said, now), now + DURATION_MS_MAX);
    cues.push({ text, from, to: from + Math.min(durationMs || DURATION_MS, DURATION_MS_MAX) });
    if (cues.length > CUES_MAX) cues.shift();
  }

  /** The language to show for a wish: the same, one of the same family, or the first that there is. */
  pick(wish: string): string | undefined {
    const family = (tag: string) => tag.toLowerCase().split("-")[0];
    return this.languages.find((tag) => tag === wish)
      ?? this.languages.find((tag) => family(tag) === family(wish))
      ?? this.languages[0];
  }

  /** Texts that stand at `now`, the newest last, and when that changes next. */
  at(now: number, language: string): { readonly lines: readonly string[]; readonly until: number | undefined } {
    const cues = this.#cues.get(language) ?? [];
    const lines = cues.filter(({ from, to }) => from <= now && now < to).map(({ text }) => text).slice(-LINES_SHOWN);
    const changes = cues.flatMap(({ from, to }) => [from, to]).filter((time) => time > now);
    return { lines, until: changes.length > 0 ? Math.min(...changes) : undefined };
  }
}
