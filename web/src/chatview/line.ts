/** One message as an element. What people wrote becomes text, never markup. */

import type { Author, Message } from "../chat/frames.ts";
import { Role, TEXT_CHARACTERS_MAX } from "../chat/frames.ts";
import { ROLE_NAMES } from "../chat/roles.ts";
import { money, pieces } from "../chat/text.ts";
import type { Line, Why } from "../chat/timeline.ts";
import { duration, language, t } from "../i18n/index.ts";
import { c, known } from "../i18n/chat.ts";
import { make } from "../ui/dom.ts";
import { problemKey } from "../ui/problems.ts";
import { hueOf } from "./parts.ts";

/** What a message is drawn with. */
export interface LineContext {
  readonly emotes: ReadonlyMap<string, string>;
  /** The reader. */
  readonly you: string | undefined;
}

/** Draws a line into its element, anew. */
export function drawLine(li: HTMLElement, line: Line, context: LineContext): void {
  const { message, state } = line;
  const { author, paid, reply } = message;
  li.className = "line";
  li.dataset["state"] = state;
  li.dataset["role"] = String(author?.role ?? 0);
  if (paid) li.dataset["tier"] = String(Math.min(7, Math.max(1, paid.tier)));
  else delete li.dataset["tier"];
  li.classList.toggle("line-mine", author?.user === context.you);
  li.classList.toggle("line-to-you", speaksTo(message, context.you));
  const parts: Node[] = [];
  if (reply) {
    const quote = make("p", "line-reply");
    quote.append(bdi("b", "", reply.name || reply.user), document.createTextNode(" "), bdi("span", "", reply.excerpt));
    parts.push(quote);
  }
  const body = make("p", "line-body");
  body.append(...nameOf(author));
  if (paid) body.append(make("b", "line-amount", money(paid.amount, paid.currency, language())), " ");
  body.append(textOf(message.text, context));
  parts.push(body);
  if (state !== "shown") {
    const why = line.why && state === "failed" ? ` · ${refusalText(line.why)}` : "";
    parts.push(make("p", "line-state", c(`chat.line.${state}`) + why));
  }
  li.replaceChildren(...parts);
}

/** Why something was refused, in words. Codes of the HTTP API have `chat_` before the chat's own. */
export function refusalText({ code, detail, retryAfterMs }: Why): string {
  const own = code.replace(/^chat_/, "");
  const key = known("chat.refusal", own, "chat.refusal.other");
  if (key !== "chat.refusal.other") return c(key, { time: duration(retryAfterMs / 1_000), count: TEXT_CHARACTERS_MAX });
  const general = problemKey({ code, status: 0 });
  return general === "problem.other" ? c(key, { detail: detail || code }) : t(general);
}

/** Whether a message names the reader, or answers them. */
export function speaksTo({ author, mentions, reply }: Message, you: string | undefined): boolean {
  return you !== undefined && author?.user !== you && (mentions.includes(you) || reply?.user === you);
}

/** Badge and name, and a space. */
export function nameOf(author: Author | undefined): Node[] {
  const name = bdi("b", "line-name", author?.name || author?.user || "?");
  name.dataset["hue"] = hueOf(author?.user ?? "");
  const role = author?.role ?? Role.GUEST;
  if (role === Role.GUEST) return [name, document.createTextNode(" ")];
  const title = c(`chat.role.${ROLE_NAMES[role] ?? "member"}`);
  const badge = make("span", `badge-role badge-role-${role}`, title);
  badge.title = title;
  return [badge, document.createTextNode(" "), name, document.createTextNode(" ")];
}

/** A message's text with its emotes and mentions. Each text goes its own way where languages run differently. */
export function textOf(text: string, { emotes }: LineContext): HTMLElement {
  const whole = make("span", "line-text");
  whole.dir = "auto";
  const found = pieces(text, emotes);
  // Nothing but a few emotes: they may be large.
  if (found.length <= 5 && found.every((piece) => piece.kind === "emote" || !piece.text.trim())) whole.classList.add("line-large");
  for (const piece of found) {
    if (piece.kind === "emote") whole.append(emoteOf(piece.name, piece.url));
    else if (piece.kind === "mention") whole.append(make("b", "mention", piece.text));
    else whole.append(piece.text);
  }
  return whole;
}

/** An emote's picture; its name, if the picture does not come. */
export function emoteOf(name: string, url: string): HTMLImageElement {
  const image = make("img", "emote");
  image.decoding = "async";
  image.loading = "lazy";
  image.referrerPolicy = "no-referrer";
  image.width = 24;
  image.height = 24;
  image.alt = `:${name}:`;
  image.title = `:${name}:`;
  image.addEventListener("error", () => image.replaceWith(`:${name}:`), { once: true });
  image.src = url;
  return image;
}

/** Text that people chose: it must not turn its neighbours around. */
export function bdi<K extends "b" | "span" | "p">(tag: K, className: string, text: string): HTMLElementTagNameMap[K] {
  const element = make(tag, className, text);
  element.dir = "auto";
  return element;
}
