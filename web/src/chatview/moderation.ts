/** The moderators' panel. It is fetched when it is first opened. */

import { type Moderate, type Settings } from "../chat/frames.ts";
import type { Asked } from "../chat/outbox.ts";
import type { ChatClient, Deed } from "../chat/client.ts";
import { ProblemError } from "../client/problem.ts";
import { c, known, type ChatKey } from "../i18n/chat.ts";
import { language } from "../i18n/index.ts";
import { make } from "../ui/dom.ts";
import { auditText } from "./audit.ts";
import { bdi, refusalText } from "./line.ts";
import { button } from "./parts.ts";
import { Records, type Row } from "./records.ts";

/** Where a panel belongs. */
export interface PanelOwner {
  readonly client: ChatClient;
  readonly moderate: (action: Deed, reason: string) => void;
  readonly room: string;
  readonly token: () => string | undefined;
  readonly onOpen: (open: boolean) => void;
}

const TABS = ["queue", "settings", "users", "bans", "audit", "stage"] as const;
type Tab = (typeof TABS)[number];

/** Switches of the rules, by their names in `Settings`. */
const SWITCHES = [
  ["membersOnly", "mod.members"], ["emoteOnly", "mod.emotes"], ["uniqueOnly", "mod.unique"], ["linksOff", "mod.links"],
  ["muted", "mod.muted"], ["shield", "mod.shield"],
] as const satisfies readonly (readonly [keyof Settings, ChatKey])[];

/** What takes a sanction of a kind back; else it is a ban. */
const LIFTS: Readonly<Record<string, ChatKey>> = { timeout: "mod.lift.timeout", shadow: "mod.unshadow" };

/** See the module. */
export class Moderation {
  readonly element = make("section", "mod");
  readonly #tabs = make("div", "mod-tabs");
  readonly #body = make("div", "mod-body");
  /** Of whoever was looked up. */
  readonly #actions = make("div");
  readonly #messages = make("div", "mod-form");
  readonly #records: Records;
  #tab: Tab = "queue";
  #user = "";

