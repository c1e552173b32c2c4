/** Which kinds of media a show has: some are of sound alone, some of pictures alone. Pure. */

/** Bytes received of each kind since a session began. */
export interface KindBytes {
  readonly audio: number;
  readonly video: number;
}

/** One kind that comes alone for so long is all that the show has. */
export const ALONE_MS = 1_500;

/** Byte counts go in at any times; see the module. */
export class Kinds {
  #bytes: KindBytes = { audio: 0, video: 0 };
  #at: number | undefined;
  /** For how long the other kind has come without this one, in milliseconds. */
  #missing = { audio: 0, video: 0 };
  #heard = false;

  /** Another session counts from zero. What the show has is still known. */
  begin(): void {
    this.#bytes = { audio: 0, video: 0 };
    this.#at = undefined;
  }

  add(now: number, bytes: KindBytes): void {
    const passed = this.#at === undefined ? 0 : Math.max(0, now - this.#at);
    const came = { audio: bytes.audio > this.#bytes.audio, video: bytes.video > this.#bytes.video };
    this.#at = now;
    this.#bytes = bytes;
    this.#heard ||= came.audio;
    // While nothing comes at all, none of both stands alone.
    if (!came.audio && !came.video) return;
    for (const kind of ["audio", "video"] as const) {
      this.#missing[kind] = came[kind] ? 0 : this.#missing[kind] + passed;
    }
  }

  /** Sound comes, and no picture does. */
  get soundOnly(): boolean {
    return this.#missing.video >= ALONE_MS;
  }

  /** Pictures come, and no sound ever has. */
  get silent(): boolean {
    return !this.#heard && this.#missing.audio >= ALONE_MS;
  }
}
