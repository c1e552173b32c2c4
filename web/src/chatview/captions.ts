/** Captions over the picture. */

import type { Captions } from "../chat/captions.ts";
import { c } from "../i18n/chat.ts";
import { language } from "../i18n/index.ts";
import { make, setOptions, setText } from "../ui/dom.ts";
import { bdi } from "./line.ts";
import { label } from "./parts.ts";

const STORED = "lightstick.captions";
const OFF = "off";

/** Shows cues while they stand, in the language that the viewer chose, or none. */
export class CaptionView {
  readonly element = make("div", "captions");
  readonly select = make("select", "captions-choice");
  #wish = remembered();
  #cancel: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly captions: Captions, private readonly now: () => number) {
    this.element.dataset["testid"] = "captions";
    this.select.dataset["testid"] = "captions-choice";
    this.select.hidden = true;
    this.select.addEventListener("change", () => {
      this.#wish = this.select.value;
      remember(this.#wish);
      this.paint();
    });
  }

  paint(): void {
    clearTimeout(this.#cancel);
    const { languages } = this.captions;
    this.select.hidden = languages.length === 0;
    if (languages.length === 0) return;
    label(this.select, c("chat.captions"));
    setOptions(this.select, [
      { value: OFF, label: c("chat.captions.off") },
      ...languages.map((tag) => ({ value: tag, label: c("chat.captions.in", { language: nameOf(tag) }) })),
    ]);
    const chosen = this.#wish === OFF ? undefined : this.captions.pick(this.#wish ?? language());
    this.select.value = chosen ?? OFF;
    const { lines, until } = chosen === undefined ? { lines: [], until: undefined } : this.captions.at(this.now(), chosen);
    this.element.lang = chosen ?? "";
    if (this.element.children.length !== lines.length) this.element.replaceChildren(...lines.map(() => bdi("p", "", "")));
    lines.forEach((text, at) => {
      const line = this.element.children[at];
      if (line) setText(line, text);
    });
    if (until !== undefined) this.#cancel = setTimeout(() => this.paint(), until - this.now());
  }
}

/** A language's name in the page's language. */
function nameOf(tag: string): string {
  try {
    return new Intl.DisplayNames([language()], { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag;
  }
}

function remembered(): string | undefined {
  try {
    return localStorage.getItem(STORED) ?? undefined;
  } catch {
    return undefined;
  }
}

function remember(wish: string): void {
  try {
    localStorage.setItem(STORED, wish);
  } catch {
    // It then lasts as long as the page.
  }
}
