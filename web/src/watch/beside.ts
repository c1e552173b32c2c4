/** A second picture of the show, small beside the main one. A tap swaps them. */

import { byTestId } from "../ui/dom.ts";

/** See the module. */
export class Beside {
  readonly #button = byTestId("beside", HTMLButtonElement);
  readonly #video = byTestId("beside-video", HTMLVideoElement);

  constructor(onTap: () => void) {
    this.#button.addEventListener("click", onTap);
  }

  play(stream: MediaStream | undefined): void {
    this.#video.srcObject = stream ?? null;
  }

  set shown(shown: boolean) {
    this.#button.hidden = !shown;
    // Muted pictures may play by themselves, unless the browser saves power; they go on when they are looked at.
    if (shown && this.#video.paused) void this.#video.play().catch(() => {});
  }
}
