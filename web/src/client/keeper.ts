/**
 * Keeps one session alive: opens it, watches that something comes through it, restarts ICE when nothing does, and
 * opens a new one when that does not help. What still works is left alone: a restart on a good path changes nothing
 * that users see. Pure of browsers: time, the network's state and the connection come from outside.
 */

import type { Backoff } from "./backoff.ts";
import { ProblemError, isTransient } from "./problem.ts";
import { Pulse, type Vitals } from "./pulse.ts";

/** What the keeper needs of a connection. */
export interface Connection {
  /** Calls back on every change of its state; "closed" is the server's goodbye. */
  onState(listener: (state: RTCPeerConnectionState) => void): void;
  /** What has come through it so far. */
  vitals(): Promise<Vitals>;
  /** Resolves once the server has answered. */
  restartIce(signal: AbortSignal): Promise<void>;
  /** Gives it up for another one, or because it is lost. */
  abandon(): void;
  /** Ends it for good, at the server too. `keepalive`: the page is going away. */
  end(keepalive: boolean): void;
}

/** What users are shown of it. */
export type KeeperStatus =
  | { readonly kind: "connecting" }
  | { readonly kind: "connected" }
  | { readonly kind: "reconnecting"; readonly waitMs: number; readonly problem: ProblemError | undefined }
  | { readonly kind: "offline" }
  | { readonly kind: "refused"; readonly problem: ProblemError }
  | { readonly kind: "closed" };

/** Runs `act` after `ms` milliseconds; the returned function calls that off. */
export type Schedule = (ms: number, act: () => void) => () => void;

/** The keeper's surroundings. */
export interface KeeperOptions<C extends Connection> {
  readonly open: (signal: AbortSignal) => Promise<C>;
  readonly onStatus: (status: KeeperStatus) => void;
  /** A new connection is there; media may not flow yet. */
  readonly onOpen: (connection: C) => void;
  readonly schedule: Schedule;
  /** Milliseconds that go on while the device sleeps. */
  readonly now: () => number;
  readonly backoff: Backoff;
  readonly isOnline: () => boolean;
  /**
   * Whether a new session takes the place of the old one at the server. The old one is then kept until the new one
   * is there, so that nobody is without either.
   */
  readonly replaces: boolean;
  /**
   * Whether a refusal may be waited out although it is not transient in general. `ghost`: a session of ours may
   * still stand at the server, for its connection broke and nobody has ended it.
   */
  readonly mayWaitOut: (problem: ProblemError, ghost: boolean) => boolean;
  /** What a server means that closes the connection of its own accord; `undefined`: come again. Does not reject. */
  readonly whenClosed: (connection: C) => Promise<ProblemError | undefined>;
}

/** ICE calls a path "disconnected" after a few lost checks, and often finds it again by itself within this. */
export const DISCONNECTED_GRACE_MS = 1_500;
/** A new connection that is not up by then is given up. */
export const CONNECT_TIMEOUT_MS = 8_000;
/** A restart that is not answered by then is asked for again. */
export const RESTART_TIMEOUT_MS = 4_000;
/** An answered restart after which nothing comes for so long has not helped. */
export const PROOF_MS = 3_000;
/** Back-off starts from the beginning once a connection has held for so long. */
export const STABLE_MS = 5_000;
/** How often the connection is looked at. */
export const LOOK_MS = 500;

/** How far a restart of ICE has come: on its way, waiting to be asked for again, or answered and waiting for proof. */
type Restart = "asked" | "waiting" | "answered";

/** See the module. */
export class Keeper<C extends Connection> {
  #connection: C | undefined;
  #state: RTCPeerConnectionState = "new";
  /** Whether the present connection has been up. */
  #wasUp = false;
  #pulse: Pulse;
  #restart: Restart | undefined;
  /** Whether another session is on its way while the old one is kept. */
  #reopening = false;
  /** Signs of life when the restart was answered. */
  #signs = 0;
  #abort: AbortController | undefined;
  #cancelTimer: () => void = () => {};
  #cancelLook: () => void = () => {};
  #cancelStable: () => void = () => {};
  /** Counts what was begun, so that answers to what was given up fall flat. */
  #round = 0;
  #hadConnected = false;
  #ghost = false;
  #status: KeeperStatus = { kind: "closed" };

  constructor(private readonly options: KeeperOptions<C>) {
    this.#pulse = new Pulse(options.now());
  }

  get status(): KeeperStatus {
    return this.#status;
  }

  get connection(): C | undefined {
    return this.#connection;
  }

  /** Begins, or begins anew. */
  start(): void {
    this.#release()?.abandon();
    this.#hadConnected = false;
    this.#ghost = false;
    this.#status = { kind: "closed" };
    this.options.backoff.reset();
    this.#open();
  }

  /** Ends the session for good. */
  stop(keepalive = false): void {
    this.#release()?.end(keepalive);
    this.#set({ kind: "closed" });
  }

