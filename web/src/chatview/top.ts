/** What stands above the messages: news, the pinned message, highlighted messages, a poll. */

import type { Message, Poll } from "../chat/frames.ts";
import type { ChatRoom } from "../chat/room.ts";
import { money } from "../chat/text.ts";
import { c } from "../i18n/chat.ts";
import { duration, language, number } from "../i18n/index.ts";
import { make, setText } from "../ui/dom.ts";
import { bdi, nameOf, textOf, type LineContext } from "./line.ts";
import { ICONS, button, iconButton } from "./parts.ts";

/** What the top asks of the chat. */
export interface TopOwner {
  readonly room: ChatRoom;
  context(): LineContext;
  now(): number;
  /** The choice that this user has voted for. */
  voted(poll: bigint): number | undefined;
  vote(poll: bigint, choice: number): void;
  mayModerate(): boolean;
  mayModerateAll(): boolean;
  unpin(): void;
  endPoll(poll: bigint): void;
}

/** See the module. Parts are built anew only when they mean something else; counts and times are written in place. */
export class Top {
  readonly element = make("div", "chat-top");
  readonly #announcement = make("div", "top-announcement");
  readonly #pinned = make("div", "top-pinned");
  readonly #highlights = make("div", "top-highlights");
  readonly #open = make("div", "top-open line");
  readonly #poll = make("div", "top-poll");
  readonly #keys = new Map<HTMLElement, string>();
  /** News that the reader has put away. */
  #read = "";
  #opened: bigint | undefined;

  constructor(private readonly owner: TopOwner) {
    this.#poll.dataset["testid"] = "chat-poll";
    this.#pinned.dataset["testid"] = "chat-pinned";
    this.#announcement.dataset["testid"] = "chat-announcement";
    this.#highlights.dataset["testid"] = "chat-highlights";
    this.#poll.setAttribute("role", "group");
    this.#highlights.setAttribute("role", "group");
    this.element.append(this.#announcement, this.#highlights, this.#open, this.#pinned, this.#poll);
  }

  /** After a change of language. */
  render(): void {
    this.#keys.clear();
    this.paint();
  }

  paint(): void {
    const { room } = this.owner;
    const { announcement, pinned, poll } = room;
    const news = announcement && `${announcement.atMs} ${announcement.text}`;
    this.#build(this.#announcement, news && news !== this.#read ? news : "", () => this.#drawNews(announcement?.text ?? "", news ?? ""));
    this.#build(this.#pinned, pinned ? `${pinned.id} ${pinned.text} ${this.owner.mayModerate()}` : "", () => this.#drawPinned(pinned));
    this.#paintHighlights();
    this.#build(this.#poll, poll ? this.#pollKey(poll) : "", () => poll && this.#drawPoll(poll));
    if (poll) this.#paintPoll(poll);
  }

  /** Whether times run that must be written again each second. */
  get ticks(): boolean {
    const { poll } = this.owner.room;
    return this.owner.room.highlighted(this.owner.now()).length > 0 || !this.#highlights.hidden || (poll !== undefined && !poll.ended);
  }

  #build(element: HTMLElement, key: string, draw: () => void): void {
    if ((this.#keys.get(element) ?? "") === key && (key !== "" || element.hidden)) return;
    this.#keys.set(element, key);
    element.hidden = key === "";
    element.replaceChildren();
    if (key !== "") draw();
  }

  #drawNews(text: string, news: string): void {
    this.#announcement.append(make("b", "top-kind", c("chat.announcement")), bdi("span", "top-text", text),
      iconButton("chat.close", ICONS.close, () => {
        this.#read = news;
        this.paint();
      }));
  }

