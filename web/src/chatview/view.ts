/** The chat of a page: its client, and everything that is drawn of it. */

import { ChatClient, type Deed, type SendFault } from "../chat/client.ts";
import { Role, TEXT_CHARACTERS_MAX, type Ack, type Message, type Notice, type Refusal } from "../chat/frames.ts";
import type { Asked } from "../chat/outbox.ts";
import { maySanction, moderates } from "../chat/roles.ts";
import type { Happening, Topic } from "../chat/room.ts";
import { emoteMap } from "../chat/text.ts";
import type { Line } from "../chat/timeline.ts";
import { overChannels, overSocket } from "../chat/transport.ts";
import { Backoff, VIEWER_BACKOFF } from "../client/backoff.ts";
import type { ChatChannels } from "../client/channels.ts";
import { c, known } from "../i18n/chat.ts";
import { duration, localised, t } from "../i18n/index.ts";
import { make, setText } from "../ui/dom.ts";
import { problemKey } from "../ui/problems.ts";
import { schedule } from "../ui/schedule.ts";
import { Announcer } from "./announcer.ts";
import { CaptionView } from "./captions.ts";
import { Composer } from "./composer.ts";
import { Confetti } from "./confetti.ts";
import { Hearts } from "./hearts.ts";
import { refusalText, speaksTo, type LineContext } from "./line.ts";
import { MessageList, type Action } from "./list.ts";
import type { Moderation } from "./moderation.ts";
import { Painter } from "./painter.ts";
import { ICONS, button, iconButton, label } from "./parts.ts";
import { Top } from "./top.ts";

/** Where a chat goes, and for whom. */
export interface ChatPlace {
  /** Becomes the chat. */
  readonly root: HTMLElement;
  /** Hearts, confetti and captions are drawn over it. */
  readonly picture: HTMLElement;
  readonly room: string;
  readonly token: () => string | undefined;
  /** Chooses which messages are drawn; all of them without it. */
  readonly choose?: (lines: readonly Line[]) => readonly Line[];
  /** For the artist: every message can be pinned by one tap. */
  readonly pinByTap?: boolean;
  /** The chat can be shown from now on. A server without one, or that wants another token, leaves the page as it is. */
  readonly onThere: () => void;
  /** There is none, or not for this user. */
  readonly onAbsent?: () => void;
  readonly onHide?: () => void;
  /** Also called each second. */
  readonly onCounts?: (present: number | undefined, hearts: number) => void;
}

/** How long a short note stays, in milliseconds. */
const NOTE_MS = 5_000;
/** How long somebody is paused by the button, in seconds. */
const TIMEOUT_SECONDS = 600;

/** See the module. */
export class ChatView {
  readonly client: ChatClient;
  readonly captions: CaptionView;
  readonly #painter = new Painter();
  readonly #list: MessageList;
  readonly #composer: Composer;
  readonly #top: Top;
  readonly #hearts = new Hearts(Math.random);
  readonly #confetti = new Confetti();
  readonly #announcer = new Announcer();
  readonly #present = make("span", "chat-present");
  readonly #modes = make("p", "chat-modes");
  readonly #note = make("p", "chat-note");
  readonly #state = make("div", "chat-state");
  readonly #spoken = make("p", "visually-hidden");
  readonly #title = make("h2", "chat-title");
  readonly #panelButton: HTMLButtonElement;
  readonly #hideButton: HTMLButtonElement;
  #panel: Moderation | undefined;
  #context: LineContext = { emotes: new Map(), you: undefined };
  #votes = new Map<bigint, number>();
  #heartCount = 0;
  #banned = false;
  #skipped = 0;
  #noteTimer: ReturnType<typeof setTimeout> | undefined;
  #speakTimer: ReturnType<typeof setTimeout> | undefined;
  #there = false;
  #heardUpTo: bigint | undefined;

