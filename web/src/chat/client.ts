/** The chat of one room: a link kept open, requests and their answers, and what is known of the room. */

import type { Backoff } from "../client/backoff.ts";
import type { Schedule } from "../client/keeper.ts";
import { TEXT_CHARACTERS_MAX, characters, decode, encode, type Ack, type Message, type Moderate, type Reaction, type Refusal, type Request,
  type ServerPart } from "./frames.ts";
import { Link } from "./link.ts";
import { Outbox, type Asked } from "./outbox.ts";
import { Echoes, Reactions } from "./reactions.ts";
import { ChatRoom, type Happening, type RoomListener, type Topic } from "./room.ts";
import type { OpenTransport, Transport } from "./transport.ts";

/** Whether the chat can be read and written, and why not. */
export type ChatStatus =
  | { readonly kind: "connecting" }
  | { readonly kind: "open"; readonly via: Transport["kind"] }
  | { readonly kind: "reconnecting" }
  /** Refused for good; another token may help. */
  | { readonly kind: "refused"; readonly code: string; readonly detail: string }
  /** Another page of the same user has taken over. */
  | { readonly kind: "replaced" }
  | { readonly kind: "closed" };

/** What a client tells besides what its room does. */
export interface ChatListener extends RoomListener {
  /** A request was refused; a message that was refused stays in the timeline as failed. */
  onRefused(refusal: Refusal, asked: Asked): void;
  onDone(ack: Ack, asked: Asked): void;
}

/** The client's surroundings. */
export interface ChatOptions {
  readonly token: () => string | undefined;
  readonly openSocket: OpenTransport;
  readonly schedule: Schedule;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** A new number that was not used before, of 64 bits and not 0. */
  readonly nonce: () => bigint;
  readonly backoff: Backoff;
  readonly isOnline: () => boolean;
  readonly listener: ChatListener;
}

/** Batches that are kept before the welcome; later ones leave a hole, which a later hello asks for. */
const EARLY_MAX = 64;

/** Why a text cannot be sent. */
export type SendFault = "empty" | "too_long" | "too_many";

/** What a moderator does, without nonce and reason. */
export type Deed = NonNullable<Moderate["action"]>;

/** See the module. */
export class ChatClient {
  readonly room: ChatRoom;
  readonly #link: Link;
  readonly #outbox = new Outbox();
  readonly #reactions = new Reactions();
  readonly #echoes = new Echoes();
  #status: ChatStatus = { kind: "closed" };
  #welcomed = false;
  /** What came before the welcome, on another channel: it belongs behind it. */
  #early: ServerPart[] = [];
  #pings = 0n;
  /** When this user may write again, as slow mode or the server's refusal says; Unix milliseconds. */
  #mayWriteAt = 0;
  #cancelReact: (() => void) | undefined;
  /** Frames that could not be read. */
  unreadable = 0;

