/** The two ways to a room's chat: the data channels of a media session, and a WebSocket. */

import type { ChatChannels } from "../client/channels.ts";
import { readProblem } from "../client/problem.ts";
import { SUBPROTOCOL } from "./frames.ts";

/** A way to the chat, open or about to be. */
export interface Transport {
  readonly kind: "channels" | "socket";
  /** Sends one frame; false when it could not be taken. */
  send(frame: Uint8Array): boolean;
  /** Lets go of it; no event comes after that. */
  close(): void;
}

/** What a transport tells. After `onClose` nothing comes; `refused` is the code of a server that will not have this client. */
export interface TransportEvents {
  onOpen(): void;
  onFrame(frame: Uint8Array): void;
  onClose(refused?: string): void;
}

/** Makes a transport that begins to open at once. */
export type OpenTransport = (events: TransportEvents) => Transport;

/** A socket closed with this code is refused for good; its reason is the problem's code. */
const CLOSE_TOKEN = 4_001;

/** The problem of a server that has no chat at all. */
const CHAT_OFF = "chat_off";

/** What may wait unsent, in bytes. Requests are small and few: more than this means that nothing goes out. */
const UNSENT_BYTES_MAX = 64 * 1024;

/** The data channels of a session as a transport. The session owns the channels and closes them. */
export function overChannels({ ctl, chat, fx }: ChatChannels): OpenTransport {
  return (events) => {
    const all = [ctl, chat, fx];
    const leave = new AbortController();
    const { signal } = leave;
    let open = false;
    const check = () => {
      if (open || !all.every(({ readyState }) => readyState === "open")) return;
      open = true;
      events.onOpen();
    };
    const closed = () => {
      if (signal.aborted) return;
      leave.abort();
      events.onClose();
    };
    for (const channel of all) {
      channel.binaryType = "arraybuffer";
      channel.addEventListener("open", check, { signal });
      channel.addEventListener("close", closed, { signal });
      channel.addEventListener("message", ({ data }: MessageEvent) => {
        if (data instanceof ArrayBuffer) events.onFrame(new Uint8Array(data));
      }, { signal });
    }
    // They may have opened, or closed, before anybody listened.
    queueMicrotask(() => {
      if (signal.aborted) return;
      if (all.some(({ readyState }) => readyState === "closed")) closed();
      else check();
    });
    return {
      kind: "channels",
      send: (frame) => post(ctl, frame),
      close: () => leave.abort(),
    };
  };
}

/** A WebSocket at `url`. */
export function overSocket(url: string): OpenTransport {
  /** Once one has opened, the server is known to have a chat. */
  let known = false;
  return (events) => {
    const socket = new WebSocket(url, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    const leave = new AbortController();
    const { signal } = leave;
    socket.addEventListener("open", () => {
      known = true;
      events.onOpen();
    }, { signal });
    socket.addEventListener("message", ({ data }: MessageEvent) => {
      if (data instanceof ArrayBuffer) events.onFrame(new Uint8Array(data));
    }, { signal });
    socket.addEventListener("close", ({ code, reason }) => {
      if (code === CLOSE_TOKEN || known) events.onClose(code === CLOSE_TOKEN ? reason || "token_malformed" : undefined);
      else void isWithoutChat(url, signal).then((without) => {
        if (!signal.aborted) events.onClose(without ? CHAT_OFF : undefined);
      });
    }, { signal, once: true });
    return {
      kind: "socket",
      send: (frame) => post(socket, frame),
      close: () => {
        leave.abort();
        socket.close();
      },
    };
  };
}

/** Asks why there is no WebSocket: browsers do not tell what the server has answered to a handshake. */
async function isWithoutChat(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(url.replace(/^ws/, "http"), { cache: "no-store", signal });
    return !response.ok && (await readProblem(response, Date.now())).code === CHAT_OFF;
  } catch {
    return false;
  }
}

function post(to: RTCDataChannel | WebSocket, frame: Uint8Array): boolean {
  if (to.bufferedAmount > UNSENT_BYTES_MAX) return false;
  const open = to.readyState === "open" || to.readyState === WebSocket.OPEN;
  if (!open) return false;
  try {
    to.send(frame as Uint8Array<ArrayBuffer>);
    return true;
  } catch {
    // It has closed meanwhile, and will say so.
    return false;
  }
}
