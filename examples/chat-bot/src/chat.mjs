// A client of Lightstick's chat over WebSocket, in the JSON of its protocol. It reconnects by itself and
// resumes where it was, so nothing is read twice.

import { EventEmitter } from "node:events";
import WebSocket from "ws";

const PROTOCOL = "lightstick.chat.v1.json";
/** The token is wrong: trying again would not help. */
const CLOSE_TOKEN = 4001;
/** Requests that wait for their answer at one time. */
const WAITING_MAX = 64;
/** Silence after which the connection counts as dead: the server pings every 25 s. */
const SILENCE_MS = 60_000;

/**
 * Emits `message` (a Message, and whether it was for this client alone), `gap`, `welcome` and `failed`.
 */
export class Chat extends EventEmitter {
  #url;
  #token;
  #retryMs;
  #retryMaxMs;
  #socket;
  #position;
  #attempt = 0;
  #timer;
  #silence;
  #stopped = false;
  #nonce = BigInt(Math.floor(Math.random() * 2 ** 40)) << 20n;
  /** By nonce: the request, and who waits for its answer. */
  #waiting = new Map();
  you;

  constructor({ base, room, token = "", retryMs = 500, retryMaxMs = 30_000 }) {
    super();
    const url = new URL(`/chat/${encodeURIComponent(room)}`, base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    [this.#url, this.#token, this.#retryMs, this.#retryMaxMs] = [url, token, retryMs, retryMaxMs];
  }

  start() {
    const socket = new WebSocket(this.#url, PROTOCOL, { maxPayload: 256 * 1024 });
    this.#socket = socket;
    socket.on("open", () => {
      const hello = { token: this.#token, ...(this.#position && { position: this.#position }) };
      socket.send(JSON.stringify({ hello }));
      this.#heard();
    });
    socket.on("ping", () => this.#heard());
    socket.on("message", (data) => {
      this.#heard();
      for (const part of JSON.parse(data).parts ?? []) this.#read(part);
    });
    socket.on("close", (code, reason) => this.#closed(code, String(reason)));
    // What failed is followed by `close`.
    socket.on("error", () => {});
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#socket?.close();
    for (const { reject } of this.#waiting.values()) reject(new Refused("stopped", 0));
    this.#waiting.clear();
  }

  /** Writes a message. Resolves with the Ack; rejects with `Refused`. Survives reconnects: the nonce stays. */
  send(text, replyTo) {
    if (this.#waiting.size >= WAITING_MAX) return Promise.reject(new Refused("busy", 1_000));
    const nonce = String(++this.#nonce);
    const request = { send: { nonce, text, ...(replyTo && { replyTo }) } };
    return new Promise((resolve, reject) => {
      this.#waiting.set(nonce, { request, resolve, reject });
      if (this.you && this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(request));
    });
  }

  #read(part) {
    if (part.welcome) {
      this.#attempt = 0;
      this.you = part.welcome.you;
      this.#position = part.welcome.position;
      // The missed batches follow and count from the place that was known.
      for (const { request } of this.#waiting.values()) this.#socket.send(JSON.stringify(request));
      this.emit("welcome", part.welcome);
    } else if (part.batch) {
      const entries = part.batch.entries ?? [];
      const last = BigInt(part.batch.firstOffset ?? 0) + BigInt(entries.length) - 1n;
      if (this.#position && last > BigInt(this.#position.offset ?? 0)) {
        this.#position = { ...this.#position, offset: String(last) };
      }
      for (const entry of entries) if (entry.message) this.emit("message", entry.message, false);
    } else if (part.direct) {
      // Left out for the room, but somebody has named us.
      this.emit("message", part.direct, true);
    } else if (part.ack) {
      this.#settle(part.ack.nonce, (waiting) => waiting.resolve(part.ack));
    } else if (part.refusal) {
      const { nonce, code, retryAfterMs = 0 } = part.refusal;
      this.#settle(nonce, (waiting) => waiting.reject(new Refused(code, retryAfterMs)));
    } else if (part.gap) {
      this.emit("gap", part.gap);
    }
  }

  #settle(nonce, how) {
    const waiting = this.#waiting.get(nonce);
    if (waiting) {
      this.#waiting.delete(nonce);
      how(waiting);
    }
  }

  #heard() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#socket.terminate(), SILENCE_MS);
  }

  #closed(code, reason) {
    clearTimeout(this.#silence);
    if (this.#stopped) return;
    if (code === CLOSE_TOKEN) {
      this.stop();
      this.emit("failed", new Error(`the server does not take the token: ${reason}`));
      return;
    }
    // By chance within a span that doubles: a crowd that was cut off does not come back at once.
    const span = Math.min(this.#retryMaxMs, this.#retryMs * 2 ** this.#attempt++);
    this.#timer = setTimeout(() => this.start(), Math.random() * span);
  }
}

/** The server has refused; `retryAfterMs` is 0 where trying again would not help. */
export class Refused extends Error {
  constructor(code, retryAfterMs) {
    super(code);
    [this.code, this.retryAfterMs] = [code, retryAfterMs];
  }
}
