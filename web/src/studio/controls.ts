/** The studio's choices: what the selects offer, and what is chosen. */

import { sendableCodecs, type VideoCodec } from "../client/whip.ts";
import { localised, number, t, type Key } from "../i18n/index.ts";
import { byId, byTestId, setOptions, setText } from "../ui/dom.ts";
import { NO_DEVICE, canShareScreen, listDevices, type CaptureChoice } from "./devices.ts";
import type { Source } from "./capture.ts";
import type { ShowSettings } from "./onair.ts";
import { BITRATE_KBPS_MAX, BITRATE_KBPS_MIN, FRAME_RATES, RESOLUTIONS } from "./encodings.ts";

/** The controls, found once. */
export class Controls {
  readonly token = byTestId("token", HTMLInputElement);
  readonly camera = byTestId("camera", HTMLSelectElement);
  readonly microphone = byTestId("microphone", HTMLSelectElement);
  readonly sound = byTestId("sound", HTMLSelectElement);
  readonly resolution = byTestId("resolution", HTMLSelectElement);
  readonly framerate = byTestId("framerate", HTMLSelectElement);
  readonly bitrate = byTestId("bitrate", HTMLInputElement);
  readonly codec = byTestId("codec", HTMLSelectElement);
  readonly simulcast = byTestId("simulcast", HTMLInputElement);
  readonly sourceCamera = byTestId("source-camera", HTMLInputElement);
  readonly sourceScreen = byTestId("source-screen", HTMLInputElement);
  readonly #codecs: readonly VideoCodec[] = sendableCodecs();
  #cameras: MediaDeviceInfo[] = [];
  #microphones: MediaDeviceInfo[] = [];
  #bitrateChosen = false;

