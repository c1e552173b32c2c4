/** The watch page: from a room's name to the artist's picture. */

import type { ChatChannels } from "../client/channels.ts";
import { LAYERS, type LayerChoice } from "../client/events.ts";
import type { PlaySession } from "../client/whep.ts";
import { duration, localised, startLanguage, t, type Key } from "../i18n/index.ts";
import { drawCrowd } from "../ui/crowd.ts";
import { byId, byTestId, setOptions, setText } from "../ui/dom.ts";
import { problemKey, wantsToken } from "../ui/problems.ts";
import { keepToken, roomOfPath, takeToken } from "../ui/room.ts";
import { followSurroundings } from "../ui/surroundings.ts";
import { Beside } from "./beside.ts";
import type { WatchChat } from "./chat.ts";
import { showOverlay } from "./overlay.ts";
import { Player } from "./player.ts";
import { SoundOnly } from "./soundonly.ts";
import { watchState, type WatchState } from "./state.ts";
import { RunningMedian, frameLatency, type FrameTimes, type WatchFigures } from "./stats.ts";
import { Viewing } from "./viewing.ts";

const TITLES: Readonly<Record<Exclude<WatchState, "live">, Key>> = {
  connecting: "watch.state.connecting",
  waiting: "watch.state.waiting",
  interrupted: "watch.state.interrupted",
  ended: "watch.state.ended",
  reconnecting: "watch.state.reconnecting",
  offline: "watch.state.offline",
  error: "watch.state.error",
};
const MORE: Partial<Record<WatchState, Key>> = {
  waiting: "watch.state.waiting.more",
  interrupted: "watch.state.interrupted.more",
  ended: "watch.state.ended.more",
  reconnecting: "watch.state.reconnecting.more",
  offline: "watch.state.offline.more",
};
/** How long a short message stays. */
const TOAST_MS = 4_000;

startLanguage();
const room = roomOfPath(location.pathname);
const quality = byTestId("quality", HTMLSelectElement);
const statsToggle = byTestId("stats-toggle", HTMLButtonElement);
const latencies = new RunningMedian(31);
let token = room ? takeToken("watch", room) : undefined;
let figures: WatchFigures | undefined;
let session: PlaySession | undefined;
let chat: WatchChat | undefined;
let channels: ChatChannels | undefined;

const soundOnly = new SoundOnly();
const player = new Player({ i: toggleStats, q: () => quality.focus(), c: () => chat?.toggle() });
const beside = new Beside(() => {
  viewing.swap().catch(() => toast(t("watch.swap.failed")));
});
const viewing: Viewing = new Viewing(
  new URL(`/whep/${encodeURIComponent(room ?? "")}`, location.href).href,
  () => token,
  {
    onChange: render,
    onSession(latest) {
      session = latest;
      soundOnly.session = latest;
      latencies.clear();
      player.play(soundOnly.shown ? latest.sound() : latest.stream);
      watchFrames();
      beside.play(latest.others[0]);
    },
    onChannels(latest) {
      channels = latest;
      chat?.attach(latest);
    },
    onFigures(latest) {
      figures = latest;
      showOverlay(figures);
    },
    frameLatency: () => latencies.value,
  },
);

/** Frames tell when the show is on screen, and how old they are. Only the newest chain of callbacks counts. */
let chain = 0;
function watchFrames(): void {
  chain += 1;
  const mine = chain;
  const { video } = player;
  if (typeof video.requestVideoFrameCallback !== "function") {
    video.addEventListener("playing", () => viewing.painted(), { once: true });
    return;
  }
  const frame = (_: number, times: FrameTimes) => {
    if (mine !== chain) return;
    const ms = frameLatency(times);
    if (ms !== undefined) latencies.add(ms);
    viewing.painted();
    video.requestVideoFrameCallback(frame);
  };
  video.requestVideoFrameCallback(frame);
}

function state(): WatchState {
  return room ? watchState(viewing.known) : "error";
}

function render(): void {
  const now = state();
  const root = document.documentElement;
  root.dataset["state"] = now;
  document.title = room && now === "live" ? t("watch.title", { room }) : [room, t("home.title")].filter(Boolean).join(" · ");
  setText(byId("title", HTMLElement), document.title);
  player.video.setAttribute("aria-label", t("watch.video", { room: room ?? "" }));
  const title = byTestId("state", HTMLElement);
  // Readers hear "Live" too; eyes see the picture instead.
  setText(title, t(now === "live" ? "watch.live" : refusedTitle() ?? TITLES[now]));
  setText(byId("more", HTMLElement), more(now));
  byId("on-air", HTMLElement).hidden = now !== "live";
  showKinds(now);
  byId("slow", HTMLElement).hidden = now !== "live" || !viewing.slow;
  beside.shown = now === "live" && !viewing.known.soundOnly && viewing.beside !== undefined;
  const viewers = byTestId("viewers", HTMLElement);
  viewers.hidden = viewing.viewers === undefined;
  setText(viewers, t("watch.viewers", { count: viewing.viewers ?? 0 }));
  const { status } = viewing.known;
  const ticket = byId("ticket", HTMLElement);
  const wanted = status.kind === "refused" && wantsToken(status.problem);
  if (wanted === ticket.hidden) {
    ticket.hidden = !wanted;
    if (wanted) byTestId("token", HTMLInputElement).focus();
  }
  byId("again", HTMLElement).hidden = status.kind !== "refused" || wantsToken(status.problem);
  // Without a place before the picture, there may still be one in the chat.
  if (status.kind === "refused" && !wantsToken(status.problem)) chat?.withoutSession();
  renderQuality();
  mediaSession(now);
}

