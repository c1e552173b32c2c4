/** The studio: from devices to a show on air. */

import type { ChatChannels } from "../client/channels.ts";
import type { KeeperStatus } from "../client/keeper.ts";
import { localised, number, startLanguage, t, type Key } from "../i18n/index.ts";
import { clientConfig, room as readRoom } from "../ui/api.ts";
import { byId, byTestId, setText } from "../ui/dom.ts";
import { problemKey, wantsToken } from "../ui/problems.ts";
import { keepToken, roomOfPath, takeToken } from "../ui/room.ts";
import { Broadcast } from "./broadcast.ts";
import { Capture } from "./capture.ts";
import type { StudioChat } from "./chat.ts";
import { Controls } from "./controls.ts";
import type { DeviceError } from "./devices.ts";
import { showFigures } from "./figures.ts";
import { LevelMeter } from "./level.ts";
import type { SendFigures } from "./stats.ts";

/** States of the page, as `data-state` of the document says them. */
type StudioState = "idle" | "preview" | "connecting" | "live" | "reconnecting" | "offline" | "error";

/** How often the number of viewers is asked for, where the server tells this page. */
const VIEWERS_MS = 5_000;

startLanguage();
const room = roomOfPath(location.pathname);
const controls = new Controls();
const meter = new LevelMeter();
const preview = byTestId("preview", HTMLVideoElement);
const goLive = byTestId("go-live", HTMLButtonElement);
const stop = byTestId("stop", HTMLButtonElement);
const mute = byTestId("mute", HTMLButtonElement);
const enable = byTestId("enable", HTMLButtonElement);

let broadcast: Broadcast | undefined;
let status: KeeperStatus = { kind: "closed" };
let deviceError: DeviceError | undefined;
/** Something that is no trouble, but that the artist should know. */
let news: Key | undefined;
let starting = false;
let muted = false;
let liveSince: number | undefined;
let wakeLock: WakeLockSentinel | undefined;
let figures: SendFigures | undefined;
let viewers: number | undefined;
let chat: StudioChat | undefined;
let channels: ChatChannels | undefined;

const capture = new Capture({
  onTracks(video, audio) {
    preview.srcObject = video ? new MediaStream([video]) : null;
    document.documentElement.dataset["source"] = controls.source;
    meter.follow(audio);
    if (video) deviceError = undefined;
    void broadcast?.setTracks(video, audio);
    void controls.refreshDevices(video, audio);
    render();
  },
  onError(error) {
    deviceError = error;
    if (error.key === "device.screen.refused") controls.source = "camera";
    render();
  },
  onScreenEnded() {
    controls.source = "camera";
    news = "device.screen.ended";
    void capture.picture("camera", controls.capture);
  },
});

function state(): StudioState {
  switch (status.kind) {
    case "connecting":
    case "reconnecting":
    case "offline":
      return status.kind;
    case "connected":
      return "live";
    case "refused":
      return "error";
    case "closed":
      if (starting) return "connecting";
      return capture.video ?? capture.audio ? "preview" : "idle";
  }
}

function onAir(): boolean {
  return status.kind !== "closed" && status.kind !== "refused";
}

function render(): void {
  const now = state();
  document.documentElement.dataset["state"] = now;
  document.title = room ? t("studio.title", { room }) : t("studio.heading");
  setText(byId("title", HTMLElement), document.title);
  setText(byTestId("state", HTMLElement), t(`studio.state.${now}`));
  goLive.hidden = onAir();
  goLive.disabled = !room || starting || !controls.chosenCodec;
  stop.hidden = !onAir();
  setText(stop, t("studio.stop"));
  mute.disabled = !capture.audio;
  mute.setAttribute("aria-pressed", String(muted));
  setText(mute, t(muted ? "studio.unmute" : "studio.mute"));
  byId("empty", HTMLElement).hidden = capture.video !== undefined;
  controls.lock(onAir());
  const count = byId("viewers", HTMLElement);
  count.hidden = !onAir() || viewers === undefined;
  setText(count, t("studio.viewers", { count: number(viewers ?? 0) }));
  notice(byTestId("device-error", HTMLElement), deviceError && t(deviceError.key, { detail: deviceError.message }));
  notice(byTestId("error", HTMLElement), problemText());
  setText(byId("news", HTMLElement), news ? t(news) : "");
  showFigures(onAir() ? figures : undefined);
}

function problemText(): string | undefined {
  if (!room) return t("problem.room_name");
  const problem = status.kind === "refused" || status.kind === "reconnecting" ? status.problem : undefined;
  if (!problem) return undefined;
  const text = t(problemKey(problem), { detail: problem.message });
  if (status.kind !== "reconnecting") return text;
  return `${text} ${t("problem.retry", { seconds: number(Math.max(1, status.waitMs / 1_000)) })}`;
}

function notice(box: HTMLElement, text: string | undefined): void {
  box.hidden = text === undefined;
  const paragraph = box.querySelector("p");
  if (paragraph) setText(paragraph, text ?? "");
}

function changed(next: KeeperStatus): void {
  status = next;
  if (next.kind === "connected") {
    liveSince ??= Date.now();
    void keepAwake();
  } else if (next.kind === "closed" || next.kind === "refused") {
    liveSince = undefined;
    figures = undefined;
    void wakeLock?.release();
    wakeLock = undefined;
    channels = undefined;
    chat?.stop();
  }
  render();
  const tokenRefused = next.kind === "refused" && wantsToken(next.problem);
  controls.token.setAttribute("aria-invalid", String(tokenRefused));
  if (tokenRefused) controls.token.focus();
}

