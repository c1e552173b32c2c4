/** What the server finds wrong with the stream, in words for the artist. */

import type { Hint } from "../client/publisher-events.ts";
import { en, type Key } from "../i18n/dictionary.ts";
import { t } from "../i18n/index.ts";
import { byId, make } from "../ui/dom.ts";

/** The text for a hint: the page's own where its code is known, else the server's. */
export function hintText({ code, message }: Hint): string {
  const key = `hint.${code}`;
  return key in en ? t(key as Key) : message;
}

/** Shows hints, or none. The list is a live region: it is drawn again only when it says something else. */
export function showHints(hints: readonly Hint[]): void {
  const box = byId("hints", HTMLElement);
  const texts = hints.map(hintText);
  box.hidden = texts.length === 0;
  const list = box.querySelector("ul");
  if (!list || [...list.children].map(({ textContent }) => textContent).join("\n") === texts.join("\n")) return;
  list.replaceChildren(...texts.map((text) => make("li", "", text)));
}
