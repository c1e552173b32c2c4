/** The messages of a room in their order, with one's own that are on their way. Pure. */

import type { Message } from "./frames.ts";

/** A refusal of a message. */
export interface Why {
  readonly code: string;
  readonly detail: string;
  readonly retryAfterMs: number;
}

/** A message as it stands in the list. The object stays the same while it does; `version` counts its changes. */
export interface Line {
  message: Message;
  /** Shown to everybody; on its way; waiting for a moderator; or refused. */
  state: "shown" | "pending" | "held" | "failed";
  /** Why it was refused. */
  why?: Why;
  /** Of one's own that was written here. */
  readonly nonce: bigint | undefined;
  /** Taken away: by a moderator, or because the list is full. */
  gone: boolean;
  version: number;
}

/** Lines that are kept; the oldest go. */
export const LINES_MAX = 200;
/** Deletions that are remembered for messages that come after them; the oldest are forgotten. */
export const DELETED_MAX = 2_000;
/** The same for users of whom everything was deleted. */
export const CLEARED_MAX = 500;

interface Placed extends Line {
  /** Where it stands. The room counts in whole numbers; what has no place of its own stands in between. */
  place: number;
  /** Which came first, at the same place. */
  turn: number;
}

/** What is still on its way stands last. */
const PENDING = Number.MAX_SAFE_INTEGER;

/** See the module. */
export class Timeline {
  #lines: Placed[] = [];
  readonly #byId = new Map<bigint, Placed>();
  readonly #byNonce = new Map<bigint, Placed>();
  readonly #deleted = new Set<bigint>();
  /** Users, and up to which place everything of theirs is gone. */
  readonly #cleared = new Map<string, number>();
  #turn = 0;

  /** In order, the oldest first. */
  get lines(): readonly Line[] {
    return this.#lines;
  }

  byId(id: bigint): Line | undefined {
    return this.#byId.get(id);
  }

  byNonce(nonce: bigint): Line | undefined {
    return this.#byNonce.get(nonce);
  }

  /**
   * Puts a newcomer's view, as of the place `upTo`, in place of all that was shown. What is on its way stays.
   * `sameCount`: places mean what they meant, so what has come from behind `upTo` stays as well.
   */
  replace(messages: readonly Message[], upTo: number, sameCount: boolean): void {
    for (const line of this.#lines) line.gone = line.place !== PENDING && !(sameCount && line.place > upTo);
    this.#lines = this.#lines.filter(({ gone }) => !gone);
    this.#byId.clear();
    for (const line of this.#lines) if (line.place !== PENDING) this.#byId.set(line.message.id, line);
    if (!sameCount) {
      this.#deleted.clear();
      this.#cleared.clear();
    }
    messages.forEach((message, index) => {
      if (this.#deleted.has(message.id)) return;
      // They have places up to `upTo`, but it is not said which.
      this.#show(message, upTo - 1 + (index + 1) / (messages.length + 1));
    });
  }

  /** A message at its place. */
  add(message: Message, place: number): void {
    const cleared = this.#cleared.get(message.author?.user ?? "");
    if (this.#deleted.has(message.id) || (cleared !== undefined && place < cleared)) return;
    this.#show(message, place);
  }

  /** A message that came without a place, for this client alone: the newest, for now. */
  addDirect(message: Message, high: number): void {
    if (this.#deleted.has(message.id) || this.#byId.has(message.id)) return;
    this.#show(message, high + 0.5);
  }

  /** One's own, not yet answered. */
  addPending(message: Message, nonce: bigint): void {
    this.#insert({ message, nonce, state: "pending", place: PENDING, turn: (this.#turn += 1), gone: false, version: 0 });
  }

  /** The server has taken one's own message. */
  confirm(nonce: bigint, id: bigint, held: boolean, text: string, high: number): void {
    const line = this.#byNonce.get(nonce);
    if (!line) return;
    this.#byNonce.delete(nonce);
    // It has come back already, or is gone already: the copy that waited goes.
    if (id === 0n || this.#byId.has(id) || this.#deleted.has(id)) {
      this.#remove(line);
      return;
    }
    this.#take(line);
    line.message = { ...line.message, id, text: text || line.message.text };
    line.state = held ? "held" : "shown";
    line.place = high + 0.5;
    line.version += 1;
    this.#byId.set(id, line);
    this.#put(line);
  }

  /** The server has refused one's own message. It stays, so that its writer may try again. */
  fail(nonce: bigint, why: Why): void {
    const line = this.#byNonce.get(nonce);
    if (!line) return;
    line.state = "failed";
    line.why = why;
    line.version += 1;
  }

  /** Takes one's own message out, refused or not. */
  drop(nonce: bigint): void {
    const line = this.#byNonce.get(nonce);
    if (line) this.#remove(line);
  }

  /** These are deleted, now and whenever they come. */
  delete(ids: readonly bigint[]): void {
    for (const id of ids) {
      remember(this.#deleted, id, DELETED_MAX);
      const line = this.#byId.get(id);
      if (line) this.#remove(line);
    }
  }

  /** All of a user's messages before `place` are deleted. */
  clear(user: string, place: number): void {
    this.#cleared.delete(user);
    this.#cleared.set(user, place);
    const [oldest] = this.#cleared.keys();
    if (this.#cleared.size > CLEARED_MAX && oldest !== undefined) this.#cleared.delete(oldest);
    for (const line of [...this.#lines]) {
      if (line.message.author?.user === user && line.place < place) this.#remove(line);
    }
  }

  #show(message: Message, place: number): void {
    const line = this.#byId.get(message.id);
    if (!line) {
      this.#insert({ message, nonce: undefined, state: "shown", place, turn: (this.#turn += 1), gone: false, version: 0 });
      return;
    }
    // Two transports, or a recovery, may bring the same one again.
    if (line.place === place && line.state === "shown") return;
    this.#take(line);
    line.message = message;
    line.place = place;
    line.state = "shown";
    line.version += 1;
    this.#put(line);
  }

  #insert(line: Placed): void {
    if (line.place === PENDING) this.#byNonce.set(line.nonce ?? 0n, line);
    else this.#byId.set(line.message.id, line);
    this.#put(line);
    const [oldest] = this.#lines;
    if (this.#lines.length > LINES_MAX && oldest) this.#remove(oldest);
  }

  /** Most come last: the search begins there. */
  #put(line: Placed): void {
    let at = this.#lines.length;
    for (let before = this.#lines[at - 1]; before && after(before, line); before = this.#lines[at - 1]) at -= 1;
    this.#lines.splice(at, 0, line);
  }

  #take(line: Placed): void {
    const at = this.#lines.indexOf(line);
    if (at >= 0) this.#lines.splice(at, 1);
  }

  #remove(line: Placed): void {
    this.#take(line);
    line.gone = true;
    if (line.nonce !== undefined && this.#byNonce.get(line.nonce) === line) this.#byNonce.delete(line.nonce);
    if (this.#byId.get(line.message.id) === line) this.#byId.delete(line.message.id);
  }
}

function after(a: Placed, b: Placed): boolean {
  return a.place > b.place || (a.place === b.place && a.turn > b.turn);
}

function remember<T>(set: Set<T>, value: T, max: number): void {
  set.add(value);
  const [oldest] = set;
  if (set.size > max && oldest !== undefined) set.delete(oldest);
}
