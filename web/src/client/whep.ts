/** Watching by WHEP (draft-ietf-wish-whep), with its extensions for events and layers. */

import { openChannels, type ChatChannels } from "./channels.ts";
import type { LayerChoice } from "./events.ts";
import type { Connection } from "./keeper.ts";
import { REL_EVENTS, REL_LAYER, linkTarget } from "./link.ts";
import { Peer } from "./peer.ts";
import { viewerVitals, type Vitals } from "./pulse.ts";
import type { Endpoint } from "./resource.ts";
import { offerAbsCaptureTime, withStereoOpus } from "./sdp.ts";

/** What to watch. */
export interface PlayOptions {
  readonly endpoint: Endpoint;
  readonly iceServers: RTCIceServer[];
  /** Pictures that can be shown at a time: 1 unless set. */
  readonly videoTracks?: number;
}

/**
 * What the jitter buffer aims at, in milliseconds. Zero means "as little as the network allows": the buffer
 * still grows with jitter, but keeps no reserve. Fans who see the artist answer their calls matter more here
 * than the rare frame that a reserve would save.
 */
export const JITTER_BUFFER_TARGET_MS = 0;

/** The buffer's controls, of which TypeScript knows none and browsers have one or the other. */
interface TunableReceiver {
  jitterBufferTarget?: number | null;
  playoutDelayHint?: number | null;
}

/** One viewing session. */
export class PlaySession implements Connection {
  private constructor(
    readonly peer: Peer,
    /** The sound, and the main picture. */
    readonly stream: MediaStream,
    /** The pictures beside it, where there are some. */
    readonly others: readonly MediaStream[],
    /** The chat's; they open if the server has a chat. */
    readonly channels: ChatChannels | undefined,
  ) {}

  /** POSTs an offer for the sound and the pictures. Throws as [`Peer.open`] does. */
  static async open(options: PlayOptions, signal: AbortSignal): Promise<PlaySession> {
    const stream = new MediaStream();
    const others: MediaStream[] = [];
    let channels: ChatChannels | undefined;
    const peer = await Peer.open(
      {
        fetch: (url, init) => fetch(url, init),
        endpoint: options.endpoint,
        iceServers: options.iceServers,
        prepare: (pc) => {
          const receive = (kind: "audio" | "video") => {
            const transceiver = pc.addTransceiver(kind, { direction: "recvonly" });
            offerAbsCaptureTime(transceiver);
            keepShort(transceiver.receiver);
            return transceiver.receiver.track;
          };
          stream.addTrack(receive("audio"));
          // The first section is the one with the main picture.
          stream.addTrack(receive("video"));
          for (let more = 1; more < (options.videoTracks ?? 1); more += 1) others.push(new MediaStream([receive("video")]));
          channels = openChannels(pc);
        },
        // Browsers decode Opus to mono unless their own description asks for stereo.
        mungeOffer: withStereoOpus,
        mungeAnswer: (sdp) => sdp,
        deleteAbandoned: true,
      },
      signal,
    );
    return new PlaySession(peer, stream, others, channels);
  }

  onState(listener: (state: RTCPeerConnectionState) => void): void {
    this.peer.onState(listener);
  }

  /** Where the session's events are, if the server has them. */
  get eventsUrl(): string | undefined {
    return linkTarget(this.peer.resource.links, REL_EVENTS, this.peer.resource.url);
  }

  /** Where the layer is chosen, if the server lets viewers choose. */
  get layerUrl(): string | undefined {
    return linkTarget(this.peer.resource.links, REL_LAYER, this.peer.resource.url);
  }

  /** Asks for a layer. Throws `ProblemError`. */
  async chooseLayer(layer: LayerChoice): Promise<void> {
    const url = this.layerUrl;
    if (url) await this.peer.resource.post(url, { layer });
  }

  /** Asks for a track as the main picture; `undefined`: the one that the room shows. Throws `ProblemError`. */
  async setMain(track: string | undefined): Promise<void> {
    const url = this.layerUrl;
    if (url) await this.peer.resource.post(url, { main: track ?? "auto" });
  }

  async vitals(): Promise<Vitals> {
    return viewerVitals(await this.peer.stats());
  }

  /** How loud the sound is, 0 to 1, as far as the browser says. */
  level(): number {
    const receiver = this.peer.pc.getReceivers().find(({ track }) => track.kind === "audio");
    return receiver?.getSynchronizationSources?.()[0]?.audioLevel ?? 0;
  }

  /** The stream without its picture: a player that waits for a first frame would be silent. */
  sound(): MediaStream {
    return new MediaStream(this.stream.getAudioTracks());
  }

  restartIce(signal: AbortSignal): Promise<void> {
    return this.peer.restartIce(signal);
  }

  abandon(): void {
    this.peer.abandon();
  }

  end(keepalive: boolean): void {
    this.peer.end(keepalive);
  }
}

function keepShort(receiver: RTCRtpReceiver): void {
  const tunable = receiver as unknown as TunableReceiver;
  try {
    if ("jitterBufferTarget" in receiver) tunable.jitterBufferTarget = JITTER_BUFFER_TARGET_MS;
    else if ("playoutDelayHint" in receiver) tunable.playoutDelayHint = JITTER_BUFFER_TARGET_MS / 1_000;
  } catch {
    // The browser's own choice is a little longer, no more.
  }
}