async function start(): Promise<void> {
  const codec = controls.chosenCodec;
  if (!room || !codec || onAir() || starting) return;
  status = { kind: "closed" };
  starting = true;
  render();
  void meter.resume();
  const ready = capture.video !== undefined || (await capture.open(controls.source, controls.capture));
  starting = false;
  if (!ready) {
    render();
    return;
  }
  const token = controls.token.value.trim() || undefined;
  if (token) keepToken("studio", room, token);
  broadcast = new Broadcast(
    {
      url: new URL(`/whip/${encodeURIComponent(room)}`, location.href).href,
      token,
      codec,
      simulcast: controls.simulcast.checked,
      kbps: controls.kbps,
      fps: controls.capture.fps,
    },
    changed,
    (latest) => {
      figures = latest;
      showFigures(onAir() ? figures : undefined);
    },
    (latest) => {
      channels = latest;
      chat?.attach(latest);
    },
  );
  void openChat(room);
  broadcast.start(capture.video, capture.audio);
}

/** The chat is there while the show is. */
async function openChat(name: string): Promise<void> {
  const { StudioChat } = await import("./chat.ts");
  if (!onAir()) return;
  chat ??= new StudioChat(name, () => controls.token.value.trim() || undefined);
  chat.start();
  if (channels) chat.attach(channels);
}

function end(): void {
  broadcast?.stop();
  broadcast = undefined;
}

/** Phones darken after half a minute without a touch, and stop their camera then. */
async function keepAwake(): Promise<void> {
  if (wakeLock && !wakeLock.released) return;
  wakeLock = await navigator.wakeLock?.request("screen").catch(() => undefined);
}

async function pollViewers(): Promise<void> {
  if (!room || status.kind !== "connected") return;
  viewers = (await readRoom(room))?.viewers;
  render();
}

/** The lamp in the brand and the meter follow the voice. */
function animate(): void {
  const level = muted ? 0 : meter.read();
  document.documentElement.style.setProperty("--level", level.toFixed(3));
  byId("level", HTMLElement).setAttribute("aria-valuenow", String(Math.round(level * 100)));
  const clock = byId("clock", HTMLElement);
  clock.hidden = liveSince === undefined;
  if (liveSince !== undefined) setText(clock, duration(Date.now() - liveSince));
  requestAnimationFrame(animate);
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3_600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

async function copyLink(): Promise<void> {
  const input = byTestId("watch-link", HTMLInputElement);
  let key: Key = "studio.share.copied";
  try {
    await navigator.clipboard.writeText(input.value);
  } catch {
    key = "studio.share.failed";
    input.select();
  }
  setText(byId("copied", HTMLElement), t(key));
}

function wire(): void {
  goLive.addEventListener("click", () => void start());
  stop.addEventListener("click", () => end());
  enable.addEventListener("click", () => void capture.open(controls.source, controls.capture));
  byId("device-retry", HTMLButtonElement).addEventListener("click", () => {
    void meter.resume();
    void capture.open(controls.source, controls.capture);
  });
  mute.addEventListener("click", () => {
    muted = !muted;
    capture.mute(muted);
    render();
  });
  byId("copy", HTMLButtonElement).addEventListener("click", () => void copyLink());
  for (const source of [controls.sourceCamera, controls.sourceScreen]) {
    source.addEventListener("change", () => {
      news = undefined;
      void capture.picture(controls.source, controls.capture);
    });
  }
  controls.camera.addEventListener("change", () => {
    if (controls.source === "camera") void capture.picture("camera", controls.capture);
  });
  for (const select of [controls.resolution, controls.framerate]) {
    select.addEventListener("change", () => {
      controls.suggestBitrate();
      void broadcast?.setBitrate(controls.kbps);
      // A shared screen has the size it has, and asking anew would open the chooser again.
      if (capture.video && controls.source === "camera") void capture.picture("camera", controls.capture);
    });
  }
  for (const select of [controls.microphone, controls.sound]) {
    select.addEventListener("change", () => void capture.sound(controls.capture));
  }
  controls.bitrate.addEventListener("change", () => void broadcast?.setBitrate(controls.kbps));
  navigator.mediaDevices?.addEventListener?.("devicechange", () => void controls.refreshDevices(capture.video, capture.audio));
  window.addEventListener("online", () => broadcast?.networkChanged());
  window.addEventListener("offline", () => broadcast?.networkChanged());
  window.addEventListener("beforeunload", (event) => {
    if (!onAir()) return;
    event.preventDefault();
  });
  window.addEventListener("pagehide", (event) => {
    if (!event.persisted) broadcast?.leave();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) broadcast?.wake();
  });
  document.addEventListener("resume", () => broadcast?.wake());
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    broadcast?.wake();
    if (onAir()) void keepAwake();
  });
  document.addEventListener("pointerdown", () => void meter.resume(), { once: true });
}

wire();
localised(render);
animate();
setInterval(() => void pollViewers(), VIEWERS_MS);
if (room) {
  setText(byId("room", HTMLElement), room);
  byTestId("watch-link", HTMLInputElement).value = new URL(`/watch/${encodeURIComponent(room)}`, location.href).href;
  controls.token.value = takeToken("studio", room) ?? "";
  // Another link opened in this tab may bring another token.
  window.addEventListener("hashchange", () => {
    controls.token.value = takeToken("studio", room) ?? controls.token.value;
  });
  void clientConfig().then((config) => {
    if (config?.maxPublishBitrateKbps) controls.limitBitrate(config.maxPublishBitrateKbps);
  });
  void capture.open(controls.source, controls.capture);
}