  constructor(private readonly owner: PanelOwner) {
    this.#records = new Records(owner.room, owner.token);
    this.element.dataset["testid"] = "mod-panel";
    this.element.hidden = true;
    this.#tabs.setAttribute("role", "tablist");
    this.#body.setAttribute("role", "tabpanel");
    this.#body.tabIndex = 0;
    this.#body.id = "mod-body";
    this.element.append(this.#tabs, this.#body);
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.render();
  }

  toggle(): void {
    if (this.element.hidden) this.#show("queue");
    else this.close();
  }

  /** Opens at what is known of a user. */
  lookUp(user: string): void {
    this.#user = user;
    this.#show("users");
    this.#drawUser();
  }

  close(): void {
    if (this.element.hidden) return;
    this.element.hidden = true;
    this.owner.onOpen(false);
  }

  /** After a change of language. */
  render(): void {
    this.element.setAttribute("aria-label", c("mod.panel"));
    this.#tabs.setAttribute("aria-label", c("mod.panel"));
    this.#tabs.replaceChildren(...this.#mine.map((tab) => {
      const element = button(`mod.tab.${tab}`, "mod-tab", () => this.#show(tab), `mod-${tab}`);
      element.setAttribute("role", "tab");
      element.setAttribute("aria-controls", "mod-body");
      element.dataset["tab"] = tab;
      return element;
    }));
    if (!this.element.hidden) this.#show(this.#tab);
  }

  /** The server has told what waits. */
  paintQueue(): void {
    if (this.#tab === "queue" && !this.element.hidden) this.#drawQueue();
  }

  /** The rules have changed; what is being edited is left alone. */
  paintSettings(): void {
    if (this.#tab === "settings" && !this.element.hidden && !this.#body.contains(document.activeElement)) void this.#readSettings();
  }

  /** A request of the panel was answered. */
  answered({ value }: Asked, done: boolean): void {
    const action = "action" in value ? (value as Moderate).action?.$case : undefined;
    if (!done || !action || this.element.hidden) return;
    if (["approve", "deny", "appeal"].includes(action)) this.#deed({ $case: "queue", value: true });
    else if ((action === "unban" || action === "unshadow") && this.#tab === "bans") void this.#drawBans();
    else if (["delete", "clearUser", "timeout", "ban"].includes(action) && this.#tab === "users" && this.#user) this.#drawMessages();
  }

  #show(tab: Tab): void {
    if (tab !== this.#tab) this.#body.scrollTop = 0;
    this.#tab = tab;
    this.element.hidden = false;
    this.owner.onOpen(true);
    for (const element of this.#tabs.querySelectorAll<HTMLElement>("button")) {
      const chosen = element.dataset["tab"] === tab;
      element.setAttribute("aria-selected", String(chosen));
      element.tabIndex = chosen ? 0 : -1;
      if (chosen) this.#body.setAttribute("aria-label", element.textContent ?? "");
    }
    switch (tab) {
      case "queue":
        this.#deed({ $case: "queue", value: true });
        this.#drawQueue();
        break;
      case "settings":
        this.#body.replaceChildren();
        void this.#readSettings();
        break;
      case "users":
        this.#drawUsers();
        break;
      case "bans":
        void this.#drawBans();
        break;
      case "audit":
        this.#body.replaceChildren();
        void this.#more("chat/audit", "mod.audit.none", (row) => this.#auditRow(row));
        break;
      case "stage":
        this.#body.replaceChildren(...stageForms((action) => this.#deed(action)));
        break;
    }
  }

  get #mine(): readonly Tab[] {
    return TABS.filter((tab) => tab !== "stage" || this.owner.client.room.may.moderateAll);
  }

  #key(event: KeyboardEvent): void {
    const step = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    if (step === 0 || !this.#tabs.contains(document.activeElement)) return;
    event.preventDefault();
    const tabs = this.#mine;
    const next = tabs[(tabs.indexOf(this.#tab) + step + tabs.length) % tabs.length] ?? "queue";
    this.#show(next);
    this.#tabs.querySelector<HTMLElement>(`[data-tab="${next}"]`)?.focus();
  }

  #deed(action: Deed, reason = ""): void {
    this.owner.moderate(action, reason);
  }

  #drawQueue(): void {
    const { queue } = this.owner.client.room;
    const held = (queue?.held ?? []).flatMap(({ message, reason }) => (message ? [this.#card(
      message.author?.name ?? "", message.text, c(known("mod.held", reason, "mod.held.other"), { detail: reason }),
      button("mod.approve", "line-action", () => this.#deed({ $case: "approve", value: message.id }), "approve"),
      button("mod.deny", "line-action line-action-danger", () => this.#deed({ $case: "deny", value: message.id }), "deny"),
    )] : []));
    const appeals = (queue?.appeals ?? []).map(({ user, text, atMs }) => this.#card(
      user, text, time(Number(atMs)),
      button("mod.accept", "line-action", () => this.#deed({ $case: "appeal", value: { user, accepted: true } })),
      button("mod.decline", "line-action line-action-danger", () => this.#deed({ $case: "appeal", value: { user, accepted: false } })),
    ));
    const parts: Node[] = [];
    if (held.length > 0) parts.push(make("h3", "", c("mod.queue.held")), ...held);
    if (appeals.length > 0) parts.push(make("h3", "", c("mod.queue.appeals")), ...appeals);
    if (parts.length === 0) parts.push(make("p", "hint", c("mod.queue.empty")));
    parts.push(button("mod.refresh", "line-action", () => this.#deed({ $case: "queue", value: true })));
    this.#body.replaceChildren(...parts);
  }

  /** The terms are not in what the room tells everybody: saved without them, they would be gone. */
  async #readSettings(): Promise<void> {
    const terms = await this.#records.blockedTerms();
    // Who has begun to edit meanwhile goes on.
    if (this.#tab !== "settings" || this.#body.querySelector("form")?.contains(document.activeElement)) return;
    if (!(terms instanceof ProblemError)) this.#drawSettings(terms);
    else this.#body.replaceChildren(make("p", "error", failedText(terms)), button("mod.refresh", "line-action", () => void this.#readSettings()));
  }

  #drawSettings(blockedTerms: readonly string[]): void {
    const { settings, may } = this.owner.client.room;
    const form = make("form", "mod-form");
    const fields = make("fieldset", "mod-form");
    fields.disabled = !may.moderateAll;
    const slow = number("slow", settings.slowSeconds, 0, 120);
    fields.append(field("mod.slow", slow));
    const switches = SWITCHES.map(([name, key]) => {
      const box = make("input");
      box.type = "checkbox";
      box.name = name;
      box.checked = settings[name];
      const row = make("label", "mod-switch");
      row.append(box, make("span", "", c(key)));
      fields.append(row);
      return [name, box] as const;
    });
    const hold = make("select");
    hold.name = "hold";
    for (const policy of [1, 0, 2] as const) {
      const option = make("option", "", c(`mod.hold.${policy}`));
      option.value = String(policy);
      hold.append(option);
    }
    hold.value = String(settings.hold);
    const terms = make("textarea");
    terms.rows = 4;
    terms.value = blockedTerms.join("\n");
    fields.append(field("mod.hold", hold), field("mod.terms", terms), submit("mod.save"));
    form.append(fields);
    if (!may.moderateAll) form.append(make("p", "hint", c("mod.lead")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const flags = Object.fromEntries(switches.map(([name, box]) => [name, box.checked])) as Pick<Settings, (typeof SWITCHES)[number][0]>;
      this.#deed({ $case: "settings", value: {
        // What the panel does not show stays as it is now.
        ...this.owner.client.room.settings, ...flags, slowSeconds: slow.valueAsNumber || 0,
        hold: hold.value === "1" ? 1 : hold.value === "2" ? 2 : 0, blockedTerms: lines(terms.value),
      } });
    });
    this.#body.replaceChildren(form);
  }

  #drawUsers(): void {
    const form = make("form", "mod-form");
    const user = make("input");
    user.name = "user";
    user.required = true;
    user.value = this.#user;
    user.autocomplete = "off";
    user.spellcheck = false;
    form.append(field("mod.user", user), submit("mod.user.find"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#user = user.value.trim();
      this.#drawUser();
    });
    this.#actions.replaceChildren();
    this.#messages.replaceChildren();
    this.#body.replaceChildren(form, this.#actions, this.#messages);
  }

  #drawUser(): void {
    this.#actions.replaceChildren(this.#userActions(this.#user));
    this.#drawMessages();
  }

  #drawMessages(): void {
    this.#messages.replaceChildren();
    void this.#more(`chat/messages?user=${encodeURIComponent(this.#user)}`, "mod.user.none", (row) => this.#messageRow(row), this.#messages);
  }

  #userActions(user: string): HTMLElement {
    const box = make("div", "mod-form");
    const reason = make("input");
    reason.name = "reason";
    const row = make("div", "mod-row");
    const deed = (key: ChatKey, action: () => Deed, danger = false) =>
      button(key, danger ? "line-action line-action-danger" : "line-action", () => this.#deed(action(), reason.value.trim()));
    row.append(
      deed("mod.timeout", () => ({ $case: "timeout", value: { user, seconds: 600 } })),
      deed("mod.clear", () => ({ $case: "clearUser", value: user }), true),
      deed("mod.warn", () => ({ $case: "warn", value: user })),
    );
    if (this.owner.client.room.may.moderateAll) {
      row.append(
        deed("mod.shadow", () => ({ $case: "shadow", value: user })),
        deed("mod.unshadow", () => ({ $case: "unshadow", value: user })),
        deed("mod.ban", () => ({ $case: "ban", value: user }), true),
        deed("mod.unban", () => ({ $case: "unban", value: user })),
      );
    }
    box.append(field("mod.reason", reason), row);
    return box;
  }

  async #drawBans(): Promise<void> {
    this.#body.replaceChildren();
    await this.#more("chat/sanctions", "mod.bans.none", (row) => {
      const user = row.text("user");
      const until = row.time("untilMs", "until_ms");
      const kind = row.text("kind");
      const note = [c(known("mod.kind", kind, "mod.kind.ban")), until ? c("mod.until", { time: time(until) }) : c("mod.forever")].join(" · ");
      return this.#card(user, row.text("reason"), note,
        button(LIFTS[kind] ?? "mod.unban", "line-action", () => this.#deed(kind === "shadow" ? { $case: "unshadow", value: user } : { $case: "unban", value: user })));
    });
  }

  #messageRow(row: Row): HTMLElement {
    const id = row.id("id");
    const removed = row.has("removed");
    const actions = id === 0n || removed ? [] : [button("mod.delete", "line-action line-action-danger", () => this.#deed({ $case: "delete", value: id }))];
    const author = row.child("author");
    return this.#card(author.text("name") || author.text("user"), row.text("text"),
      [time(row.time("atMs", "at_ms")), removed ? c("mod.did.delete") : ""].filter(Boolean).join(" · "), ...actions);
  }

  #auditRow(row: Row): HTMLElement {
    return this.#card(row.text("actor"), auditText(row, time), [time(row.time("atMs", "at_ms")), row.text("reason")].filter(Boolean).join(" · "));
  }

  /** Reads one page of a record, and adds a button for the next. */
  async #more(path: string, none: ChatKey, draw: (row: Row) => HTMLElement, into = this.#body): Promise<void> {
    const tab = this.#tab;
    const page = await this.#records.read(path, path.startsWith("chat/sanctions") ? "after" : "before");
    if (this.#tab !== tab || !into.isConnected) return;
    if (page instanceof ProblemError) {
      into.append(make("p", "error", failedText(page)));
      return;
    }
    into.append(...page.rows.map(draw));
    const { next } = page;
    if (next !== undefined) {
      const more = button("mod.older", "line-action", () => {
        more.remove();
        void this.#more(next, none, draw, into);
      });
      into.append(more);
    } else if (page.rows.length === 0 && !into.querySelector(".mod-card")) {
      into.append(make("p", "hint", c(none)));
    }
  }

  #card(name: string, text: string, note: string, ...actions: HTMLElement[]): HTMLElement {
    const card = make("article", "mod-card");
    const line = make("p");
    line.append(bdi("b", "", name), " ", bdi("span", "", text));
    card.append(line);
    if (note) card.append(bdi("p", "hint", note));
    if (actions.length > 0) {
      const row = make("div", "mod-row");
      row.append(...actions);
      card.append(row);
    }
    return card;
  }
}