  /** Opens another session after a while: as a draining server asks, or because this one does not fit any more. */
  reopenAfter(ms: number): void {
    if (this.#over()) return;
    this.#wait(undefined, ms);
  }

  /** The browser lost or found its network. */
  networkChanged(): void {
    if (this.#over()) return;
    if (!this.options.isOnline()) {
      if (!this.#flows()) this.#trouble(undefined);
    } else if (this.#flows()) {
      // The old path may still be the right one; if it is not, that shows soon.
      this.wake();
    } else if (this.#connection && this.#wasUp && !this.#reopening) {
      this.#askRestart();
    } else {
      this.#open();
    }
  }

  /** The page was frozen, or comes back from sleep or from the browser's cache: what it knew may not hold any more. */
  wake(): void {
    if (!this.#connection || !this.#wasUp || this.#reopening) return;
    this.#pulse.doubt(this.options.now());
    this.#look(this.#round);
  }

  #over(): boolean {
    return this.#status.kind === "closed" || this.#status.kind === "refused";
  }

  #set(status: KeeperStatus): void {
    this.#status = status;
    this.options.onStatus(status);
  }

  /** Shows that nothing flows, and why if that is known. */
  #trouble(problem: ProblemError | undefined, waitMs = 0): void {
    if (!this.options.isOnline()) {
      if (this.#status.kind !== "offline") this.#set({ kind: "offline" });
      return;
    }
    this.#set({ kind: "reconnecting", waitMs, problem });
  }

  /** Calls off whatever is going on, but for the connection itself. */
  #settle(): void {
    this.#round += 1;
    this.#cancelTimer();
    this.#cancelLook();
    this.#cancelStable();
    this.#abort?.abort();
    this.#abort = undefined;
    this.#restart = undefined;
    this.#reopening = false;
  }

  /** Calls everything off, and hands out the connection to be closed. */
  #release(): C | undefined {
    this.#settle();
    const connection = this.#connection;
    this.#connection = undefined;
    return connection;
  }

