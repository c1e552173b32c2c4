/**
 * Whether the picture plays, and who has stopped it. Phone calls, other apps and phones that save power pause a
 * video from outside; it goes on by itself where the browser lets it, else it waits for a tap. Pure of the document.
 */

/** What of a media element is used. */
export interface Playable {
  readonly paused: boolean;
  /** The stream has ended: that is no pause. */
  readonly ended: boolean;
  play(): Promise<void>;
  pause(): void;
}

/** Something that pauses so often within `WINDOW_MS` means it; playing on would be a quarrel. */
export const RESUMES_MAX = 3;
/** See `RESUMES_MAX`. */
export const WINDOW_MS = 10_000;

/** See the module. */
export class Playback {
  /** The fan has paused it. */
  #held = false;
  /** It cannot go on without a tap. */
  #blocked = false;
  /** When it was resumed after a pause from outside. */
  #resumes: number[] = [];

  constructor(
    private readonly media: Playable,
    private readonly now: () => number,
    private readonly onChange: () => void,
  ) {}

  /** Whether the page has to ask for a tap. */
  get stopped(): boolean {
    return this.#held || this.#blocked;
  }

  /** A stream is there: plays it, unless the fan has paused. */
  begin(): void {
    if (!this.#held) this.#play();
  }

  /** The fan wants it to play. */
  resume(): void {
    this.#held = false;
    this.#resumes = [];
    this.#play();
  }

  /** The fan wants it to rest. */
  hold(): void {
    this.#held = true;
    this.#blocked = false;
    this.media.pause();
    this.onChange();
  }

  /** The element says that it was paused. */
  paused(): void {
    if (this.#held || this.media.ended || !this.media.paused) return;
    const now = this.now();
    this.#resumes = this.#resumes.filter((at) => now - at < WINDOW_MS);
    if (this.#resumes.length >= RESUMES_MAX) {
      this.#block();
      return;
    }
    this.#resumes.push(now);
    this.#play();
  }

  /** The element says that it plays. */
  playing(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.onChange();
  }

  /** The page is in sight again, or the call is over. */
  wake(): void {
    if (!this.#held && this.media.paused && !this.media.ended) this.#play();
  }

  #block(): void {
    if (this.#blocked) return;
    this.#blocked = true;
    this.onChange();
  }

  #play(): void {
    this.media.play().then(
      () => {
        this.#blocked = false;
        this.onChange();
      },
      (error: unknown) => {
        // An abort means that a newer stream has come; that one is played on its own account.
        const refused = error instanceof Error && error.name === "NotAllowedError";
        if (!this.#held && this.media.paused && refused) this.#block();
      },
    );
  }
}