  #drawPinned(pinned: Message | undefined): void {
    if (!pinned) return;
    const text = make("p", "top-text");
    text.append(...nameOf(pinned.author), textOf(pinned.text, this.owner.context()));
    this.#pinned.append(make("b", "top-kind", c("chat.pinned")), text);
    if (this.owner.mayModerate()) this.#pinned.append(button("mod.unpin", "top-button", () => this.owner.unpin(), "unpin"));
  }

  #paintHighlights(): void {
    const { room } = this.owner;
    const now = this.owner.now();
    const messages = [...room.highlighted(now)].sort((a, b) => (b.paid?.tier ?? 0) - (a.paid?.tier ?? 0) || Number(b.id - a.id));
    this.#build(this.#highlights, messages.map(({ id }) => id).join(), () => {
      this.#highlights.setAttribute("aria-label", c("chat.highlighted"));
      this.#highlights.append(...messages.map((message) => this.#chip(message, now)));
    });
    const opened = messages.find(({ id }) => id === this.#opened);
    this.#build(this.#open, opened ? String(opened.id) : "", () => {
      if (!opened?.paid) return;
      this.#open.dataset["tier"] = String(tierOf(opened));
      const body = make("p", "line-body");
      body.append(...nameOf(opened.author), make("b", "line-amount", amountOf(opened)), " ", textOf(opened.text, this.owner.context()));
      this.#open.append(body);
    });
  }

  #chip(message: Message, now: number): HTMLElement {
    const chip = make("button", "chip");
    chip.type = "button";
    chip.dataset["tier"] = String(tierOf(message));
    chip.setAttribute("aria-expanded", String(this.#opened === message.id));
    const rest = make("i", "chip-rest");
    // It runs out by itself, on the compositor.
    const left = this.owner.room.highlightedUntil(message) - now;
    const whole = (message.paid?.pinSeconds ?? 0) * 1_000;
    rest.animate([{ transform: `scaleX(${whole > 0 ? Math.min(1, left / whole) : 0})` }, { transform: "scaleX(0)" }], { duration: Math.max(0, left), fill: "forwards" });
    chip.append(rest, bdi("b", "chip-name", message.author?.name ?? ""), make("span", "chip-amount", amountOf(message)),
      make("span", "visually-hidden", message.text));
    chip.addEventListener("click", () => {
      this.#opened = this.#opened === message.id ? undefined : message.id;
      for (const other of this.#highlights.children) other.setAttribute("aria-expanded", "false");
      chip.setAttribute("aria-expanded", String(this.#opened === message.id));
      this.paint();
    });
    return chip;
  }

  #pollKey({ id, choices, ended, question }: Poll): string {
    return `${id} ${ended} ${choices.length} ${question} ${this.owner.voted(id)} ${this.owner.mayModerateAll()}`;
  }

  #drawPoll({ id, question, choices, ended }: Poll): void {
    const voted = this.owner.voted(id);
    this.#poll.setAttribute("aria-label", c("chat.poll"));
    const head = make("p", "poll-head");
    head.append(make("b", "top-kind", c("chat.poll")), bdi("b", "poll-question", question), make("span", "poll-left"));
    const list = make("div", "poll-choices");
    list.append(...choices.map(({ text }, at) => {
      const choice = make("button", "poll-choice");
      choice.type = "button";
      choice.disabled = ended;
      choice.setAttribute("aria-pressed", String(voted === at));
      choice.append(make("i", "poll-bar"), bdi("span", "poll-text", text), make("span", "poll-share"));
      choice.addEventListener("click", () => this.owner.vote(id, at));
      return choice;
    }));
    this.#poll.append(head, list);
    if (this.owner.mayModerateAll() && !ended) this.#poll.append(button("mod.poll.end", "top-button", () => this.owner.endPoll(id), "poll-end"));
  }

  #paintPoll({ choices, endsAtMs, ended }: Poll): void {
    const total = choices.reduce((sum, { votes }) => sum + votes, 0);
    const seconds = Math.max(0, Math.ceil((Number(endsAtMs) - this.owner.room.ahead - this.owner.now()) / 1_000));
    const left = this.#poll.querySelector(".poll-left");
    const count = c("chat.poll.votes", { count: total });
    if (left) setText(left, `${count} · ${ended ? c("chat.poll.ended") : c("chat.poll.left", { time: duration(seconds) })}`);
    this.#poll.querySelectorAll<HTMLElement>(".poll-choice").forEach((choice, at) => {
      const share = total > 0 ? (choices[at]?.votes ?? 0) / total : 0;
      const text = choice.querySelector(".poll-share");
      if (text) setText(text, `${number(share * 100)} %`);
      choice.querySelector<HTMLElement>(".poll-bar")?.style.setProperty("--share", share.toFixed(3));
    });
  }
}

function tierOf({ paid }: Message): number {
  return Math.min(7, Math.max(1, paid?.tier ?? 1));
}

function amountOf({ paid }: Message): string {
  return paid ? money(paid.amount, paid.currency, language()) : "";
}