  /** Makes way for another session: the old one goes now, or when the new one has taken its place. */
  #makeWay(): void {
    if (this.options.replaces && this.#connection) {
      this.#settle();
      this.#reopening = true;
    } else {
      this.#release()?.abandon();
    }
  }

  #timer(ms: number, act: () => void): void {
    this.#cancelTimer();
    const round = this.#round;
    this.#cancelTimer = this.options.schedule(ms, () => {
      if (round === this.#round) act();
    });
  }

  #open(): void {
    const flowed = this.#status.kind === "connected";
    this.#makeWay();
    const round = this.#round;
    const abort = new AbortController();
    this.#abort = abort;
    if (!(flowed && this.#reopening)) {
      if (this.#hadConnected || this.options.backoff.attempt > 0 || !this.options.isOnline()) this.#trouble(undefined);
      else this.#set({ kind: "connecting" });
    }
    this.#timer(CONNECT_TIMEOUT_MS, () => this.#wait(undefined, 0));
    this.options.open(abort.signal).then(
      (connection) => {
        if (round !== this.#round) connection.abandon();
        else this.#opened(connection);
      },
      (error: unknown) => {
        if (round === this.#round) this.#failed(error);
      },
    );
  }

  #opened(connection: C): void {
    // The server has closed it already, if it is one that replaces.
    this.#connection?.abandon();
    this.#abort = undefined;
    this.#reopening = false;
    this.#connection = connection;
    this.#state = "new";
    this.#wasUp = false;
    this.options.onOpen(connection);
    const round = this.#round;
    connection.onState((state) => {
      if (round === this.#round) this.#changed(state);
    });
  }

  #failed(error: unknown): void {
    if (!(error instanceof ProblemError)) {
      // The browser's own refusal, of a codec for one: the same call would fail the same way.
      this.#refuse(new ProblemError(0, "browser", error instanceof Error ? error.message : String(error)));
    } else if (isTransient(error) || this.options.mayWaitOut(error, this.#ghost)) {
      this.#wait(error, error.retryAfterMs ?? 0);
    } else {
      this.#refuse(error);
    }
  }

  #refuse(problem: ProblemError): void {
    this.#release()?.abandon();
    this.#set({ kind: "refused", problem });
  }

  #wait(problem: ProblemError | undefined, atLeastMs: number): void {
    const flowed = this.#status.kind === "connected" && this.#wasUp;
    this.#makeWay();
    const waitMs = Math.round(this.options.backoff.next(atLeastMs));
    if (!(flowed && this.#reopening)) this.#trouble(problem, waitMs);
    this.#timer(waitMs, () => this.#open());
  }

  #changed(state: RTCPeerConnectionState): void {
    this.#state = state;
    switch (state) {
      case "connected":
        if (this.#wasUp) this.#pulse.doubt(this.options.now());
        else this.#up();
        if (this.#restart !== "asked") this.#well();
        break;
      case "disconnected":
        this.#cancelStable();
        if (this.#wasUp && !this.#restart) this.#timer(DISCONNECTED_GRACE_MS, () => this.#lost());
        break;
      case "failed":
        this.#cancelStable();
        if (this.#wasUp) this.#lost();
        else this.#wait(undefined, 0);
        break;
      case "closed":
        this.#left();
        break;
      default:
        break;
    }
  }

  /** The connection is there for the first time. */
  #up(): void {
    this.#wasUp = true;
    this.#hadConnected = true;
    this.#pulse = new Pulse(this.options.now());
    this.#lookLater(this.#round);
  }

  /** Nothing is wrong, or not any more. */
  #well(): void {
    this.#ghost = false;
    this.#restart = undefined;
    this.#abort?.abort();
    this.#abort = undefined;
    this.#cancelTimer();
    this.#cancelStable();
    this.#cancelStable = this.options.schedule(STABLE_MS, () => this.options.backoff.reset());
    if (this.#status.kind !== "connected") this.#set({ kind: "connected" });
  }

  /** Whether something comes, as far as that can be told. */
  #flows(): boolean {
    if (!this.#connection || !this.#wasUp || this.#reopening) return false;
    return this.#pulse.expected ? !this.#pulse.quiet(this.options.now()) : this.#state === "connected";
  }

  #lookLater(round: number): void {
    this.#cancelLook();
    this.#cancelLook = this.options.schedule(LOOK_MS, () => this.#look(round));
  }

  #look(round: number): void {
    const connection = this.#connection;
    if (round !== this.#round || !connection) return;
    this.#lookLater(round);
    connection.vitals().then(
      (vitals) => {
        if (round === this.#round && connection === this.#connection) this.#looked(vitals);
      },
      // A connection that is being closed says nothing.
      () => {},
    );
  }

  #looked(vitals: Vitals): void {
    const before = this.#pulse.signs;
    this.#pulse.look(this.options.now(), vitals);
    if (this.#pulse.quiet(this.options.now())) {
      this.#lost();
    } else if (this.#restart === "answered") {
      if (this.#pulse.signs > this.#signs && this.#state !== "failed") this.#well();
    } else if (this.#pulse.signs > before && this.#pulse.expected && this.#state !== "failed") {
      // The old path is back. A restart that is on its way is left to end.
      if (this.#restart === "waiting") this.#well();
      else if (this.#status.kind !== "connected") this.#set({ kind: "connected" });
    }
  }

  /** Nothing comes any more, or ICE has given up. */
  #lost(): void {
    const { kind } = this.#status;
    const said = kind === "reconnecting" || (kind === "offline" && !this.options.isOnline());
    if (!said && !this.#flows()) this.#trouble(undefined);
    if (!this.#restart) this.#askRestart();
  }

  #askRestart(): void {
    const connection = this.#connection;
    if (!connection) return;
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#restart = "asked";
    this.#ghost = true;
    this.#cancelStable();
    const round = this.#round;
    const current = () => round === this.#round && this.#abort === abort && this.#restart === "asked";
    const unanswered = (error: unknown) => {
      if (!current()) return;
      abort.abort();
      this.#notRestarted(error);
    };
    this.#timer(RESTART_TIMEOUT_MS, () => unanswered(new ProblemError(0, "network", "")));
    connection.restartIce(abort.signal).then(() => {
      if (!current()) return;
      this.#restart = "answered";
      this.#signs = this.#pulse.signs;
      // Browsers report no change of a state that was "connected" all the while; what comes is the proof.
      this.#timer(PROOF_MS, () => (this.#flows() ? this.#well() : this.#wait(undefined, 0)));
    }, unanswered);
  }

  #notRestarted(error: unknown): void {
    if (this.#flows()) {
      this.#well();
    } else if (isUnanswered(error)) {
      // The network is not back, or the server is busy: the session may well be there still.
      this.#restart = "waiting";
      this.#trouble(error);
      this.#timer(Math.round(this.options.backoff.next(error.retryAfterMs ?? 0)), () => this.#askRestart());
    } else {
      this.#open();
    }
  }

  /** The server has closed the connection. */
  #left(): void {
    const connection = this.#release();
    if (!connection) return;
    connection.abandon();
    this.#ghost = false;
    const round = this.#round;
    this.#trouble(undefined);
    void this.options.whenClosed(connection).then((problem) => {
      if (round !== this.#round) return;
      if (problem) this.#refuse(problem);
      else this.#wait(undefined, 0);
    });
  }
}

/** Whether a restart that was not answered may be asked for again in the same session. */
function isUnanswered(error: unknown): error is ProblemError {
  if (!(error instanceof ProblemError) || error.code === "session_not_found") return false;
  return isTransient(error) || error.code === "restart_in_progress";
}
