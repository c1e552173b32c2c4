/** Where fans write: text, emotes, answers, hearts. */

import { TEXT_CHARACTERS_MAX, characters, type Message } from "../chat/frames.ts";
import { duration, language } from "../i18n/index.ts";
import { c } from "../i18n/chat.ts";
import { make, setText } from "../ui/dom.ts";
import { bdi, emoteOf } from "./line.ts";
import { ICONS, iconButton, label } from "./parts.ts";

/** What a composer asks of the chat. */
export interface ComposerOwner {
  /** True when it was taken. */
  write(text: string, replyTo: Message | undefined): boolean;
  react(): void;
  emotes(): ReadonlyMap<string, string>;
}

/** Signs that everybody understands. */
const COMMON = ["❤️", "😂", "😭", "🥹", "😍", "🔥", "👏", "🙌", "🎉", "✨", "💜", "🩷", "🫶", "👍", "😮", "🐰"];
/** How fast a held heart button beats, in milliseconds. */
const HEARTBEAT_MS = 120;
/** From so few characters left on they are counted. */
const LEFT_SHOWN = 60;

/** See the module. */
export class Composer {
  readonly element = make("form", "composer");
  readonly #input = make("textarea");
  readonly #send: HTMLButtonElement;
  readonly #emotes: HTMLButtonElement;
  readonly #heart: HTMLButtonElement;
  readonly #heartCount = make("span", "heart-count");
  readonly #replyBar = make("p", "composer-reply");
  readonly #replyEnd: HTMLButtonElement;
  readonly #left = make("p", "composer-left");
  readonly #closed = make("p", "composer-closed");
  readonly #picker = make("div", "picker");
  readonly #row = make("div", "composer-row");
  #replyTo: Message | undefined;
  #beat: ReturnType<typeof setInterval> | undefined;
  #seconds = 0;
  #hearts = 0;

