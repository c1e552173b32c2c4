/** What is being captured: one picture and one sound, swapped without a stop. */

import {
  DeviceError,
  openBoth,
  openCamera,
  openMicrophone,
  openScreen,
  type CaptureChoice,
} from "./devices.ts";

/** Where the picture comes from. */
export type Source = "camera" | "screen";

/** Callbacks of a [`Capture`]. */
export interface CaptureListener {
  /** Tracks have changed; each is `undefined` where there is none. `errors` say why something that was asked for is not there. */
  onTracks(video: MediaStreamTrack | undefined, audio: MediaStreamTrack | undefined, errors: readonly DeviceError[]): void;
  /** The artist ended screen sharing in the browser's own bar. */
  onScreenEnded(): void;
}

/** Holds the devices. Calls follow each other: a second waits for the first. */
export class Capture {
  #video: MediaStreamTrack | undefined;
  #audio: MediaStreamTrack | undefined;
  #screenTrack: MediaStreamTrack | undefined;
  #muted = false;
  #errors: { video: DeviceError | undefined; audio: DeviceError | undefined } = { video: undefined, audio: undefined };
  #queue: Promise<void> = Promise.resolve();

  constructor(private readonly listener: CaptureListener) {}

  get video(): MediaStreamTrack | undefined {
    return this.#video;
  }

  get audio(): MediaStreamTrack | undefined {
    return this.#audio;
  }

  /** Whether something that was asked for is not there. */
  get lacks(): { readonly video: boolean; readonly audio: boolean } {
    return { video: this.#errors.video !== undefined, audio: this.#errors.audio !== undefined };
  }

  /** Opens picture and sound anew. Resolves to whether there is any of them. */
  async open(source: Source, choice: CaptureChoice): Promise<boolean> {
    await this.#run(["video", "audio"], async () => {
      if (source === "screen") {
        await this.#screen(choice);
        return;
      }
      // Phones open no second camera while the first one runs, nor one camera in two sizes.
      this.#take("video", undefined);
      this.#take("audio", undefined);
      const { video, audio, videoError, audioError } = await openBoth(choice);
      this.#take("video", video);
      this.#take("audio", audio);
      this.#errors = { video: videoError, audio: audioError };
    });
    return this.#video !== undefined || this.#audio !== undefined;
  }

  /** Another camera, size or frame rate. */
  async picture(source: Source, choice: CaptureChoice): Promise<void> {
    await this.#run(["video"], async () => {
      if (source === "screen") {
        await this.#screen(choice);
      } else {
        this.#take("video", undefined);
        this.#take("video", await openCamera(choice));
      }
    });
  }

  /** Another microphone, or another way to use it. */
  async sound(choice: CaptureChoice): Promise<void> {
    await this.#run(["audio"], async () => {
      this.#take("audio", undefined);
      this.#take("audio", await openMicrophone(choice));
    });
  }

  /** Silences the sound or brings it back; a new microphone obeys too. */
  mute(muted: boolean): void {
    this.#muted = muted;
    if (this.#audio) this.#audio.enabled = !muted;
  }

  async #screen(choice: CaptureChoice): Promise<void> {
    const screen = await openScreen(choice);
    this.#screenTrack = screen.video;
    this.#take("video", screen.video);
    // A microphone in use stays: the artist's voice matters more than the screen's sound.
    const microphone = this.#audio ?? (await openMicrophone(choice).catch(() => undefined));
    if (microphone) screen.audio?.stop();
    if (microphone !== this.#audio || !microphone) this.#take("audio", microphone ?? screen.audio);
    screen.video.addEventListener("ended", () => {
      if (this.#video === screen.video) this.listener.onScreenEnded();
    });
  }

  #take(kind: "video" | "audio", track: MediaStreamTrack | undefined): void {
    const before = kind === "video" ? this.#video : this.#audio;
    if (before !== track) before?.stop();
    if (kind === "video") this.#video = track;
    else this.#audio = track;
    if (!track) return;
    if (kind === "audio") track.enabled = !this.#muted;
    track.addEventListener("ended", () => {
      const current = kind === "video" ? this.#video : this.#audio;
      if (current !== track || track === this.#screenTrack) return;
      // Without its device a track is a frozen picture, or silence: the show goes on with the other one.
      this.#take(kind, undefined);
      this.#errors[kind] = new DeviceError(kind === "video" ? "device.camera.lost" : "device.microphone.lost", track.label);
      this.#tell();
    });
  }

  #tell(): void {
    const { video, audio } = this.#errors;
    this.listener.onTracks(this.#video, this.#audio, [video, audio].filter((error) => error !== undefined));
  }

  async #run(kinds: readonly ("video" | "audio")[], act: () => Promise<void>): Promise<void> {
    const turn = this.#queue.then(async () => {
      for (const kind of kinds) this.#errors[kind] = undefined;
      try {
        await act();
      } catch (error) {
        const [kind = "video"] = kinds;
        this.#errors[kind] = error instanceof DeviceError ? error : new DeviceError("device.other", String(error));
      }
      this.#tell();
    });
    this.#queue = turn;
    await turn;
  }
}
