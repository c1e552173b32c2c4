/** The player's own controls: sound, fullscreen, picture in picture, keys. */

import { localised, t } from "../i18n/index.ts";
import { byId, byTestId, setText } from "../ui/dom.ts";
import { Playback } from "./playback.ts";

/** Safari on phones knows fullscreen only for the video itself. */
interface PhoneVideo {
  webkitEnterFullscreen?: () => void;
}

/** How long controls stay after the last touch or movement. */
const IDLE_MS = 3_500;

/** Sound, size and keys of one video element. */
export class Player {
  readonly video = byTestId("video", HTMLVideoElement);
  readonly #box = byId("player", HTMLElement);
  readonly #unmute = byTestId("unmute", HTMLButtonElement);
  readonly #mute = byTestId("mute", HTMLButtonElement);
  readonly #volume = byTestId("volume", HTMLInputElement);
  readonly #fullscreen = byTestId("fullscreen", HTMLButtonElement);
  readonly #pip = byTestId("pip", HTMLButtonElement);
  readonly #playback = new Playback(this.video, Date.now, () => this.render());
  /** The show has no sound: there is nothing to turn on. */
  #silent = false;
  /** The fan has decided about sound: the big button has done its work. */
  #decided = false;
  #idle: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly shortcuts: Readonly<Record<string, () => void>>) {
    this.#unmute.addEventListener("click", () => {
      // A tap lets the browser give sound too; who has chosen silence keeps it.
      if (this.#playback.stopped && (this.#decided || this.#silent)) this.#playback.resume();
      else this.#sound(true);
    });
    this.#mute.addEventListener("click", () => this.#sound(this.video.muted));
    this.#volume.addEventListener("input", () => {
      this.video.volume = Number(this.#volume.value) / 100;
      this.#sound(this.video.volume > 0);
    });
    this.video.addEventListener("volumechange", () => this.render());
    this.video.addEventListener("pause", () => this.#playback.paused());
    this.video.addEventListener("playing", () => this.#playback.playing());
    this.video.addEventListener("click", () => {
      if (this.#playback.stopped) this.#playback.resume();
    });
    this.#mediaKeys();
    this.video.addEventListener("dblclick", () => this.toggleFullscreen());
    this.#fullscreen.addEventListener("click", () => this.toggleFullscreen());
    this.#pip.addEventListener("click", () => void this.togglePip());
    this.#fullscreen.hidden = !document.fullscreenEnabled && !(this.video as PhoneVideo).webkitEnterFullscreen;
    this.#pip.hidden = !document.pictureInPictureEnabled;
    document.addEventListener("fullscreenchange", () => this.render());
    document.addEventListener("keydown", (event) => this.#key(event));
    for (const type of ["pointermove", "pointerdown", "keydown", "focusin"] as const) {
      document.addEventListener(type, () => this.rouse());
    }
    this.rouse();
    localised(() => this.render());
  }

  /** Plays a stream, without sound unless the fan asked for it: browsers allow that much by themselves. */
  play(stream: MediaStream): void {
    this.video.srcObject = stream;
    this.#playback.begin();
    this.render();
  }

  /** The page is in sight again: what was paused meanwhile goes on. */
  wake(): void {
    this.#playback.wake();
  }

  /** Whether the show has sound. */
  set silent(silent: boolean) {
    if (silent === this.#silent) return;
    this.#silent = silent;
    this.render();
  }

  render(): void {
    const { stopped } = this.#playback;
    const muted = this.video.muted || this.video.volume === 0;
    this.#unmute.hidden = !stopped && (this.#decided || !muted || this.#silent);
    this.#unmute.dataset["does"] = stopped ? "play" : "sound";
    const label = this.#unmute.querySelector("span");
    if (label) setText(label, t(stopped ? "watch.play" : "watch.unmute"));
    this.#mute.dataset["muted"] = String(muted || this.#silent);
    this.#mute.disabled = this.#silent;
    this.#volume.disabled = this.#silent;
    name(this.#mute, t(this.#silent ? "watch.silent" : muted ? "watch.sound" : "watch.mute"));
    if (!muted) this.#volume.value = String(Math.round(this.video.volume * 100));
    name(this.#fullscreen, t(document.fullscreenElement ? "watch.fullscreen.exit" : "watch.fullscreen"));
  }

  toggleFullscreen(): void {
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (document.fullscreenEnabled) void this.#box.requestFullscreen().catch(() => {});
    else (this.video as PhoneVideo).webkitEnterFullscreen?.();
  }

  async togglePip(): Promise<void> {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch {
      // There is no picture yet.
    }
  }

  /** Pauses, or goes on. There is nothing to go back to: it goes on with what is live. */
  toggle(): void {
    if (this.#playback.stopped || this.video.paused) this.#playback.resume();
    else this.#playback.hold();
  }

  /** Headsets, lock screens and the small window pause by these; a pause by other ways is nobody's wish. */
  #mediaKeys(): void {
    if (!("mediaSession" in navigator)) return;
    const on = (action: MediaSessionAction, act: () => void) => {
      try {
        navigator.mediaSession.setActionHandler(action, act);
      } catch {
        // An older browser knows fewer of them.
      }
    };
    on("play", () => this.#playback.resume());
    on("pause", () => this.#playback.hold());
    on("stop", () => this.#playback.hold());
  }

  /** Shows the controls, and hides them again after a while without use. */
  rouse(): void {
    delete this.#box.dataset["idle"];
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      // Whoever steers by keyboard must see where they are.
      if (!this.#box.querySelector(".controls :focus-visible, header :focus-visible")) this.#box.dataset["idle"] = "";
    }, IDLE_MS);
  }

  #sound(on: boolean): void {
    this.#decided = true;
    if (on && this.video.volume === 0) this.video.volume = 1;
    this.video.muted = !on;
    this.#playback.resume();
    this.render();
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // Who writes, or walks through the chat, means no player.
    const on = event.target instanceof Element ? event.target : undefined;
    if (on?.closest("input, select, textarea, [data-own-keys]")) return;
    // A space on a button or a link presses it.
    if (event.key === " " && on?.closest("button, a")) return;
    const keys: Readonly<Record<string, () => void>> = {
      m: () => this.#sound(this.video.muted),
      f: () => this.toggleFullscreen(),
      p: () => void this.togglePip(),
      k: () => this.toggle(),
      " ": () => this.toggle(),
      ArrowUp: () => this.#step(0.1),
      ArrowDown: () => this.#step(-0.1),
      ...this.shortcuts,
    };
    // By the key's place as well: Korean keyboards write ㅡ where Latin ones write m.
    const act = keys[event.key] ?? keys[event.code.replace(/^Key/, "").toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #step(by: number): void {
    this.video.volume = Math.min(1, Math.max(0, this.video.volume + by));
    this.#sound(this.video.volume > 0);
  }
}

function name(button: HTMLButtonElement, label: string): void {
  button.setAttribute("aria-label", label);
  button.title = label;
}
