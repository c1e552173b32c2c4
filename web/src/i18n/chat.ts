/** The chat's strings, apart from the others: they come with the chat, after the first picture. */

import { en, ko, type ChatKey } from "./chat-dictionary.ts";
import { fill, language, type Values } from "./index.ts";

export type { ChatKey };

/** A string of the chat in the page's language. */
export function c(key: ChatKey, values: Values = {}): string {
  return fill((language() === "ko" ? ko : en)[key], values, language());
}

/** The string of a family, or another where the family has none by that name: servers may be newer than pages. */
export function known(family: string, name: string, otherwise: ChatKey): ChatKey {
  const key = `${family}.${name}`;
  return key in en ? (key as ChatKey) : otherwise;
}
