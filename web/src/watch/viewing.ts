/** A seat in the room: one viewing session kept alive, its events and its figures. */

import { Backoff, VIEWER_BACKOFF } from "../client/backoff.ts";
import type { ChatChannels } from "../client/channels.ts";
import { followEvents, type Layer, type LayerChoice, type ShowEvent, type VideoTrack } from "../client/events.ts";
import { Keeper, type KeeperStatus } from "../client/keeper.ts";
import { ProblemError } from "../client/problem.ts";
import { PlaySession } from "../client/whep.ts";
import { reportMap, type Stat } from "../client/report.ts";
import { schedule } from "../ui/schedule.ts";
import { Kinds } from "./kinds.ts";
import type { Known, Show } from "./state.ts";
import { SlowLink } from "./slowlink.ts";
import { watchFigures, type WatchFigures } from "./stats.ts";

/** Callbacks of a [`Viewing`]. */
export interface ViewingListener {
  /** Something that the page shows has changed. */
  onChange(): void;
  onSession(session: PlaySession): void;
  /** A session has channels for the chat. */
  onChannels(channels: ChatChannels): void;
  onFigures(figures: WatchFigures): void;
  /** Latency of recent frames in milliseconds, if known. */
  frameLatency(): number | undefined;
}

/** How often figures are read. */
const STATS_MS = 1_000;
/** The main picture, and one beside it. */
const VIDEO_TRACKS = 2;
/** How long an interruption has to last before it is shown. */
const INTERRUPTED_AFTER_MS = 1_000;
/**
 * An active show without a single byte for so long: the artist's line is broken, as the server will soon notice. A
 * fan's own line that is broken shows earlier, for then the server's reports stay out as well.
 */
const STALL_MS = 4_000;
/**
 * After so long the server must have noticed, so the fault is this session's: a new one is asked for. The whole
 * audience stands still together, so each of them adds a random time of up to `GIVE_UP_SPREAD_MS`.
 */
const GIVE_UP_MS = 35_000;
const GIVE_UP_SPREAD_MS = 20_000;

/** See the module. */
export class Viewing {
  readonly #keeper: Keeper<PlaySession>;
  #status: KeeperStatus = { kind: "closed" };
  #show: Show = "unknown";
  #painted = false;
  #viewers: number | undefined;
  #layers: readonly Layer[] = [];
  #current: Layer | undefined;
  #choice: LayerChoice = "auto";
  #tracks: readonly VideoTrack[] = [];
  #main: string | undefined;
  /** The track that this viewer wants first. */
  #chosen: string | undefined;
  #iceServers: RTCIceServer[] = [];
  #leaveEvents: () => void = () => {};
  #cancelStats: () => void = () => {};
  #before: ReadonlyMap<string, Stat> = new Map();
  readonly #kinds = new Kinds();
  readonly #link = new SlowLink();
  #cancelInterrupted: () => void = () => {};
  #bytes = 0;
  #quietMs = 0;
  #giveUpMs = GIVE_UP_MS;

  constructor(
    private readonly url: string,
    private readonly token: () => string | undefined,
    private readonly listener: ViewingListener,
  ) {
    this.#keeper = new Keeper<PlaySession>({
      open: (signal) => {
        this.#painted = false;
        this.#leaveEvents();
        const endpoint = { url: this.url, token: this.token() };
        return PlaySession.open({ endpoint, iceServers: this.#iceServers, videoTracks: VIDEO_TRACKS }, signal);
      },
      onOpen: (session) => this.#opened(session),
      onStatus: (status) => {
        this.#status = status;
        // What the server said belongs to the session that is gone; "unknown" until the next one speaks.
        if (status.kind === "refused" || status.kind === "closed") this.#leaveEvents();
        this.listener.onChange();
      },
      schedule,
      now: Date.now,
      replaces: false,
      backoff: new Backoff(VIEWER_BACKOFF, Math.random),
      isOnline: () => navigator.onLine,
      mayWaitOut: () => false,
      whenClosed: async (session) => this.#sentAway(session),
    });
  }

  get known(): Known {
    return {
      status: this.#status,
      show: this.#show,
      painted: this.#painted,
      soundOnly: this.#kinds.soundOnly,
      stalled: this.#quietMs >= STALL_MS,
      hasEvents: this.#keeper.connection?.eventsUrl !== undefined,
    };
  }

  /** Whether the show has pictures and no sound. */
  get silent(): boolean {
    return this.#kinds.silent;
  }

  /** Whether this viewer's own connection is too slow for what is sent. */
  get slow(): boolean {
    return this.#link.slow && this.#status.kind === "connected";
  }

  get viewers(): number | undefined {
    return this.#viewers;
  }

  /** Layers that the artist sends, lowest first; empty when the server does not say. */
  get layers(): readonly Layer[] {
    return this.#layers;
  }

  /** The layer that this viewer gets. */
  get current(): Layer | undefined {
    return this.#current;
  }

  get choice(): LayerChoice {
    return this.#choice;
  }

  /** The track beside the main one, which the second section carries; none while it brings no picture. */
  get beside(): string | undefined {
    const second = this.#main === undefined ? undefined : this.#tracks.find(({ id }) => id !== this.#main);
    return second?.live ? second.id : undefined;
  }

