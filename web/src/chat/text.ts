/** What stands in a message: words, mentions and emotes. Pure. */

import type { Emote } from "./frames.ts";

/** A piece of a message's text. */
export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "mention"; readonly text: string }
  | { readonly kind: "emote"; readonly name: string; readonly url: string };

/** Emotes that are drawn in one message; the rest stay words, for each is a picture to decode. */
export const EMOTES_DRAWN_MAX = 50;

/** The colon at a name's end may begin the next name, so it is looked at and not taken. */
const PLACES = /:([A-Za-z0-9_+-]{1,32})(?=:)|(?<![\p{L}\p{N}_])@[\p{L}\p{N}_.-]{1,64}/gu;

/** Emotes by their names, without those whose addresses are no pictures to load. */
export function emoteMap(emotes: readonly Emote[], base: string): ReadonlyMap<string, string> {
  return new Map(emotes.flatMap(({ name, url }) => {
    const safe = pictureUrl(url, base);
    return safe ? [[name, safe]] : [];
  }));
}

/** An address of a picture, resolved; `undefined` unless it is http or https. */
export function pictureUrl(url: string, base: string): string | undefined {
  try {
    const { protocol, href } = new URL(url, base);
    return protocol === "https:" || protocol === "http:" ? href : undefined;
  } catch {
    return undefined;
  }
}

/** Cuts a text into pieces. Joined, they are the text again. */
export function pieces(text: string, emotes: ReadonlyMap<string, string>): Piece[] {
  const found: Piece[] = [];
  let from = 0;
  let drawn = 0;
  for (const match of text.matchAll(PLACES)) {
    const [whole, name] = match;
    const url = name === undefined ? undefined : emotes.get(name);
    if (match.index < from || (name !== undefined && (url === undefined || drawn >= EMOTES_DRAWN_MAX))) continue;
    if (match.index > from) found.push({ kind: "text", text: text.slice(from, match.index) });
    if (name !== undefined && url !== undefined) {
      drawn += 1;
      found.push({ kind: "emote", name, url });
    } else {
      found.push({ kind: "mention", text: whole });
    }
    from = match.index + whole.length + (name === undefined ? 0 : 1);
  }
  if (from < text.length) found.push({ kind: "text", text: text.slice(from) });
  return found;
}

/** An amount in a currency's smallest unit, as `language` writes it. What is no currency keeps its name. */
export function money(amount: bigint, currency: string, language: string): string {
  try {
    const format = new Intl.NumberFormat(language, { style: "currency", currency });
    return format.format(Number(amount) / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
  } catch {
    return `${amount} ${currency}`;
  }
}