  constructor(private readonly place: ChatPlace) {
    const socket = new URL(`/chat/${encodeURIComponent(place.room)}`, location.href);
    socket.protocol = socket.protocol.replace("http", "ws");
    this.client = new ChatClient({
      token: place.token,
      openSocket: overSocket(socket.href),
      schedule,
      now: () => Date.now(),
      nonce: newNonce,
      backoff: new Backoff(VIEWER_BACKOFF, Math.random),
      isOnline: () => navigator.onLine,
      listener: {
        onChange: (topic) => this.#changed(topic),
        onHappening: (happening) => this.#happened(happening),
        onRefused: (refusal, asked) => this.#refused(refusal, asked),
        onDone: (ack, asked) => this.#done(ack, asked),
      },
    });
    const { room } = this.client;
    this.#list = new MessageList({
      lines: () => place.choose?.(room.timeline.lines) ?? room.timeline.lines,
      context: () => this.#context,
      actions: (line) => this.#actions(line),
      onLook: () => this.#painter.request(this.#paintList),
    });
    this.#composer = new Composer({
      write: (text, replyTo) => this.#write(text, replyTo),
      react: () => this.react("heart"),
      emotes: () => this.#context.emotes,
    });
    this.#top = new Top({
      room,
      context: () => this.#context,
      now: () => Date.now(),
      voted: (poll) => this.#votes.get(poll),
      vote: (poll, choice) => void this.client.vote(poll, choice),
      mayModerate: () => room.may.moderate,
      mayModerateAll: () => room.may.moderateAll,
      unpin: () => this.moderate({ $case: "pin", value: 0n }),
      endPoll: (poll) => this.moderate({ $case: "pollEnd", value: poll }),
    });
    this.captions = new CaptionView(room.captions, () => Date.now());
    this.#panelButton = iconButton("mod.panel", ICONS.shield, () => void this.#togglePanel(), "mod-toggle");
    this.#panelButton.setAttribute("aria-expanded", "false");
    this.#hideButton = iconButton("chat.hide", ICONS.close, () => place.onHide?.(), "chat-hide");
    this.#assemble();
    localised(() => this.#render());
    setInterval(() => this.#tick(), 1_000);
    window.addEventListener("online", () => this.client.networkChanged());
  }

  /** A media session has these channels for the chat. */
  attach(channels: ChatChannels): void {
    this.client.attach(overChannels(channels));
  }

  /** One more reaction of this user: it rises at once, and is counted for the others. */
  react(kind: string): void {
    if (!this.client.react(kind)) return;
    this.#hearts.rise(1, this.#context.emotes.get(kind));
  }

  /** Does what moderators do. */
  moderate(action: Deed, reason = ""): void {
    if (!this.client.moderate(action, reason)) this.note(c("chat.refusal.too_many"));
  }

  /** Says something short. */
  note(text: string): void {
    setText(this.#note, text);
    clearTimeout(this.#noteTimer);
    this.#noteTimer = setTimeout(() => setText(this.#note, ""), NOTE_MS);
  }

  /** Draws the list again: what is chosen of it has changed. */
  redraw(): void {
    this.#painter.request(this.#paintList);
  }

  #assemble(): void {
    const { root, picture } = this.place;
    const head = make("header", "chat-head");
    const buttons = make("div", "chat-buttons");
    buttons.append(this.#panelButton, this.#hideButton);
    head.append(this.#title, this.#present, buttons);
    this.#present.dataset["testid"] = "chat-present";
    this.#note.dataset["testid"] = "chat-note";
    this.#note.setAttribute("role", "status");
    this.#spoken.setAttribute("role", "status");
    this.#spoken.dataset["testid"] = "chat-spoken";
    this.#state.setAttribute("role", "status");
    this.#state.dataset["testid"] = "chat-state";
    this.#hideButton.hidden = this.place.onHide === undefined;
    root.append(head, this.#top.element, this.#list.element, this.#note, this.#state, this.#modes, this.#composer.element, this.#spoken);
    picture.append(this.captions.element, this.#hearts.canvas, this.#confetti.canvas);
    root.dataset["testid"] = "chat";
  }

  /** Everything with words in it. */
  #render(): void {
    this.place.root.setAttribute("aria-label", c("chat.title"));
    setText(this.#title, c("chat.title"));
    label(this.#panelButton, c("mod.panel"));
    label(this.#hideButton, c("chat.hide"));
    this.#list.render();
    this.#composer.render();
    this.#top.render();
    this.#panel?.render();
    this.captions.paint();
    for (const task of [this.#paintList, this.#paintStatus, this.#paintSettings, this.#paintPresent]) this.#painter.request(task);
  }

  #changed(topic: Topic): void {
    switch (topic) {
      case "lines":
        this.#painter.request(this.#paintList);
        break;
      case "top":
        this.#painter.request(this.#paintTop);
        break;
      case "present":
        this.#painter.request(this.#paintPresent);
        break;
      case "settings":
        this.#painter.request(this.#paintSettings);
        break;
      case "captions":
        this.#painter.request(this.#paintCaptions);
        break;
      case "queue":
        this.#painter.request(this.#paintPanel);
        break;
      case "status":
        if (!this.#there && this.client?.status.kind === "open") {
          this.#there = true;
          this.place.onThere();
        } else if (!this.#there && this.client?.status.kind === "refused") {
          this.place.onAbsent?.();
        }
        this.#painter.request(this.#paintStatus);
        break;
    }
  }

  readonly #paintList = (): void => {
    this.#list.paint();
    this.#hear();
  };
  readonly #paintTop = (): void => this.#top.paint();
  readonly #paintCaptions = (): void => this.captions.paint();
  readonly #paintPanel = (): void => this.#panel?.paintQueue();

  readonly #paintPresent = (): void => {
    const { present, names } = this.client.room;
    this.#present.hidden = present === undefined;
    setText(this.#present, c("chat.present", { count: present ?? 0 }));
    this.#present.title = names.join(", ");
    this.place.onCounts?.(present, this.#heartCount);
  };

  readonly #paintSettings = (): void => {
    const { settings, you } = this.client.room;
    const emotes = emoteMap(settings.emotes, location.href);
    const same = this.#context.you === you?.user && [...emotes].join() === [...this.#context.emotes].join();
    if (!same) {
      this.#context = { emotes, you: you?.user };
      this.#list.render();
      this.#painter.request(this.#paintList);
    }
    const modes = [
      settings.slowSeconds > 0 ? c("chat.mode.slow", { time: duration(settings.slowSeconds) }) : "",
      settings.emoteOnly ? c("chat.mode.emotes") : "",
      settings.shield ? c("chat.mode.shield") : "",
    ].filter(Boolean);
    setText(this.#modes, modes.join(" · "));
    this.#panel?.paintSettings();
    this.#paintStatus();
  };

  readonly #paintStatus = (): void => {
    const { client } = this;
    const { status, room } = client;
    this.place.root.dataset["status"] = status.kind;
    this.place.root.dataset["via"] = status.kind === "open" ? status.via : "";
    const parts: Node[] = [];
    switch (status.kind) {
      case "connecting":
      case "reconnecting":
        parts.push(make("p", "", c(`chat.status.${status.kind}`)));
        break;
      case "refused":
        parts.push(make("p", "", c("chat.status.refused", { reason: refusalText({ code: status.code, detail: status.detail, retryAfterMs: 0 }) })),
          button("chat.status.again", "quiet", () => client.start(), "chat-again"));
        break;
      case "replaced":
        parts.push(make("p", "", c("chat.status.replaced")), button("chat.status.here", "quiet", () => client.start(), "chat-again"));
        break;
      default:
        if (room.countsOnly) parts.push(make("p", "", c("chat.counts")));
    }
    const text = parts.map(({ textContent }) => textContent).join();
    if (this.#state.textContent !== text) this.#state.replaceChildren(...parts);
    this.#panelButton.hidden = !room.may.moderate;
    this.#composer.close(this.#closedBecause());
    this.#composer.wait(Math.max(0, Math.ceil((client.mayWriteAt - Date.now()) / 1_000)));
    if (!room.may.moderate) this.#panel?.close();
  };

  #closedBecause(): string | undefined {
    const { status, room: { may, settings, you } } = this.client;
    if (status.kind === "refused" || status.kind === "replaced") return "";
    // Before the first welcome nobody knows; then what is written waits for it.
    if (you === undefined || may.moderate) return undefined;
    if (!may.write) return c(this.#banned ? "chat.refusal.banned" : "chat.readonly");
    if (settings.muted && !moderates(you.role)) return c("chat.muted");
    if (settings.membersOnly && you.role === Role.GUEST) return c("chat.members");
    return undefined;
  }

  #tick(): void {
    if (document.visibilityState !== "visible") return;
    if (this.client.mayWriteAt > Date.now() - 2_000) this.#painter.request(this.#paintStatus);
    if (this.#top.ticks) this.#painter.request(this.#paintTop);
    this.#composer.hearts(this.#heartCount);
    this.place.onCounts?.(this.client.room.present, this.#heartCount);
    if (this.#skipped > 0) {
      this.note(c("chat.skipped", { count: this.#skipped }));
      this.#skipped = 0;
    }
  }

  /** Tells screen readers of messages that came since the last time. */
  #hear(): void {
    const { room } = this.client;
    let last = this.#heardUpTo;
    for (const { message, state } of room.timeline.lines) {
      if (state !== "shown" || (last !== undefined && message.id <= last)) continue;
      last = message.id;
      // What was there before is no news.
      if (this.#heardUpTo === undefined || message.author?.user === this.#context.you) continue;
      const matters = speaksTo(message, this.#context.you) || message.author?.role === Role.IDOL || message.paid !== undefined;
      this.#announcer.hear({ name: message.author?.name ?? "", text: message.text, matters });
    }
    this.#heardUpTo = last ?? 0n;
    this.#speak();
  }

  #speak(): void {
    const said = this.#announcer.take(Date.now());
    if (said === undefined) return;
    if (typeof said === "number") {
      clearTimeout(this.#speakTimer);
      this.#speakTimer = setTimeout(() => this.#speak(), said);
      return;
    }
    const { count, name, text } = said;
    setText(this.#spoken, count === 1 ? c("chat.heard.one", { name, text }) : c("chat.heard", { count, name, text }));
  }

  #happened(happening: Happening): void {
    switch (happening.kind) {
      case "reactions":
        for (const reaction of happening.reactions) {
          if (reaction.kind === "heart") this.#heartCount += reaction.count;
          this.#hearts.rise(this.client.othersOf(reaction), this.#context.emotes.get(reaction.kind));
        }
        break;
      case "highlighted":
        void this.#confetti.burst(happening.message.paid?.tier ?? 0);
        break;
      case "skipped":
        this.#skipped += happening.messages;
        break;
      case "gap":
        if (happening.gap.messages > 0) this.note(c("chat.gap", { count: happening.gap.messages }));
        break;
      case "notice":
        this.#noticed(happening.notice);
        break;
    }
  }

  #noticed({ code, detail, seconds }: Notice): void {
    if (code === "replaced") return;
    if (code === "banned" || code === "unbanned") {
      this.#banned = code === "banned";
      this.#painter.request(this.#paintStatus);
    }
    this.note(noticeText(code, detail, seconds));
    if (code !== "banned" && code !== "timed_out") return;
    const ask = button("chat.appeal", "quiet", () => this.#appeal(), "appeal");
    this.#note.append(" ", ask);
    clearTimeout(this.#noteTimer);
  }

  #appeal(): void {
    const form = make("form", "chat-appeal");
    const text = make("textarea");
    text.setAttribute("aria-label", c("chat.appeal.text"));
    text.placeholder = c("chat.appeal.text");
    text.maxLength = TEXT_CHARACTERS_MAX;
    const send = make("button", "quiet", c("chat.send"));
    form.append(text, send);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (text.value.trim() && this.client.appeal(text.value.trim())) this.note("");
    });
    this.#note.replaceChildren(form);
    text.focus();
  }

  #write(text: string, replyTo: Message | undefined): boolean {
    const fault = this.client.write(text, replyTo);
    if (fault) this.note(this.#faultText(fault));
    else this.#list.follow();
    return fault === undefined;
  }

  #faultText(fault: SendFault): string {
    return c(`chat.refusal.${fault}`, { count: TEXT_CHARACTERS_MAX });
  }

  #refused(refusal: Refusal, asked: Asked): void {
    this.note(refusalText(refusal));
    if (asked.$case === "moderate") this.#panel?.answered(asked, false);
  }

  #done(ack: Ack, asked: Asked): void {
    if (asked.$case === "vote") {
      this.#votes.set(asked.value.poll, asked.value.choice);
      this.#painter.request(this.#paintTop);
    } else if (asked.$case === "appeal") {
      this.note(c("chat.appeal.sent"));
    } else if (asked.$case === "send" && ack.held) {
      this.note(c("chat.notice.held"));
    } else if (asked.$case === "moderate") {
      if (asked.value.action?.$case !== "queue") this.note(c("mod.done"));
      this.#panel?.answered(asked, true);
    }
  }

  #actions(line: Line): Action[] {
    const { message, nonce, state } = line;
    const { client } = this;
    if (state === "failed" && nonce !== undefined) {
      return [
        { name: "again", label: c("chat.line.again"), act: () => client.writeAgain(nonce) },
        { name: "drop", label: c("chat.line.drop"), act: () => client.forget(nonce) },
      ];
    }
    if (state !== "shown") return [];
    const { may, you } = client.room;
    const user = message.author?.user ?? "";
    const actions: Action[] = [];
    if (may.write) actions.push({ name: "reply", label: c("chat.reply"), act: () => this.#composer.reply(message) });
    if (!may.moderate) return actions;
    const pin: Action = { name: "pin", label: c("mod.pin"), act: () => this.moderate({ $case: "pin", value: message.id }) };
    if (this.place.pinByTap) actions.unshift(pin);
    else actions.push(pin);
    actions.push({ name: "delete", label: c("mod.delete"), act: () => this.moderate({ $case: "delete", value: message.id }) });
    if (user) actions.push({ name: "user", label: c("mod.user.open"), act: () => void this.#openUser(user) });
    if (user === you?.user || !maySanction(you?.role ?? Role.GUEST, message.author?.role ?? Role.GUEST)) return actions;
    actions.push({ name: "timeout", label: c("mod.timeout"), act: () => this.moderate({ $case: "timeout", value: { user, seconds: TIMEOUT_SECONDS } }) });
    if (may.moderateAll) {
      actions.push({ name: "ban", label: c("mod.ban"), danger: true, sure: c("mod.ban.sure"), act: () => this.moderate({ $case: "ban", value: user }) });
    }
    return actions;
  }

  async #togglePanel(): Promise<void> {
    (await this.#loadPanel()).toggle();
  }

  /** What somebody has written, and what may be done with them. */
  async #openUser(user: string): Promise<void> {
    (await this.#loadPanel()).lookUp(user);
  }

  async #loadPanel(): Promise<Moderation> {
    if (!this.#panel) {
      const { Moderation } = await import("./moderation.ts");
      this.#panel ??= new Moderation({
        client: this.client, room: this.place.room, token: this.place.token,
        moderate: (action, reason) => this.moderate(action, reason),
        onOpen: (open) => {
          this.#panelButton.setAttribute("aria-expanded", String(open));
          this.place.root.dataset["panel"] = open ? "open" : "";
        },
      });
      this.#list.element.before(this.#panel.element);
    }
    return this.#panel;
  }
}

/** What a notice says. One of a chat that ends has the reason of a WebSocket's close as its detail. */
function noticeText(code: string, detail: string, seconds: number): string {
  if (code !== "closed") return c(known("chat.notice", code, "chat.notice.other"), { detail, time: duration(seconds) });
  return detail.startsWith("token_") ? t(problemKey({ code: detail, status: 401 })) : c(known("chat.closed", detail, "chat.closed.other"));
}

function newNonce(): bigint {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  // 0 stands for "none".
  return (BigInt(high) << 32n) | BigInt(low) || 1n;
}
