/** Frames as bytes: what is said to the server, and what it says. */

import { ClientFrame, ServerFrame, type Part } from "./generated/chat.ts";

export * from "./generated/chat.ts";

/** One request: `{ $case: "send", value: { ... } }` and the like. */
export type Request = NonNullable<ClientFrame["frame"]>;
/** One part of a server's frame. */
export type ServerPart = NonNullable<Part["part"]>;

/** The longest message, in characters (code points). */
export const TEXT_CHARACTERS_MAX = 500;
/** The WebSocket subprotocol of binary frames. */
export const SUBPROTOCOL = "lightstick.chat.v1";

/** A request as bytes. */
export function encode(frame: Request): Uint8Array {
  return ClientFrame.encode({ frame }).finish();
}

/** The parts of a frame, in order; kinds that this page does not know are left out. Throws on what is no frame. */
export function decode(bytes: Uint8Array): ServerPart[] {
  return ServerFrame.decode(bytes).parts.flatMap(({ part }) => part ?? []);
}

/** The length of a text as the server counts it. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
