/**
 * Chooses the way to the chat and keeps one open: the data channels of a media session where there is one, a WebSocket
 * otherwise. Pure of browsers: timers, the clock, the network's state and the transports come from outside.
 */

import type { Backoff } from "../client/backoff.ts";
import type { Schedule } from "../client/keeper.ts";
import type { OpenTransport, Transport } from "./transport.ts";

/** The link's surroundings. */
export interface LinkOptions {
  readonly openSocket: OpenTransport;
  readonly schedule: Schedule;
  readonly now: () => number;
  readonly backoff: Backoff;
  readonly isOnline: () => boolean;
  /** A transport is open: say hello. */
  readonly onUp: (kind: Transport["kind"]) => void;
  readonly onDown: () => void;
  /** The server refuses this client: the link has ended. */
  readonly onRefused: (code: string) => void;
  readonly onFrame: (frame: Uint8Array) => void;
  /** Nothing was heard for a while over a socket: ask for a sign of life. */
  readonly ping: () => void;
}

/** How long data channels may take to open before the WebSocket is tried, and how long after they have closed. */
export const CHANNELS_MS = 4_000;
/** A transport on which no welcome has come by then leads nowhere. */
export const WELCOME_MS = 6_000;
/** Silence on a socket after which it is asked, and after which it is given up. Channels have ICE's own checks. */
export const QUIET_MS = 25_000;
export const DEAD_MS = 35_000;
/** Back-off starts from the beginning once a connection has held for so long. */
export const STABLE_MS = 10_000;

/** See the module. */
export class Link {
  #channels: Transport | undefined;
  #socket: Transport | undefined;
  /** The one in use, open; one of the two above. */
  #current: Transport | undefined;
  #running = false;
  /** The socket is held back for channels that may open, and not by back-off. */
  #expectsChannels = false;
  #heardAt = 0;
  #cancelNext: () => void = () => {};
  #cancelWelcome: () => void = () => {};
  #cancelQuiet: () => void = () => {};
  #cancelStable: () => void = () => {};

  constructor(private readonly options: LinkOptions) {}

  get via(): Transport["kind"] | undefined {
    return this.#current?.kind;
  }

  get isRunning(): boolean {
    return this.#running;
  }

  /** Begins. A session's channels are expected soon. */
  start(): void {
    this.stop();
    this.#running = true;
    this.options.backoff.reset();
    this.#awaitChannels();
  }

  /** Lets go of everything. */
  stop(): void {
    this.#running = false;
    this.#cancelNext();
    this.#drop(this.#channels);
    this.#drop(this.#socket);
  }

  /** A media session has channels for the chat; they take over when they are open. */
  attach(open: OpenTransport): void {
    if (!this.#running) return;
    const wasUp = this.#current !== undefined;
    this.#drop(this.#channels);
    let closed = false;
    const opened = open({
      onOpen: () => {
        if (this.#channels !== opened) return;
        this.#drop(this.#socket);
        this.#up(opened);
      },
      onFrame: (frame) => this.#heard(opened, frame),
      onClose: () => {
        closed = true;
        if (this.#channels === opened) this.#lostChannels();
      },
    });
    if (closed) return;
    this.#channels = opened;
    if (wasUp && !this.#current) this.options.onDown();
    if (!this.#current && !this.#socket) this.#awaitChannels();
  }

  /** There will be no media session: the WebSocket need not wait. */
  withoutSession(): void {
    if (this.#running && this.#expectsChannels && !this.#current && !this.#channels && !this.#socket) this.#socketIn(0);
  }

  /** The server has welcomed this client. */
  welcomed(): void {
    this.#cancelWelcome();
    this.#cancelStable();
    this.#cancelStable = this.options.schedule(STABLE_MS, () => this.options.backoff.reset());
  }

  /** Leaves the transport in use, and comes again not before `ms`. */
  comeAgain(ms: number): void {
    const left = this.#current;
    if (!this.#running || !left) return;
    this.#drop(left);
    this.options.onDown();
    this.#socketIn(this.options.backoff.next(ms));
  }

  /** Sends a frame; false when it could not be taken. */
  send(frame: Uint8Array): boolean {
    return this.#current?.send(frame) ?? false;
  }

  networkChanged(): void {
    if (this.#running && !this.#current && !this.#socket && this.options.isOnline()) this.#socketIn(0);
  }

  #awaitChannels(): void {
    this.#socketIn(CHANNELS_MS);
    this.#expectsChannels = true;
  }

  #socketIn(ms: number): void {
    this.#expectsChannels = false;
    this.#cancelNext();
    this.#cancelNext = this.options.schedule(ms, () => this.#openSocket());
  }

  #openSocket(): void {
    if (this.#current || this.#socket || !this.options.isOnline()) return;
    const opened = this.options.openSocket({
      onOpen: () => {
        if (this.#socket === opened) this.#up(opened);
      },
      onFrame: (frame) => this.#heard(opened, frame),
      onClose: (refused) => {
        if (this.#socket !== opened) return;
        if (refused === undefined) this.#lostSocket(0);
        else {
          this.stop();
          this.options.onRefused(refused);
        }
      },
    });
    this.#socket = opened;
    this.#awaitWelcome(opened);
  }

  #up(transport: Transport): void {
    this.#cancelNext();
    this.#current = transport;
    this.#heardAt = this.options.now();
    this.#awaitWelcome(transport);
    this.#cancelQuiet();
    if (transport.kind === "socket") this.#watch(transport, QUIET_MS);
    this.options.onUp(transport.kind);
  }

  #awaitWelcome(transport: Transport): void {
    this.#cancelWelcome();
    this.#cancelWelcome = this.options.schedule(WELCOME_MS, () => {
      if (transport === this.#socket) this.#lostSocket(0);
      else if (transport === this.#channels) {
        // A server whose channels say nothing may still have a socket that does.
        const wasUp = this.#current === transport;
        this.#drop(transport);
        if (wasUp) this.options.onDown();
        this.#socketIn(0);
      }
    });
  }

  #watch(socket: Transport, ms: number): void {
    this.#cancelQuiet = this.options.schedule(ms, () => {
      const quiet = this.options.now() - this.#heardAt;
      if (quiet >= DEAD_MS) this.#lostSocket(0);
      else if (quiet >= QUIET_MS) {
        this.options.ping();
        this.#watch(socket, DEAD_MS - quiet);
      } else {
        this.#watch(socket, QUIET_MS - quiet);
      }
    });
  }

  #heard(transport: Transport, frame: Uint8Array): void {
    if (transport !== this.#current) return;
    this.#heardAt = this.options.now();
    this.options.onFrame(frame);
  }

  #lostChannels(): void {
    const wasUp = this.#current === this.#channels;
    this.#drop(this.#channels);
    if (wasUp) this.options.onDown();
    if (!this.#current && !this.#socket) this.#awaitChannels();
  }

  #lostSocket(atLeastMs: number): void {
    const wasUp = this.#current === this.#socket && this.#current !== undefined;
    this.#drop(this.#socket);
    if (wasUp) this.options.onDown();
    this.#socketIn(this.options.backoff.next(atLeastMs));
  }

  #drop(transport: Transport | undefined): void {
    if (!transport) return;
    if (this.#current === transport) {
      this.#current = undefined;
      this.#cancelStable();
      this.#cancelQuiet();
      this.#cancelWelcome();
    }
    if (this.#channels === transport) this.#channels = undefined;
    if (this.#socket === transport) {
      this.#socket = undefined;
      if (!this.#current) this.#cancelWelcome();
    }
    transport.close();
  }
}