  /** Whether the server lets this viewer choose. */
  get canChoose(): boolean {
    return this.#keeper.connection?.layerUrl !== undefined;
  }

  start(): void {
    this.#show = "unknown";
    this.#keeper.start();
    this.#poll();
  }

  stop(keepalive = false): void {
    this.#cancelStats();
    this.#cancelInterrupted();
    this.#leaveEvents();
    this.#keeper.stop(keepalive);
  }

  networkChanged(): void {
    this.#keeper.networkChanged();
  }

  /** The page was out of sight, frozen or asleep. */
  wake(): void {
    this.#keeper.wake();
  }

  /** A frame was painted. */
  painted(): void {
    if (this.#painted) return;
    this.#painted = true;
    this.listener.onChange();
  }

  /** Asks for a quality; a later session of this viewer asks again by itself. Throws `ProblemError`. */
  async choose(choice: LayerChoice): Promise<void> {
    const before = this.#choice;
    this.#choice = choice;
    try {
      await this.#keeper.connection?.chooseLayer(choice);
    } catch (error) {
      this.#choice = before;
      throw error;
    }
  }

  /** Makes the picture beside the main one the main one; a later session asks for it again. Throws `ProblemError`. */
  async swap(): Promise<void> {
    const before = this.#chosen;
    const wanted = this.beside;
    if (wanted === undefined) return;
    this.#chosen = wanted;
    try {
      await this.#keeper.connection?.setMain(wanted);
    } catch (error) {
      this.#chosen = before;
      throw error;
    }
  }

  #opened(session: PlaySession): void {
    this.#iceServers = session.peer.resource.iceServers;
    this.#cancelInterrupted();
    this.#show = "unknown";
    this.#layers = [];
    this.#current = undefined;
    this.#tracks = [];
    this.#main = undefined;
    this.#before = new Map();
    this.#bytes = 0;
    this.#kinds.begin();
    this.#link.clear();
    this.#quietMs = 0;
    this.#giveUpMs = GIVE_UP_MS + Math.random() * GIVE_UP_SPREAD_MS;
    this.listener.onSession(session);
    if (session.channels) this.listener.onChannels(session.channels);
    if (this.#choice !== "auto") {
      void session.chooseLayer(this.#choice).catch(() => {
        this.#choice = "auto";
        this.listener.onChange();
      });
    }
    if (this.#chosen !== undefined) {
      // The artist may have come back with fewer pictures.
      void session.setMain(this.#chosen).catch(() => (this.#chosen = undefined));
    }
    const url = session.eventsUrl;
    if (url) {
      this.#leaveEvents = followEvents(
        url,
        (event) => this.#heard(event),
        () => {
          // The server does not know this session any more.
          if (this.#keeper.connection === session) this.#keeper.reopenAfter(0);
        },
      );
    }
    this.listener.onChange();
  }

  /**
   * Why the server has said goodbye. One that stops says so by an event first; without one, somebody has sent this
   * viewer away, or the room was closed behind a show that is over. Who follows no events cannot know.
   */
  #sentAway(session: PlaySession): ProblemError | undefined {
    if (session.eventsUrl === undefined || document.visibilityState !== "visible") return undefined;
    return new ProblemError(0, this.#show === "ended" ? "show_over" : "removed", "");
  }

  #heard(event: ShowEvent): void {
    switch (event.type) {
      case "active":
        this.#cancelInterrupted();
        this.#show = "active";
        break;
      case "inactive":
        this.#cancelInterrupted();
        if (event.reason === "interrupted" && this.#show === "active") {
          // An artist's new session takes the place of the old one within this time: that is no interruption to show.
          this.#cancelInterrupted = schedule(INTERRUPTED_AFTER_MS, () => {
            this.#show = "interrupted";
            this.listener.onChange();
          });
          return;
        }
        this.#show = event.reason;
        break;
      case "layers":
        this.#layers = event.layers;
        this.#current = event.current;
        break;
      case "tracks":
        this.#tracks = event.tracks;
        this.#main = event.main;
        break;
      case "viewercount":
        this.#viewers = event.viewers;
        break;
      case "reconnect":
        this.#keeper.reopenAfter(event.retryAfterMs);
        return;
    }
    this.listener.onChange();
  }

  #poll(): void {
    this.#cancelStats();
    this.#cancelStats = schedule(STATS_MS, () => {
      void this.#measure().finally(() => this.#poll());
    });
  }

  async #measure(): Promise<void> {
    const session = this.#keeper.connection;
    if (!session || this.#status.kind !== "connected") return;
    const now = reportMap(await session.peer.pc.getStats());
    const figures = watchFigures(this.#before, now, this.listener.frameLatency(), Date.now());
    this.#before = now;
    this.listener.onFigures(figures);
    const shown = () => [this.known.stalled, this.known.soundOnly, this.silent, this.slow].join();
    const before = shown();
    this.#kinds.add(Date.now(), figures.bytes);
    this.#link.add(figures);
    const bytes = figures.bytes.audio + figures.bytes.video;
    this.#quietMs = this.#show === "active" && bytes === this.#bytes ? this.#quietMs + STATS_MS : 0;
    this.#bytes = bytes;
    if (shown() !== before) this.listener.onChange();
    if (this.#quietMs >= this.#giveUpMs) {
      this.#quietMs = 0;
      this.#keeper.reopenAfter(0);
    }
  }
}
