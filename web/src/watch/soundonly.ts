/** What is shown of a show that has no picture: the room's name, and a light that follows the sound. */

import { byId } from "../ui/dom.ts";
import type { PlaySession } from "../client/whep.ts";

/** Sound of full scale is rare; this much of it is a full light. */
const FULL = 0.35;

/** See the module. */
export class SoundOnly {
  readonly #box = byId("sound-only", HTMLElement);
  #session: PlaySession | undefined;
  #frame: number | undefined;

  /** The session whose sound is shown. */
  set session(session: PlaySession) {
    this.#session = session;
  }

  get shown(): boolean {
    return !this.#box.hidden;
  }

  show(shown: boolean): void {
    if (shown === this.shown) return;
    this.#box.hidden = !shown;
    if (shown) this.#follow();
    else if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
  }

  #follow(): void {
    this.#frame = requestAnimationFrame(() => this.#follow());
    const level = Math.min(1, (this.#session?.level() ?? 0) / FULL);
    this.#box.style.setProperty("--level", level.toFixed(2));
  }
}