  constructor(private readonly options: ChatOptions) {
    const { listener } = options;
    this.room = new ChatRoom(listener);
    this.#link = new Link({
      openSocket: options.openSocket,
      schedule: options.schedule,
      now: options.now,
      backoff: options.backoff,
      isOnline: options.isOnline,
      onUp: (kind) => this.#hello(kind),
      onDown: () => this.#down(),
      onRefused: (code) => this.#end({ kind: "refused", code, detail: "" }),
      onFrame: (frame) => this.#frame(frame),
      ping: () => this.#send({ $case: "ping", value: { number: (this.#pings += 1n) } }),
    });
  }

  get status(): ChatStatus {
    return this.#status;
  }

  get mayWriteAt(): number {
    return this.#mayWriteAt;
  }

  /** Begins, or begins anew: with another token, for one. */
  start(): void {
    this.#welcomed = false;
    this.#link.start();
    this.#set({ kind: "connecting" });
  }

  /** Ends it. */
  stop(): void {
    this.#link.stop();
    this.#set({ kind: "closed" });
  }

  /** A media session has channels for the chat. */
  attach(open: OpenTransport): void {
    this.#link.attach(open);
  }

  /** There is no media session, and none is to be expected soon. */
  withoutSession(): void {
    this.#link.withoutSession();
  }

  networkChanged(): void {
    this.#link.networkChanged();
  }

  /** Writes a message, or a command. It stands in the timeline at once, unless it is a command. */
  write(text: string, replyTo: Message | undefined): SendFault | undefined {
    const trimmed = text.trim();
    if (!trimmed) return "empty";
    if (characters(trimmed) > TEXT_CHARACTERS_MAX) return "too_long";
    const nonce = this.options.nonce();
    const asked = this.#ask({ $case: "send", value: { nonce, text: trimmed, replyTo: replyTo?.id ?? 0n } });
    if (!asked) return "too_many";
    if (!trimmed.startsWith("/")) {
      this.room.timeline.addPending(this.#own(trimmed, replyTo), nonce);
      this.options.listener.onChange("lines");
    }
    return undefined;
  }

  /** Tries a refused message again. */
  writeAgain(nonce: bigint): void {
    const line = this.room.timeline.byNonce(nonce);
    if (line?.state !== "failed") return;
    const { message } = line;
    this.forget(nonce);
    const replyTo = message.reply && this.room.timeline.byId(message.reply.id)?.message;
    this.write(message.text, replyTo);
  }

  /** Takes a refused message out. */
  forget(nonce: bigint): void {
    this.room.timeline.drop(nonce);
    this.options.listener.onChange("lines");
  }

  vote(poll: bigint, choice: number): boolean {
    return this.#ask({ $case: "vote", value: { nonce: this.options.nonce(), poll, choice } });
  }

  moderate(action: Deed, reason = ""): boolean {
    return this.#ask({ $case: "moderate", value: { nonce: this.options.nonce(), reason, action } });
  }

  appeal(text: string): boolean {
    return this.#ask({ $case: "appeal", value: { nonce: this.options.nonce(), text } });
  }

  /** Says a cue of live captions. It is not answered. */
  caption(language: string, text: string): boolean {
    return this.#send({ $case: "caption", value: { language, text, atMs: 0n, durationMs: 0, nonce: 0n } });
  }

  /** One more heart, or the like. False when this moment has had enough of them, or nobody listens. */
  react(kind: string): boolean {
    if (!this.#welcomed || !this.#reactions.tap(kind)) return false;
    if (!this.#cancelReact) this.#reactLater();
    return true;
  }

  #reactLater(): void {
    const ms = this.#reactions.dueIn(this.options.now());
    if (ms === undefined) return;
    this.#cancelReact = this.options.schedule(ms, () => {
      this.#cancelReact = undefined;
      // Those of a moment without connection are lost: they were for that moment.
      const now = this.options.now();
      const reactions = this.#reactions.take(now);
      if (this.#send({ $case: "react", value: { reactions } })) this.#echoes.expect(reactions, now);
    });
  }

  /** How many of a count that the room has told are others': one's own have been seen when they were made. */
  othersOf(reaction: Reaction): number {
    return this.#echoes.othersOf(reaction, this.options.now());
  }

  #own(text: string, replyTo: Message | undefined): Message {
    return {
      id: 0n, text, author: this.room.you, atMs: BigInt(this.options.now() + this.room.ahead), mentions: [], paid: undefined,
      reply: replyTo && {
        id: replyTo.id, user: replyTo.author?.user ?? "", name: replyTo.author?.name ?? "", excerpt: [...replyTo.text].slice(0, 80).join(""),
      },
    };
  }

  /** Keeps a request until it is answered. Without a welcome it goes out after the next one. */
  #ask(frame: Asked): boolean {
    if (!this.#outbox.add(frame, this.options.now())) return false;
    this.#send(frame);
    return true;
  }

  #send(frame: Request): boolean {
    return this.#welcomed && this.#link.send(encode(frame));
  }

  #hello(kind: Transport["kind"]): void {
    this.#welcomed = false;
    this.#early = [];
    const token = kind === "socket" ? (this.options.token() ?? "") : "";
    this.#link.send(encode({ $case: "hello", value: { position: this.room.frontier.position, token } }));
  }

  #down(): void {
    this.#welcomed = false;
    this.#set({ kind: "reconnecting" });
  }

  #frame(frame: Uint8Array): void {
    let parts: ServerPart[];
    try {
      parts = decode(frame);
    } catch {
      this.unreadable += 1;
      return;
    }
    for (const part of parts) this.#part(part);
    if (!this.#welcomed) return;
    for (const part of this.#early.splice(0)) this.#part(part);
  }

  #part(part: ServerPart): void {
    const now = this.options.now();
    switch (part.$case) {
      case "welcome":
        this.room.take(part, now);
        this.#welcome();
        break;
      case "ack":
        this.#done(part.value, now);
        break;
      case "refusal":
        this.#refused(part.value, now);
        break;
      case "notice":
        this.room.take(part, now);
        if (part.value.code === "replaced") this.#end({ kind: "replaced" });
        else if (part.value.code === "draining") this.#link.comeAgain(part.value.seconds * 1_000);
        else if (part.value.code === "timed_out") this.#writeNotBefore(now + part.value.seconds * 1_000);
        else if (part.value.code === "unbanned") this.#writeNow();
        break;
      case "batch":
        if (this.#welcomed) this.room.take(part, now);
        else if (this.#early.length < EARLY_MAX) this.#early.push(part);
        break;
      default:
        this.room.take(part, now);
    }
  }

  #welcome(): void {
    this.#welcomed = true;
    this.#link.welcomed();
    const via = this.#link.via;
    if (via) this.#set({ kind: "open", via });
    for (const { nonce, frame } of this.#outbox.expire(this.options.now())) this.#fail({ nonce, code: "unanswered", detail: "", retryAfterMs: 1 }, frame);
    // Whether they have arrived is not known; the server knows them by their nonces.
    for (const { frame } of this.#outbox.unanswered) this.#send(frame);
  }

  #done(ack: Ack, now: number): void {
    const asked = this.#outbox.settle(ack.nonce)?.frame;
    if (!asked) return;
    if (asked.$case === "send") {
      this.room.timeline.confirm(ack.nonce, ack.id, ack.held, ack.text, this.room.frontier.high);
      const { slowSeconds } = this.room.settings;
      if (slowSeconds > 0 && !this.room.may.moderate && ack.id !== 0n) this.#writeNotBefore(now + slowSeconds * 1_000);
      this.options.listener.onChange("lines");
    }
    this.options.listener.onDone(ack, asked);
  }

  #refused(refusal: Refusal, now: number): void {
    if (!this.#welcomed && refusal.nonce === 0n) {
      // The answer to the hello. With a time to come again, it is no answer for good.
      if (refusal.retryAfterMs > 0) this.#link.comeAgain(refusal.retryAfterMs);
      else this.#end({ kind: "refused", code: refusal.code, detail: refusal.detail });
      return;
    }
    const asked = this.#outbox.settle(refusal.nonce)?.frame;
    if (!asked) return;
    if (asked.$case === "send" && refusal.retryAfterMs > 0) this.#writeNotBefore(now + refusal.retryAfterMs);
    this.#fail(refusal, asked);
  }

  #fail(refusal: Refusal, asked: Asked): void {
    if (asked.$case === "send") {
      this.room.timeline.fail(refusal.nonce, refusal);
      this.options.listener.onChange("lines");
    }
    this.options.listener.onRefused(refusal, asked);
  }

  #writeNotBefore(time: number): void {
    this.#mayWriteAt = Math.max(this.#mayWriteAt, time);
    this.options.listener.onChange("status");
  }

  /** Whatever was waited for is over. What slow mode still asks, the server says. */
  #writeNow(): void {
    this.#mayWriteAt = 0;
    this.options.listener.onChange("status");
  }

  #end(status: ChatStatus): void {
    this.#link.stop();
    this.#welcomed = false;
    this.#set(status);
  }

  #set(status: ChatStatus): void {
    this.#status = status;
    this.options.listener.onChange("status");
  }
}

export type { Happening, Topic };
