/** What a screen reader says of the chat: a sentence now and then, for nobody can listen to fifty messages a second. */

/** The least time between two sentences, in milliseconds. */
export const SPEAK_MS = 3_000;
/** The longest text that is read out, in characters. */
export const SPOKEN_MAX = 160;

/** A message to tell of. */
export interface Heard {
  readonly name: string;
  readonly text: string;
  /** Worth telling before others: it speaks to the reader, or the artist wrote it. */
  readonly matters: boolean;
}

/** Gathers messages, and gives them out as one. Pure. */
export class Announcer {
  #count = 0;
  #last: Heard | undefined;
  #spokeAt = Number.NEGATIVE_INFINITY;

  hear(heard: Heard): void {
    this.#count += 1;
    if (heard.matters || !this.#last?.matters) this.#last = heard;
  }

  /** Takes what there is to say, if it is time; otherwise how long to wait, or `undefined` when there is nothing. */
  take(now: number): { readonly count: number; readonly name: string; readonly text: string } | number | undefined {
    if (!this.#last) return undefined;
    const wait = this.#spokeAt + SPEAK_MS - now;
    if (wait > 0) return wait;
    const { name, text } = this.#last;
    const said = { count: this.#count, name, text: [...text].slice(0, SPOKEN_MAX).join("") };
    this.#count = 0;
    this.#last = undefined;
    this.#spokeAt = now;
    return said;
  }
}
