/** The studio: from devices to a show on air. */

import type { ChatChannels } from "../client/channels.ts";
import type { KeeperStatus } from "../client/keeper.ts";
import type { Hint } from "../client/publisher-events.ts";
import { duration, localised, startLanguage, t, type Key } from "../i18n/index.ts";
import { clientConfig } from "../ui/api.ts";
import { byId, byTestId, setText } from "../ui/dom.ts";
import { problemKey, wantsToken } from "../ui/problems.ts";
import { keepToken, roomOfPath, takeToken } from "../ui/room.ts";
import { followSurroundings } from "../ui/surroundings.ts";
import { Broadcast } from "./broadcast.ts";
import { Capture } from "./capture.ts";
import type { StudioChat } from "./chat.ts";
import { Controls } from "./controls.ts";
import type { DeviceError } from "./devices.ts";
import { showFigures } from "./figures.ts";
import { showHints } from "./hints.ts";
import { LevelMeter } from "./level.ts";
import { GRACE_MS, SEEN_MS, forgetOnAir, holdOnAir, isFree, keepOnAir, recallOnAir, type ShowSettings } from "./onair.ts";
import type { SendFigures } from "./stats.ts";

/** States of the page, as `data-state` of the document says them. */
type StudioState = "idle" | "preview" | "connecting" | "live" | "reconnecting" | "offline" | "error";

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
let deviceErrors: readonly DeviceError[] = [];
/** Something that is no trouble, but that the artist should know. */
let news: Key | undefined;
let starting = false;
let muted = false;
let liveSince: number | undefined;
let wakeLock: WakeLockSentinel | undefined;
let figures: SendFigures | undefined;
let viewers: number | undefined;
let hints: readonly Hint[] = [];
/** A show of this room waits for its artist, who has to say that it goes on. */
let waiting = false;
let letGo: (() => void) | undefined;
let chat: StudioChat | undefined;
let channels: ChatChannels | undefined;