/** News and polls: the panel has them, and the studio. */
export function stageForms(deed: (action: Deed) => void): HTMLElement[] {
  const news = make("form", "mod-form");
  const text = make("input");
  text.name = "announce";
  text.required = true;
  text.maxLength = 500;
  text.dataset["testid"] = "announce-text";
  news.append(field("mod.announce", text), submit("mod.announce.send", "announce-send"));
  news.addEventListener("submit", (event) => {
    event.preventDefault();
    deed({ $case: "announce", value: text.value.trim() });
    text.value = "";
  });
  const poll = make("form", "mod-form");
  const question = make("input");
  question.name = "question";
  question.required = true;
  question.dataset["testid"] = "poll-question";
  const choices = make("textarea");
  choices.rows = 3;
  choices.required = true;
  choices.dataset["testid"] = "poll-choices";
  const seconds = number("seconds", 60, 10, 3_600);
  poll.append(field("mod.poll.question", question), field("mod.poll.choices", choices), field("mod.poll.seconds", seconds), submit("mod.poll.start", "poll-start"));
  const check = () => choices.setCustomValidity(lines(choices.value).length < 2 || lines(choices.value).length > 10 ? c("mod.poll.choices") : "");
  choices.addEventListener("input", check);
  check();
  poll.addEventListener("submit", (event) => {
    event.preventDefault();
    deed({ $case: "pollStart", value: { question: question.value.trim(), choices: lines(choices.value), seconds: seconds.valueAsNumber || 0 } });
    poll.reset();
    check();
  });
  return [news, poll];
}

function lines(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

function field(key: ChatKey, control: HTMLElement): HTMLLabelElement {
  const element = make("label", "field");
  element.append(make("span", "", c(key)), control);
  return element;
}

function number(name: string, value: number, min: number, max: number): HTMLInputElement {
  const input = make("input");
  input.type = "number";
  input.name = name;
  input.min = String(min);
  input.max = String(max);
  // A form that is emptied comes back to it.
  input.defaultValue = String(value);
  return input;
}

function submit(key: ChatKey, testId = ""): HTMLButtonElement {
  const element = make("button", "line-action line-action-main", c(key));
  if (testId) element.dataset["testid"] = testId;
  return element;
}

function failedText({ code, message, retryAfterMs }: ProblemError): string {
  return c("mod.failed", { reason: refusalText({ code, detail: message, retryAfterMs: retryAfterMs ?? 0 }) });
}

function time(ms: number): string {
  return ms > 0 ? new Date(ms).toLocaleString(language(), { dateStyle: "short", timeStyle: "medium" }) : "";
}
