/** One session with its `RTCPeerConnection`: offer, answer, trickle, ICE restart, end. */

import { reportMap, type Stat } from "./report.ts";
import { SessionResource, type Endpoint, type Fetch } from "./resource.ts";
import { CANDIDATES_MAX, buildFragment, restartedAnswer } from "./sdpfrag.ts";

/** How to make the session's offer and read its answer. */
export interface PeerOptions {
  readonly fetch: Fetch;
  readonly endpoint: Endpoint;
  /** Servers from an earlier session, so that this one gathers from them at once. */
  readonly iceServers: RTCIceServer[];
  /** Adds transceivers to a new connection. */
  readonly prepare: (pc: RTCPeerConnection) => void;
  /** Rewrites an offer or answer; what the browser does not take is used unchanged. */
  readonly mungeOffer: (sdp: string) => string;
  readonly mungeAnswer: (sdp: string) => string;
  /**
   * Whether a session that is given up is deleted at the server. Not a publisher's: its DELETE ends the show for
   * everybody, while the next POST takes its place.
   */
  readonly deleteAbandoned: boolean;
}

/** How long a connection stays up for the sake of its DELETE, in milliseconds. */
const CLOSE_MS = 500;

/** A connected session, or one on its way. */
export class Peer {
  #pending: string[] = [];
  #ended = false;
  #patching = false;
  #closed = false;

  private constructor(
    readonly pc: RTCPeerConnection,
    private readonly options: PeerOptions,
    readonly resource: SessionResource,
  ) {}

  /**
   * Offers at once and sends candidates after the fact: the server's own stand in the answer, so nothing is
   * gained by waiting for ours. Throws [`ProblemError`](./problem.ts) or the browser's own errors; nothing stays open then.
   */
  static async open(options: PeerOptions, signal: AbortSignal): Promise<Peer> {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: options.iceServers });
    const early: string[] = [];
    let gathered = false;
    const collect = ({ candidate }: RTCPeerConnectionIceEvent) => {
      if (candidate?.candidate) early.push(candidate.candidate);
      else gathered = true;
    };
    pc.addEventListener("icecandidate", collect);
    let resource: SessionResource | undefined;
    try {
      options.prepare(pc);
      const offer = await localOffer(pc, options.mungeOffer, {});
      signal.throwIfAborted();
      resource = await SessionResource.create(options.fetch, options.endpoint, offer, signal);
      await remoteAnswer(pc, resource.answer, options.mungeAnswer);
      signal.throwIfAborted();
    } catch (error) {
      pc.close();
      if (options.deleteAbandoned) await resource?.delete(false);
      throw error;
    }
    pc.removeEventListener("icecandidate", collect);
    const peer = new Peer(pc, options, resource);
    const servers = resource.iceServers;
    // They come too late for this gathering: an ICE restart, or the next session, makes use of them.
    if (servers.length > 0) pc.setConfiguration({ ...pc.getConfiguration(), iceServers: servers });
    pc.addEventListener("icecandidate", ({ candidate }) => peer.#candidate(candidate?.candidate));
    peer.#pending = early;
    peer.#ended = gathered;
    void peer.#flush();
    return peer;
  }

  /**
   * Calls back on every change of the connection's state. A server that says goodbye closes DTLS only, which the
   * connection's own state leaves out, so that counts as "closed" here.
   */
  onState(listener: (state: RTCPeerConnectionState) => void): void {
    const { pc } = this;
    const [transceiver] = pc.getTransceivers();
    // All media is bundled: there is one transport.
    const dtls = transceiver?.receiver.transport ?? transceiver?.sender.transport;
    const state = () => (dtls?.state === "closed" ? "closed" : pc.connectionState);
    pc.addEventListener("connectionstatechange", () => listener(state()));
    dtls?.addEventListener("statechange", () => {
      if (dtls.state === "closed" && !this.#closed) listener("closed");
    });
    if (state() !== "new") listener(state());
  }

  /** Restarts ICE. Throws when the server refuses or does not answer; the session is as it was then. */
  async restartIce(signal: AbortSignal): Promise<void> {
    const before = this.pc.currentRemoteDescription?.sdp;
    if (this.#closed || !before) throw new Error("there is no session to restart");
    this.#pending = [];
    this.#ended = false;
    this.#patching = true;
    try {
      const offer = await localOffer(this.pc, this.options.mungeOffer, { iceRestart: true });
      const fragment = await this.resource.restart(buildFragment(offer, [], false), signal);
      const answer = restartedAnswer(before, fragment);
      signal.throwIfAborted();
      await this.pc.setRemoteDescription({ type: "answer", sdp: answer });
    } finally {
      this.#patching = false;
    }
    void this.#flush();
  }

  /** A report of the connection. Rejects once it is closed. */
  async stats(): Promise<Map<string, Stat>> {
    if (this.#closed) throw new Error("the connection is closed");
    return reportMap(await this.pc.getStats());
  }

  /** Closes the connection for the sake of another. */
  abandon(): void {
    if (this.options.deleteAbandoned) {
      this.end(false);
    } else {
      this.#closed = true;
      this.pc.close();
    }
  }

  /**
   * Ends the session and its connection, in this order: a connection that closes first looks to the server like
   * one that was lost. A page that goes away (`keepalive`) cannot wait for that.
   */
  end(keepalive: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    const deleted = this.resource.delete(keepalive);
    if (keepalive) this.pc.close();
    else void Promise.race([deleted, new Promise((late) => setTimeout(late, CLOSE_MS))]).then(() => this.pc.close());
  }

  #candidate(candidate: string | undefined): void {
    if (candidate) this.#pending.push(candidate);
    else this.#ended = true;
    void this.#flush();
  }

  /** One PATCH at a time; what is gathered meanwhile goes with the next one. */
  async #flush(): Promise<void> {
    if (this.#patching) return;
    this.#patching = true;
    try {
      while (!this.#closed && (this.#pending.length > 0 || this.#ended)) {
        const batch = this.#pending.splice(0, CANDIDATES_MAX);
        const last = this.#ended && this.#pending.length === 0;
        if (last) this.#ended = false;
        await this.resource.trickle(buildFragment(this.pc.localDescription?.sdp ?? "", batch, last));
      }
    } catch {
      // Candidates are a courtesy to an ICE-lite server, which learns addresses from our checks.
      this.#pending = [];
      this.#ended = false;
    } finally {
      this.#patching = false;
    }
  }
}

async function localOffer(pc: RTCPeerConnection, munge: (sdp: string) => string, options: RTCOfferOptions): Promise<string> {
  const offer = await pc.createOffer(options);
  const plain = offer.sdp ?? "";
  const munged = munge(plain);
  try {
    await pc.setLocalDescription({ type: "offer", sdp: munged });
    return munged;
  } catch (error) {
    if (munged === plain) throw error;
    await pc.setLocalDescription(offer);
    return plain;
  }
}

async function remoteAnswer(pc: RTCPeerConnection, sdp: string, munge: (sdp: string) => string): Promise<void> {
  try {
    await pc.setRemoteDescription({ type: "answer", sdp: munge(sdp) });
  } catch (error) {
    if (munge(sdp) === sdp) throw error;
    await pc.setRemoteDescription({ type: "answer", sdp });
  }
}
