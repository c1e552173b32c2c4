/** A show on air: one publishing session kept alive, and its figures. */

import { Backoff, PUBLISHER_BACKOFF } from "../client/backoff.ts";
import type { ChatChannels } from "../client/channels.ts";
import { Keeper, type KeeperStatus } from "../client/keeper.ts";
import { ProblemError } from "../client/problem.ts";
import { followPublisher, type Hint } from "../client/publisher-events.ts";
import { reportMap, type Stat } from "../client/report.ts";
import { PublishSession, type VideoCodec } from "../client/whip.ts";
import { schedule } from "../ui/schedule.ts";
import { fitted, videoEncodings } from "./encodings.ts";
import { sendFigures, type SendFigures } from "./stats.ts";

/** Settings of a show; codec and simulcast are fixed while it runs. */
export interface BroadcastSettings {
  readonly url: string;
  readonly token: string | undefined;
  readonly codec: VideoCodec;
  readonly simulcast: boolean;
  readonly kbps: number;
  readonly fps: number;
}

/** Stereo music that few can tell from the original. Browsers may send every packet twice (RED), each at this rate. */
const AUDIO_BITRATE = 96_000;
/** The longest that a broken session of ours may hold the room against us, in milliseconds. */
const GHOST_MS = 45_000;
/** How often figures are read. */
const STATS_MS = 1_000;

/** When a server that has closed the show is asked whether it is still there, in milliseconds after each other. */
const PROBES_MS = [100, 200, 300, 400, 500];

/**
 * A server that stops closes its publishers, and the show goes on with the next one. A server that stays has meant
 * this show: somebody has ended it, or has taken the room over. Coming back would undo that, and two studios of
 * one artist would throw each other out in turns.
 */
async function whyClosed(session: PublishSession): Promise<ProblemError | undefined> {
  for (const ms of PROBES_MS) {
    await new Promise<void>((due) => schedule(ms, due));
    const status = await session.peer.resource.probe();
    if (status === 0 || status >= 500) return undefined;
  }
  return new ProblemError(0, "ended_elsewhere", "");
}

/** Pixels of a track's pictures, 0 when the browser does not say. */
function pixelsOf(track: MediaStreamTrack | undefined): number {
  const { width = 0, height = 0 } = track?.getSettings() ?? {};
  return width * height;
}

/** Callbacks of a [`Broadcast`]. */
export interface BroadcastListener {
  onStatus(status: KeeperStatus): void;
  onFigures(figures: SendFigures): void;
  /** A session has channels for the chat. */
  onChannels(channels: ChatChannels): void;
  /** How many watch, while that is known. */
  onAudience(viewers: number | undefined): void;
  /** What the server finds wrong with the media. */
  onHints(hints: readonly Hint[]): void;
}

/** See the module. */
export class Broadcast {
  readonly #keeper: Keeper<PublishSession>;
  #video: MediaStreamTrack | undefined;
  #audio: MediaStreamTrack | undefined;
  #kbps: number;
  #iceServers: RTCIceServer[] = [];
  #before: ReadonlyMap<string, Stat> = new Map();
  #cancelStats: () => void = () => {};
  /** Ids of the layers that nobody watches. */
  #unwanted: ReadonlySet<string> = new Set();
  /** Ids of the layers that the picture is too small for. */
  #needless: ReadonlySet<string> = new Set();
  #leaveEvents: () => void = () => {};
  /** Browsers take one change of the encodings at a time. */
  #encoding: Promise<void> = Promise.resolve();
  /** When the connection was lost, Unix time in milliseconds. */
  #lostAt: number | undefined;