const capture = new Capture({
  onTracks(video, audio, errors) {
    preview.srcObject = video ? new MediaStream([video]) : null;
    document.documentElement.dataset["source"] = controls.source;
    meter.follow(audio);
    deviceErrors = errors;
    if (errors.some(({ key }) => key === "device.screen.refused")) controls.source = "camera";
    void broadcast?.setTracks(video, audio);
    void controls.refreshDevices(video, audio);
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
  setText(goLive, t(waiting ? "studio.resume" : "studio.golive"));
  setText(stop, t("studio.stop"));
  mute.disabled = !capture.audio;
  mute.setAttribute("aria-pressed", String(muted));
  setText(mute, t(muted ? "studio.unmute" : "studio.mute"));
  document.documentElement.dataset["muted"] = String(muted);
  byId("muted", HTMLElement).hidden = !muted || !capture.audio;
  const soundOnly = !capture.video && capture.audio !== undefined;
  byId("empty", HTMLElement).hidden = capture.video !== undefined || soundOnly;
  byId("sound-only", HTMLElement).hidden = !soundOnly;
  controls.lock(onAir());
  const count = byId("viewers", HTMLElement);
  count.hidden = !onAir() || viewers === undefined;
  setText(count, t("studio.viewers", { count: viewers ?? 0 }));
  const errors = deviceErrors.map(({ key, message }) => t(key, { detail: message })).join(" ");
  notice(byTestId("device-error", HTMLElement), errors || undefined);
  notice(byTestId("error", HTMLElement), problemText());
  setText(byId("news", HTMLElement), news ? t(news) : waiting && !onAir() ? t("studio.resume.offer") : "");
  // What the artist has turned off does not come, and is no fault.
  const off = new Set([capture.video ? "" : "no_video_packets", capture.audio ? "" : "no_audio_packets"]);
  showHints(onAir() ? hints.filter(({ code }) => !off.has(code)) : []);
  showFigures(onAir() ? figures : undefined);
}

function problemText(): string | undefined {
  if (!room) return t("problem.room_name");
  const problem = status.kind === "refused" || status.kind === "reconnecting" ? status.problem : undefined;
  if (!problem) return undefined;
  const text = t(problemKey(problem), { detail: problem.message });
  if (status.kind !== "reconnecting") return text;
  return `${text} ${t("problem.retry", { time: duration(Math.max(1, status.waitMs / 1_000)) })}`;
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
    waiting = false;
    if (room) letGo ??= holdOnAir(room);
    remember();
    void keepAwake();
  } else if (next.kind === "closed" || next.kind === "refused") {
    liveSince = undefined;
    figures = undefined;
    hints = [];
    viewers = undefined;
    if (room) forgetOnAir(room);
    letGo?.();
    letGo = undefined;
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
  const there = capture.video ?? capture.audio;
  const ready = there !== undefined || (await capture.open(controls.source, controls.capture));
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
    {
      onStatus: changed,
      onFigures(latest) {
        figures = latest;
        showFigures(onAir() ? figures : undefined);
      },
      onChannels(latest) {
        channels = latest;
        chat?.attach(latest);
      },
      onAudience(latest) {
        viewers = latest;
        render();
      },
      onHints(latest) {
        hints = latest;
        render();
      },
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

/** One tap beside "Mute" must not send everybody home. */
function askToEnd(): void {
  const dialog = byId("confirm", HTMLDialogElement);
  dialog.returnValue = "";
  dialog.showModal();
}

/** Keeps what another page of this studio would need to go on. */
function remember(): void {
  if (!room || liveSince === undefined || !onAir()) return;
  keepOnAir(room, { since: liveSince, seen: Date.now(), settings: { ...controls.settings, muted } });
}

function restore(settings: ShowSettings): void {
  controls.settings = settings;
  muted = settings.muted;
  capture.mute(muted);
}

/** Opens the devices, and goes on with a show that this page has left without an end. */
async function begin(name: string, graceMs: number): Promise<void> {
  const left = recallOnAir(name, Date.now(), graceMs);
  const free = left !== undefined && (await isFree(name));
  if (!left || !free) {
    await capture.open(controls.source, controls.capture);
    return;
  }
  restore(left.show.settings);
  // Browsers share a screen only after a tap, and a tab that was opened anew may not be meant to be on air.
  if (!left.own || controls.source === "screen") {
    waiting = true;
    render();
    if (controls.source === "camera") await capture.open("camera", controls.capture);
    return;
  }
  if (!(await capture.open("camera", controls.capture))) {
    waiting = true;
    render();
    return;
  }
  liveSince = left.show.since;
  news = "studio.resumed";
  await start();
}

/** Phones darken after half a minute without a touch, and stop their camera then. */
async function keepAwake(): Promise<void> {
  if (wakeLock && !wakeLock.released) return;
  wakeLock = await navigator.wakeLock?.request("screen").catch(() => undefined);
}

/** The lamp in the brand and the meter follow the voice. */
function animate(): void {
  const level = muted ? 0 : meter.read();
  document.documentElement.style.setProperty("--level", level.toFixed(3));
  byId("level", HTMLElement).setAttribute("aria-valuenow", String(Math.round(level * 100)));
  const clock = byId("clock", HTMLElement);
  clock.hidden = liveSince === undefined;
  if (liveSince !== undefined) setText(clock, clockText(Date.now() - liveSince));
  requestAnimationFrame(animate);
}

function clockText(ms: number): string {
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
  stop.addEventListener("click", askToEnd);
  byId("confirm", HTMLDialogElement).addEventListener("close", (event) => {
    if ((event.target as HTMLDialogElement).returnValue === "end") end();
  });
  enable.addEventListener("click", () => void capture.open(controls.source, controls.capture));
  byId("device-retry", HTMLButtonElement).addEventListener("click", () => {
    void meter.resume();
    void capture.open(controls.source, controls.capture);
  });
  mute.addEventListener("click", () => {
    muted = !muted;
    capture.mute(muted);
    remember();
    render();
  });
  // The size that is really captured: cameras turn, and shared windows grow.
  preview.addEventListener("resize", () => void broadcast?.resized());
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
  navigator.mediaDevices?.addEventListener?.("devicechange", () => {
    void controls.refreshDevices(capture.video, capture.audio);
    // What was missing may have been plugged in.
    const { video, audio } = capture.lacks;
    if (video && capture.audio && controls.source === "camera") void capture.picture("camera", controls.capture);
    if (audio && capture.video) void capture.sound(controls.capture);
  });
  followSurroundings({
    onNetwork: () => broadcast?.networkChanged(),
    onWake() {
      broadcast?.wake();
      if (onAir()) void keepAwake();
    },
  });
  window.addEventListener("beforeunload", (event) => {
    if (!onAir()) return;
    event.preventDefault();
  });
  window.addEventListener("pagehide", (event) => {
    if (!event.persisted) broadcast?.leave();
  });
  document.addEventListener("pointerdown", () => void meter.resume(), { once: true });
}

wire();
localised(render);
animate();
setInterval(remember, SEEN_MS);
if (room) {
  setText(byId("room", HTMLElement), room);
  byTestId("watch-link", HTMLInputElement).value = new URL(`/watch/${encodeURIComponent(room)}`, location.href).href;
  controls.token.value = takeToken("studio", room) ?? "";
  // Another link opened in this tab may bring another token.
  window.addEventListener("hashchange", () => {
    controls.token.value = takeToken("studio", room) ?? controls.token.value;
  });
  const config = clientConfig();
  void config.then((known) => {
    if (known?.maxPublishBitrateKbps) controls.limitBitrate(known.maxPublishBitrateKbps);
  });
  void config.then((known) => begin(room, known?.graceMs ?? GRACE_MS));
}