  constructor() {
    this.bitrate.min = String(BITRATE_KBPS_MIN);
    this.limitBitrate(BITRATE_KBPS_MAX);
    byId("screen-choice", HTMLElement).hidden = !canShareScreen();
    localised(() => this.#render());
    this.framerate.value = "30";
    this.resolution.value = "1280x720";
    this.suggestBitrate();
    this.bitrate.addEventListener("input", () => {
      this.#bitrateChosen = true;
      this.#renderBitrate();
    });
  }

  get source(): Source {
    return this.sourceScreen.checked ? "screen" : "camera";
  }

  set source(source: Source) {
    this.sourceScreen.checked = source === "screen";
    this.sourceCamera.checked = source === "camera";
  }

  get kbps(): number {
    return Number(this.bitrate.value);
  }

  get chosenCodec(): VideoCodec | undefined {
    return this.#codecs.find((codec) => codec === this.codec.value);
  }

  get capture(): CaptureChoice {
    const [width = 1280, height = 720] = this.resolution.value.split("x").map(Number);
    return {
      camera: this.camera.value,
      microphone: this.microphone.value,
      sound: this.sound.value === "voice" ? "voice" : "music",
      width,
      height,
      fps: Number(this.framerate.value),
    };
  }

  /** Everything chosen, for another page to go on with. */
  get settings(): Omit<ShowSettings, "muted"> {
    return {
      source: this.source,
      camera: this.camera.value,
      microphone: this.microphone.value,
      sound: this.sound.value,
      resolution: this.resolution.value,
      framerate: this.framerate.value,
      bitrate: this.bitrate.value,
      codec: this.codec.value,
      simulcast: this.simulcast.checked,
    };
  }

  set settings(settings: Omit<ShowSettings, "muted">) {
    this.source = settings.source === "screen" && canShareScreen() ? "screen" : "camera";
    this.simulcast.checked = settings.simulcast;
    for (const name of ["sound", "resolution", "framerate", "codec"] as const) choose(this[name], settings[name]);
    // Devices are named once capturing is allowed; until then their ids are taken on trust.
    for (const name of ["camera", "microphone"] as const) {
      const id = settings[name];
      if (id && ![...this[name].options].some(({ value }) => value === id)) this[name].append(new Option("", id));
      choose(this[name], id);
    }
    this.bitrate.value = settings.bitrate;
    this.#bitrateChosen = true;
    this.#renderBitrate();
  }

  /** The server's limit for publishers. */
  limitBitrate(kbps: number): void {
    this.bitrate.max = String(Math.max(BITRATE_KBPS_MIN, kbps));
    this.#renderBitrate();
  }

  /** A bit rate that suits the resolution, until the artist has chosen one. */
  suggestBitrate(): void {
    const { width, fps } = this.capture;
    const suited = RESOLUTIONS.find((resolution) => resolution.width === width)?.kbps ?? 2_500;
    if (!this.#bitrateChosen) this.bitrate.value = String(fps > 30 ? Math.round(suited * 1.4) : suited);
    this.#renderBitrate();
  }

  /** Reads the devices again, for they come and go, and show their names once capturing is allowed. */
  async refreshDevices(video: MediaStreamTrack | undefined, audio: MediaStreamTrack | undefined): Promise<void> {
    const { cameras, microphones } = await listDevices();
    // Before permission there is one nameless entry with an empty id; that is our "any" choice.
    this.#cameras = cameras;
    this.#microphones = microphones;
    this.#renderDevices();
    const select = (element: HTMLSelectElement, id: string | undefined) => {
      if (id && [...element.options].some(({ value }) => value === id)) element.value = id;
    };
    if (this.source === "camera" && this.camera.value !== NO_DEVICE) select(this.camera, video?.getSettings().deviceId);
    if (this.microphone.value !== NO_DEVICE) select(this.microphone, audio?.getSettings().deviceId);
  }

  /** What a running show cannot change. */
  lock(live: boolean): void {
    byId("locked", HTMLFieldSetElement).disabled = live;
    byId("locked-hint", HTMLElement).hidden = !live;
    this.token.disabled = live;
    this.framerate.disabled = live;
  }

  #render(): void {
    this.#renderDevices();
    this.#renderBitrate();
    setOptions(this.sound, [
      { value: "music", label: t("studio.sound.music") },
      { value: "voice", label: t("studio.sound.voice") },
    ]);
    setOptions(
      this.resolution,
      RESOLUTIONS.map(({ width, height }) => ({ value: `${width}x${height}`, label: `${height}p · ${width} × ${height}` })),
    );
    setOptions(this.framerate, FRAME_RATES.map((rate) => ({ value: String(rate), label: String(rate) })));
    setOptions(
      this.codec,
      this.#codecs.length > 0
        ? this.#codecs.map((codec) => ({ value: codec, label: t(`studio.codec.${codec}`) }))
        : [{ value: "", label: t("studio.codec.none") }],
    );
  }

  #renderDevices(): void {
    const named = (devices: MediaDeviceInfo[]) =>
      devices.map(({ deviceId, label }, index) => ({
        value: deviceId,
        label: label || t("studio.device.unnamed", { number: index + 1 }),
      }));
    // Where none is known, the browser's own choice stands: it says what is missing, and finds what is plugged in later.
    const all = (devices: MediaDeviceInfo[], none: Key) => [
      ...(devices.length > 0 ? named(devices) : [{ value: "", label: t("studio.device.default") }]),
      { value: NO_DEVICE, label: t(none) },
    ];
    setOptions(this.camera, all(this.#cameras, "studio.camera.none"), this.#cameras[0]?.deviceId ?? "");
    setOptions(this.microphone, all(this.#microphones, "studio.microphone.none"), this.#microphones[0]?.deviceId ?? "");
  }

  #renderBitrate(): void {
    const value = t("studio.bitrate.value", { mbps: number(this.kbps / 1_000, 1) });
    setText(byId("bitrate-value", HTMLElement), value);
    this.bitrate.setAttribute("aria-valuetext", value);
  }
}

function choose(select: HTMLSelectElement, value: string): void {
  if ([...select.options].some((option) => option.value === value)) select.value = value;
}