  constructor(private readonly owner: ComposerOwner) {
    this.#input.rows = 1;
    this.#input.name = "message";
    this.#input.enterKeyHint = "send";
    this.#input.autocomplete = "off";
    this.#input.dataset["testid"] = "chat-input";
    this.#send = iconButton("chat.send", ICONS.send, () => {}, "chat-send");
    this.#send.type = "submit";
    this.#send.classList.add("composer-send");
    this.#emotes = iconButton("chat.emotes", ICONS.smile, () => this.#togglePicker(), "chat-emotes");
    this.#emotes.setAttribute("aria-expanded", "false");
    this.#heart = iconButton("chat.heart", ICONS.heart, () => {}, "chat-heart");
    this.#heart.classList.add("composer-heart");
    this.#replyEnd = iconButton("chat.reply.end", ICONS.close, () => this.reply(undefined));
    this.#replyBar.hidden = true;
    this.#left.hidden = true;
    this.#closed.hidden = true;
    this.#picker.hidden = true;
    this.#picker.dataset["testid"] = "chat-picker";
    this.#picker.setAttribute("role", "group");
    const field = make("div", "composer-field");
    field.append(this.#input, this.#emotes, this.#send);
    const heart = make("div", "composer-hearts");
    heart.append(this.#heart, this.#heartCount);
    this.#row.append(field, heart);
    this.element.append(this.#picker, this.#replyBar, this.#left, this.#closed, this.#row);
    this.#wire();
    this.render();
  }

  /** After a change of language. */
  render(): void {
    const name = this.#replyTo?.author?.name;
    const text = name === undefined ? c("chat.write") : c("chat.write.reply", { name });
    this.#input.placeholder = text;
    this.#input.setAttribute("aria-label", text);
    label(this.#emotes, c("chat.emotes"));
    label(this.#replyEnd, c("chat.reply.end"));
    label(this.#heart, c("chat.heart"));
    label(this.#send, this.#seconds > 0 ? c("chat.send.wait", { time: duration(this.#seconds) }) : c("chat.send"));
    this.#picker.setAttribute("aria-label", c("chat.emotes"));
    this.#picker.hidden = true;
  }

  /** Answers a message, or none. */
  reply(to: Message | undefined): void {
    this.#replyTo = to;
    this.#replyBar.hidden = to === undefined;
    if (to) {
      const text = make("span", "composer-reply-text");
      text.append(make("b", "", c("chat.reply.to", { name: to.author?.name ?? "" })), " ", bdi("span", "", to.text));
      this.#replyBar.replaceChildren(text, this.#replyEnd);
      this.#input.focus();
    }
    this.render();
  }

  /** Why nothing can be written; `undefined` opens it. Hearts are for everybody. */
  close(reason: string | undefined): void {
    this.#closed.hidden = reason === undefined;
    setText(this.#closed, reason ?? "");
    const field = this.#input.parentElement;
    if (field) field.hidden = reason !== undefined;
    if (reason !== undefined) this.#picker.hidden = true;
  }

  /** Counts down until the next message may be sent. */
  wait(seconds: number): void {
    if (seconds === this.#seconds) return;
    this.#seconds = seconds;
    // Drawn by the style sheet: the button's name says it in a sentence.
    if (seconds > 0) this.#send.dataset["wait"] = String(seconds);
    else delete this.#send.dataset["wait"];
    this.#send.setAttribute("aria-disabled", String(seconds > 0));
    this.render();
  }

  /** How many hearts the room has given, as far as this page has seen. */
  hearts(count: number): void {
    if (count === this.#hearts) return;
    this.#hearts = count;
    setText(this.#heartCount, Intl.NumberFormat(language(), { notation: "compact" }).format(count));
  }

  #wire(): void {
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener("keydown", (event) => {
      // While Hangul is being composed, Enter belongs to the composition.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
        event.preventDefault();
        this.#submit();
      } else if (event.key === "Escape" && (this.#replyTo || !this.#picker.hidden)) {
        event.preventDefault();
        this.#closePicker();
        this.reply(undefined);
      }
    });
    this.#input.addEventListener("input", () => this.#count());
    this.#heart.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.owner.react();
      clearInterval(this.#beat);
      this.#beat = setInterval(() => this.owner.react(), HEARTBEAT_MS);
    });
    for (const type of ["pointerup", "pointerleave", "pointercancel", "blur"] as const) {
      this.#heart.addEventListener(type, () => clearInterval(this.#beat));
    }
    this.#heart.addEventListener("contextmenu", (event) => event.preventDefault());
    // A press of a key is a click without a pointer.
    this.#heart.addEventListener("click", (event) => {
      if (event.detail === 0) this.owner.react();
    });
    this.#picker.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      this.#closePicker();
      this.#emotes.focus();
    });
  }

  #submit(): void {
    if (this.#seconds > 0 || !this.#input.value.trim()) return;
    if (!this.owner.write(this.#input.value, this.#replyTo)) return;
    this.#input.value = "";
    this.#closePicker();
    this.reply(undefined);
    this.#count();
  }

  #count(): void {
    const left = TEXT_CHARACTERS_MAX - characters(this.#input.value);
    this.#left.hidden = left > LEFT_SHOWN;
    this.#left.classList.toggle("composer-over", left < 0);
    if (left <= LEFT_SHOWN) setText(this.#left, c("chat.left", { count: left }));
  }

  #togglePicker(): void {
    if (!this.#picker.hidden) {
      this.#closePicker();
      return;
    }
    const room = this.owner.emotes();
    const groups: Node[] = [];
    if (room.size > 0) {
      groups.push(make("p", "picker-title", c("chat.emotes.room")), this.#group([...room].map(([name, url]) => {
        const choice = this.#choice(`:${name}: `, `:${name}:`);
        choice.append(emoteOf(name, url));
        return choice;
      })));
    }
    groups.push(make("p", "picker-title", c("chat.emotes.common")), this.#group(COMMON.map((sign) => {
      const choice = this.#choice(sign, sign);
      choice.textContent = sign;
      return choice;
    })));
    this.#picker.replaceChildren(...groups);
    this.#picker.hidden = false;
    this.#emotes.setAttribute("aria-expanded", "true");
    this.#picker.querySelector("button")?.focus();
  }

  #closePicker(): void {
    this.#picker.hidden = true;
    this.#emotes.setAttribute("aria-expanded", "false");
  }

  #group(choices: readonly HTMLElement[]): HTMLElement {
    const group = make("div", "picker-group");
    group.append(...choices);
    return group;
  }

  #choice(text: string, name: string): HTMLButtonElement {
    const choice = make("button", "picker-choice");
    choice.type = "button";
    label(choice, name);
    choice.addEventListener("click", () => {
      this.#input.setRangeText(text, this.#input.selectionStart, this.#input.selectionEnd, "end");
      this.#count();
    });
    return choice;
  }
}
