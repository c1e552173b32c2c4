/**
 * Keeps one session alive: opens it, restarts ICE when the path breaks, and opens a new one with back-off when
 * that does not help. Pure of browsers: timers, the network's state and the connection come from outside.
 */

import type { Backoff } from "./backoff.ts";
import { ProblemError, isTransient } from "./problem.ts";

/** What the keeper needs of a connection. */
export interface Connection {
  /** Calls back on every change of its state; "closed" is the server's goodbye. */
  onState(listener: (state: RTCPeerConnectionState) => void): void;
  restartIce(): Promise<void>;
  close(keepalive: boolean): Promise<void>;
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
  readonly backoff: Backoff;
  readonly isOnline: () => boolean;
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
/** A connection, new or restarted, that is not up by then is given up. */
export const CONNECT_TIMEOUT_MS = 8_000;
/** Back-off starts from the beginning once a connection has held for so long. */
export const STABLE_MS = 5_000;

/** See the module. */
export class Keeper<C extends Connection> {
  #connection: C | undefined;
  #abort: AbortController | undefined;
  #cancelTimer: () => void = () => {};
  #cancelStable: () => void = () => {};
  /** Counts what was begun, so that answers to what was given up fall flat. */
  #round = 0;
  #hadConnected = false;
  #ghost = false;
  #restarting = false;
  #status: KeeperStatus = { kind: "closed" };

  constructor(private readonly options: KeeperOptions<C>) {}

  get status(): KeeperStatus {
    return this.#status;
  }

  get connection(): C | undefined {
    return this.#connection;
  }

  /** Begins, or begins anew. */
  start(): void {
    this.#drop(false);
    this.#hadConnected = false;
    this.#ghost = false;
    this.options.backoff.reset();
    this.#open();
  }

  /** Ends the session for good. */
  stop(keepalive = false): void {
    this.#drop(keepalive);
    this.#set({ kind: "closed" });
  }

  /** Leaves this session and opens another after a while, as a draining server asks. */
  reopenAfter(ms: number): void {
    if (this.#over()) return;
    this.#drop(false);
    this.#wait(undefined, ms);
  }

  /** The browser lost or found its network. */
  networkChanged(): void {
    if (this.#over()) return;
    if (!this.options.isOnline()) {
      if (this.#status.kind !== "connected") this.#goOffline();
      return;
    }
    // The old path may still be the right one; a restart finds out either way.
    if (this.#connection && this.#hadConnected) this.#restart();
    else if (this.#status.kind === "offline" || this.#status.kind === "reconnecting") this.#open();
  }

  #over(): boolean {
    return this.#status.kind === "closed" || this.#status.kind === "refused";
  }

  #set(status: KeeperStatus): void {
    this.#status = status;
    this.options.onStatus(status);
  }

  /** Gives up whatever is going on. */
  #drop(keepalive: boolean): void {
    this.#round += 1;
    this.#cancelTimer();
    this.#cancelStable();
    this.#abort?.abort();
    this.#restarting = false;
    const connection = this.#connection;
    this.#connection = undefined;
    void connection?.close(keepalive);
  }

  #timer(ms: number, act: () => void): void {
    this.#cancelTimer();
    const round = this.#round;
    this.#cancelTimer = this.options.schedule(ms, () => {
      if (round === this.#round) act();
    });
  }

  #goOffline(): void {
    this.#drop(false);
    this.#set({ kind: "offline" });
  }

  #open(): void {
    this.#drop(false);
    if (!this.options.isOnline()) {
      this.#goOffline();
      return;
    }
    const round = this.#round;
    const abort = new AbortController();
    this.#abort = abort;
    this.#set(this.#hadConnected || this.options.backoff.attempt > 0
      ? { kind: "reconnecting", waitMs: 0, problem: undefined }
      : { kind: "connecting" });
    this.#timer(CONNECT_TIMEOUT_MS, () => this.#retry(undefined));
    this.options.open(abort.signal).then(
      (connection) => {
        if (round !== this.#round) void connection.close(false);
        else this.#opened(connection);
      },
      (error: unknown) => {
        if (round === this.#round) this.#failed(error);
      },
    );
  }

  #opened(connection: C): void {
    this.#connection = connection;
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
      this.#retry(error);
    } else {
      this.#refuse(error);
    }
  }

  #refuse(problem: ProblemError): void {
    this.#drop(false);
    this.#set({ kind: "refused", problem });
  }

  #retry(problem: ProblemError | undefined): void {
    this.#drop(false);
    this.#wait(problem, problem?.retryAfterMs ?? 0);
  }

  #wait(problem: ProblemError | undefined, atLeastMs: number): void {
    const waitMs = Math.round(this.options.backoff.next(atLeastMs));
    this.#set({ kind: "reconnecting", waitMs, problem });
    this.#timer(waitMs, () => this.#open());
  }

  #changed(state: RTCPeerConnectionState): void {
    switch (state) {
      case "connected":
        this.#hadConnected = true;
        this.#ghost = false;
        this.#restarting = false;
        this.#cancelTimer();
        this.#cancelStable();
        this.#cancelStable = this.options.schedule(STABLE_MS, () => this.options.backoff.reset());
        this.#set({ kind: "connected" });
        break;
      case "disconnected":
        this.#cancelStable();
        if (!this.#restarting) this.#timer(DISCONNECTED_GRACE_MS, () => this.#restart());
        break;
      case "failed":
        this.#cancelStable();
        if (this.#restarting || !this.#hadConnected) this.#retry(undefined);
        else this.#restart();
        break;
      case "closed":
        this.#left();
        break;
      default:
        break;
    }
  }

  /** The server has closed the connection. */
  #left(): void {
    const connection = this.#connection;
    if (!connection) return;
    this.#drop(false);
    this.#ghost = false;
    const round = this.#round;
    this.#set({ kind: "reconnecting", waitMs: 0, problem: undefined });
    void this.options.whenClosed(connection).then((problem) => {
      if (round !== this.#round) return;
      if (problem) this.#refuse(problem);
      else this.#wait(undefined, 0);
    });
  }

  #restart(): void {
    const connection = this.#connection;
    if (!connection || this.#restarting) return;
    if (!this.options.isOnline()) {
      this.#goOffline();
      return;
    }
    this.#restarting = true;
    this.#ghost = true;
    const round = this.#round;
    this.#set({ kind: "reconnecting", waitMs: 0, problem: undefined });
    this.#timer(CONNECT_TIMEOUT_MS, () => this.#retry(undefined));
    connection.restartIce().catch(() => {
      // Refused or unanswered: a new session is the next thing to try, and the first such try is at once.
      if (round === this.#round) this.#open();
    });
  }
}