/** A show may have sound alone, or pictures alone, and that may change. */
function showKinds(now: WatchState): void {
  player.silent = viewing.silent;
  const alone = viewing.known.soundOnly;
  document.documentElement.dataset["media"] = alone ? "sound" : "picture";
  if (alone !== soundOnly.shown && session) {
    player.play(alone ? session.sound() : session.stream);
    if (!alone) watchFrames();
  }
  // A picture that is sent but never comes is one that this browser cannot decode: the server leaves it out then.
  const unplayable = viewing.layers.length > 0 && !viewing.known.painted;
  setText(byId("sound-text", HTMLElement), t(unplayable ? "watch.unplayable" : "watch.soundonly"));
  soundOnly.show(alone);
  byId("sound-room", HTMLElement).hidden = now !== "live";
}

/** What stands above a refusal that has a name of its own. */
function refusedTitle(): Key | undefined {
  const { status } = viewing.known;
  if (status.kind !== "refused") return undefined;
  if (status.problem.code === "removed") return "watch.state.removed";
  return status.problem.code === "token_missing" ? "watch.state.token" : undefined;
}

function more(now: WatchState): string {
  if (refusedTitle() === "watch.state.removed") return "";
  if (!room) return t("problem.room_name");
  const { status } = viewing.known;
  const problem = status.kind === "refused" || status.kind === "reconnecting" ? status.problem : undefined;
  if (!problem || problem.code === "not_live" || problem.code === "show_over") {
    const key = MORE[now];
    return key ? t(key) : "";
  }
  const text = t(problemKey(problem), { detail: problem.message });
  if (status.kind !== "reconnecting" || status.waitMs < 1_000) return text;
  return `${text} ${t("problem.retry", { time: duration(status.waitMs / 1_000) })}`;
}

function renderQuality(): void {
  const { layers, current, choice, canChoose } = viewing;
  const auto = current ? t("watch.quality.auto", { layer: t(`layer.${current}`) }) : t("layer.auto");
  setOptions(quality, [
    { value: "auto", label: auto },
    ...[...LAYERS].reverse().map((layer) => ({
      value: layer,
      label: t(`layer.${layer}`),
      disabled: layers.length > 0 && !layers.includes(layer),
    })),
  ]);
  quality.value = choice;
  quality.disabled = !canChoose;
}

function toggleStats(): void {
  const box = byTestId("stats", HTMLElement);
  box.hidden = !box.hidden;
  statsToggle.setAttribute("aria-pressed", String(!box.hidden));
  showOverlay(figures);
}

/** What lock screens and headsets show. */
function mediaSession(now: WatchState): void {
  if (!("mediaSession" in navigator) || !room) return;
  navigator.mediaSession.metadata = new MediaMetadata({ title: room, artist: "Lightstick" });
  navigator.mediaSession.playbackState = now === "live" ? "playing" : "none";
}

/** Begins anew, as whom the token names. */
function enter(): void {
  chat?.start();
  viewing.start();
}

/** The chat comes after the request for the picture, and is there before the picture's connection is. */
async function openChat(name: string): Promise<void> {
  const { WatchChat } = await import("./chat.ts");
  chat = new WatchChat(name, () => token);
  if (channels) chat.attach(channels);
  render();
}

let toastTimer: ReturnType<typeof setTimeout> | undefined;
function toast(text: string): void {
  setText(byId("toast", HTMLElement), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => setText(byId("toast", HTMLElement), ""), TOAST_MS);
}

function wire(): void {
  quality.addEventListener("change", () => {
    viewing.choose(quality.value as LayerChoice).then(render, () => {
      toast(t("watch.quality.failed"));
      render();
    });
  });
  statsToggle.addEventListener("click", toggleStats);
  byId("again", HTMLButtonElement).addEventListener("click", () => viewing.start());
  byId("ticket", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    token = byTestId("token", HTMLInputElement).value.trim() || undefined;
    if (room && token) keepToken("watch", room, token);
    enter();
  });
  followSurroundings({
    onNetwork: () => viewing.networkChanged(),
    onWake() {
      viewing.wake();
      player.wake();
    },
  });
  window.addEventListener("pagehide", () => {
    viewing.stop(true);
    chat?.stop();
  });
  // Back from the browser's page cache: the session was given back when the page was left.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted && room) enter();
  });
  window.addEventListener("hashchange", () => {
    const fresh = room && takeToken("watch", room);
    if (!fresh || fresh === token) return;
    token = fresh;
    enter();
  });
}

// The request goes out before anything is drawn: every millisecond here is one before the first frame.
if (room) {
  viewing.start();
  void openChat(room);
} else {
  byId("player", HTMLElement).dataset["chat"] = "hidden";
}
wire();
setText(byId("room", HTMLElement), room ?? "");
setText(byId("sound-room", HTMLElement), room ?? "");
drawCrowd(byId("crowd", HTMLElement), 40);
localised(() => {
  render();
  showOverlay(figures);
});
