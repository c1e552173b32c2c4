/** Publishing by WHIP (RFC 9725). */

import { openChannels, type ChatChannels } from "./channels.ts";
import { Peer } from "./peer.ts";
import type { Connection } from "./keeper.ts";
import { REL_PUBLISHER_EVENTS, linkTarget } from "./link.ts";
import { publisherVitals, type Vitals } from "./pulse.ts";
import type { Endpoint } from "./resource.ts";
import { offerAbsCaptureTime, withStereoOpus } from "./sdp.ts";

/** Codecs by the names of their media types, the most widely played first. */
export const VIDEO_CODECS = ["H264", "VP8", "VP9", "AV1"] as const;
/** A video codec. */
export type VideoCodec = (typeof VIDEO_CODECS)[number];

/** What to send. */
export interface PublishOptions {
  readonly endpoint: Endpoint;
  readonly video: MediaStreamTrack | undefined;
  readonly audio: MediaStreamTrack | undefined;
  readonly encodings: RTCRtpEncodingParameters[];
  readonly codec: VideoCodec;
  readonly audioBitrate: number;
  readonly iceServers: RTCIceServer[];
}

/** Codecs that this browser can send. */
export function sendableCodecs(): VideoCodec[] {
  const codecs = globalThis.RTCRtpSender?.getCapabilities?.("video")?.codecs ?? [];
  return VIDEO_CODECS.filter((name) => codecs.some((codec) => codec.mimeType.toLowerCase() === `video/${name.toLowerCase()}`));
}

/** One publishing session. */
export class PublishSession implements Connection {
  /** Packets sent when it was last looked at. */
  #sent = 0;

  private constructor(
    readonly peer: Peer,
    private readonly video: RTCRtpSender | undefined,
    private readonly audio: RTCRtpSender | undefined,
    /** The chat's; they open if the server has a chat. */
    readonly channels: ChatChannels | undefined,
  ) {}

  /** POSTs an offer with the given tracks. Throws as [`Peer.open`] does. */
  static async open(options: PublishOptions, signal: AbortSignal): Promise<PublishSession> {
    let video: RTCRtpSender | undefined;
    let audio: RTCRtpSender | undefined;
    let channels: ChatChannels | undefined;
    const peer = await Peer.open(
      {
        fetch: (url, init) => fetch(url, init),
        endpoint: options.endpoint,
        iceServers: options.iceServers,
        prepare: (pc) => {
          // One MediaStream, as RFC 9725 section 4.4.2 wants: players keep lips and voice together by it.
          const stream = new MediaStream();
          audio = addAudio(pc, stream, options);
          video = addVideo(pc, stream, options);
          channels = openChannels(pc);
        },
        mungeOffer: withStereoOpus,
        // The answer's `stereo` is what makes the browser encode two channels.
        mungeAnswer: withStereoOpus,
        deleteAbandoned: false,
      },
      signal,
    );
    return new PublishSession(peer, video, audio, channels);
  }

  onState(listener: (state: RTCPeerConnectionState) => void): void {
    this.peer.onState(listener);
  }

  /** Where the session's events are, if the server has them. */
  get eventsUrl(): string | undefined {
    return linkTarget(this.peer.resource.links, REL_PUBLISHER_EVENTS, this.peer.resource.url);
  }

  /** Changes the encodings of the video. */
  async encode(change: (encodings: RTCRtpEncodingParameters[]) => RTCRtpEncodingParameters[]): Promise<void> {
    const parameters = this.video?.getParameters();
    if (!parameters) return;
    parameters.encodings = change(parameters.encodings);
    await this.video?.setParameters(parameters);
  }

  /** Swaps a track without a new offer; `null` sends nothing in its place. */
  async replace(kind: "video" | "audio", track: MediaStreamTrack | null): Promise<void> {
    await (kind === "video" ? this.video : this.audio)?.replaceTrack(track);
  }

  /** Whether a track of this kind was offered, so that it can be swapped. */
  has(kind: "video" | "audio"): boolean {
    return (kind === "video" ? this.video : this.audio) !== undefined;
  }

  async vitals(): Promise<Vitals> {
    const vitals = publisherVitals(await this.peer.stats(), this.#sent);
    this.#sent = vitals.sent;
    return vitals;
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

function addAudio(pc: RTCPeerConnection, stream: MediaStream, options: PublishOptions): RTCRtpSender | undefined {
  if (!options.audio) return undefined;
  const transceiver = pc.addTransceiver(options.audio, {
    direction: "sendonly",
    streams: [stream],
    sendEncodings: [{ maxBitrate: options.audioBitrate }],
  });
  offerAbsCaptureTime(transceiver);
  return transceiver.sender;
}

function addVideo(pc: RTCPeerConnection, stream: MediaStream, options: PublishOptions): RTCRtpSender | undefined {
  if (!options.video) return undefined;
  const transceiver = pc.addTransceiver(options.video, {
    direction: "sendonly",
    streams: [stream],
    sendEncodings: options.encodings,
  });
  offerAbsCaptureTime(transceiver);
  const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  const wanted = codecs.filter((codec) => codec.mimeType.toLowerCase() === `video/${options.codec.toLowerCase()}`);
  const repair = codecs.filter((codec) => /\/(rtx|red|ulpfec|flexfec-03)$/i.test(codec.mimeType));
  if (wanted.length > 0) transceiver.setCodecPreferences([...wanted, ...repair]);
  return transceiver.sender;
}