  constructor(
    private readonly settings: BroadcastSettings,
    private readonly listener: BroadcastListener,
  ) {
    this.#kbps = settings.kbps;
    this.#keeper = new Keeper<PublishSession>({
      open: (signal) => this.#open(signal),
      onOpen: (session) => {
        this.#iceServers = session.peer.resource.iceServers;
        // Tracks or the bit rate may have changed while the offer was on its way.
        void this.setTracks(this.#video, this.#audio);
        void this.setBitrate(this.#kbps);
        this.#follow(session.eventsUrl);
        if (session.channels) this.listener.onChannels(session.channels);
      },
      onStatus: (status) => {
        this.#lostAt = status.kind === "connected" ? undefined : (this.#lostAt ?? Date.now());
        this.listener.onStatus(status);
      },
      schedule,
      now: Date.now,
      replaces: true,
      backoff: new Backoff(PUBLISHER_BACKOFF, Math.random),
      isOnline: () => navigator.onLine,
      // After a broken line, "somebody else is on air" is most likely the session that just broke.
      mayWaitOut: (problem, ghost) =>
        ghost && problem.code === "room_busy" && Date.now() - (this.#lostAt ?? 0) < GHOST_MS,
      whenClosed: whyClosed,
    });
  }

  get status(): KeeperStatus {
    return this.#keeper.status;
  }

  start(video: MediaStreamTrack | undefined, audio: MediaStreamTrack | undefined): void {
    this.#video = video;
    this.#audio = audio;
    this.#keeper.start();
    this.#poll();
  }

  /** Ends the show, for everybody. */
  stop(): void {
    this.#cancelStats();
    this.#follow(undefined);
    this.#keeper.stop();
  }

  /**
   * The page goes away, which ends no show: the room waits for the artist, and whoever comes back goes on. Closing
   * tells the fans at once that the line is cut; the server would notice later by itself.
   */
  leave(): void {
    this.#keeper.connection?.abandon();
  }

  networkChanged(): void {
    this.#keeper.networkChanged();
  }

  /** The page was frozen or asleep. */
  wake(): void {
    this.#keeper.wake();
  }

  /** Swaps tracks. One of a kind that was not offered needs a new offer, and so a short break. */
  async setTracks(video: MediaStreamTrack | undefined, audio: MediaStreamTrack | undefined): Promise<void> {
    this.#video = video;
    this.#audio = audio;
    const session = this.#keeper.connection;
    if (!session) return;
    if ((video && !session.has("video")) || (audio && !session.has("audio"))) {
      this.#keeper.reopenAfter(0);
      return;
    }
    await Promise.all([session.replace("video", video ?? null), session.replace("audio", audio ?? null)]).catch(() => {
      // The connection was closed meanwhile; the next one takes the tracks from here.
    });
    await this.#encode();
  }

  /** Changes the bit rate of a running show. */
  async setBitrate(kbps: number): Promise<void> {
    this.#kbps = kbps;
    await this.#encode();
  }

  /** The picture has another size: of its own accord, or because the artist has chosen so. */
  async resized(): Promise<void> {
    await this.#encode();
  }

  /** Follows the events of the present session, if its server has them. */
  #follow(url: string | undefined): void {
    this.#leaveEvents();
    this.#leaveEvents = () => {};
    this.#unwanted = new Set();
    this.listener.onAudience(undefined);
    this.listener.onHints([]);
    if (!url) return;
    this.#leaveEvents = followPublisher(() => new EventSource(url), schedule, {
      onUnwanted: (unwanted) => {
        this.#unwanted = unwanted;
        void this.#encode();
      },
      onAudience: (viewers) => this.listener.onAudience(viewers),
      onHints: (hints) => this.listener.onHints(hints),
    });
  }

  /** Gives the encoder its bit rate and its layers. */
  #encode(): Promise<void> {
    this.#encoding = this.#encoding.then(async () => {
      await this.#keeper.connection
        ?.encode((encodings) => {
          const fit = fitted(encodings, { kbps: this.#kbps, pixels: pixelsOf(this.#video), unwanted: this.#unwanted });
          this.#needless = fit.needless;
          return fit.encodings;
        })
        .catch(() => {
          // As above.
        });
    });
    return this.#encoding;
  }

  #open(signal: AbortSignal): Promise<PublishSession> {
    const { url, token, codec, simulcast, fps } = this.settings;
    return PublishSession.open(
      {
        endpoint: { url, token },
        video: this.#video,
        audio: this.#audio,
        encodings: videoEncodings({ codec, simulcast, kbps: this.#kbps, fps, pixels: pixelsOf(this.#video) }),
        codec,
        audioBitrate: AUDIO_BITRATE,
        iceServers: this.#iceServers,
      },
      signal,
    );
  }

  #poll(): void {
    this.#cancelStats();
    this.#cancelStats = schedule(STATS_MS, () => {
      void this.#measure().finally(() => {
        if (this.#keeper.status.kind !== "closed" && this.#keeper.status.kind !== "refused") this.#poll();
      });
    });
  }

  async #measure(): Promise<void> {
    const pc = this.#keeper.connection?.peer.pc;
    if (!pc || pc.connectionState !== "connected") return;
    const now = reportMap(await pc.getStats());
    this.listener.onFigures(sendFigures(this.#before, now, { unwanted: this.#unwanted, needless: this.#needless }));
    this.#before = now;
  }
}
