/** Confetti for the largest gifts. Its library comes with the first of them. */

import type { CreateTypes } from "canvas-confetti";

/** From this tier on there is confetti. */
export const CONFETTI_TIER = 5;
/** Pieces of one burst. */
const PIECES = 70;

/** Bursts on a canvas over the picture. */
export class Confetti {
  readonly canvas = document.createElement("canvas");
  #fire: Promise<CreateTypes> | undefined;

  constructor() {
    this.canvas.className = "confetti";
    this.canvas.setAttribute("aria-hidden", "true");
  }

  /** Fires, unless the viewer wants no motion or looks elsewhere. */
  async burst(tier: number): Promise<void> {
    if (tier < CONFETTI_TIER || document.visibilityState !== "visible") return;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.#fire ??= import("canvas-confetti").then(({ default: confetti }) =>
      // A worker would be made from a blob, which the pages' policy forbids.
      confetti.create(this.canvas, { resize: true, useWorker: false, disableForReducedMotion: true }));
    const fire = await this.#fire;
    const strength = tier - CONFETTI_TIER + 1;
    for (const [x, angle] of [[0, 60], [1, 120]] as const) {
      void fire({ particleCount: PIECES * strength, angle, spread: 62, startVelocity: 46, ticks: 160, origin: { x, y: 0.75 },
        colors: ["#ff5c9f", "#a883ff", "#63e0f5", "#ffc06b", "#ffffff"] });
    }
  }
}
