/** What a client knows of a room's chat: the frames' content, taken in part by part. Pure. */

import { Captions } from "./captions.ts";
import { Frontier } from "./frontier.ts";
import type { Announcement, Author, Batch, Effects, Gap, Message, Notice, Permissions, Poll, Queue, Reaction, ServerPart,
  Settings, Snapshot } from "./frames.ts";
import { Timeline } from "./timeline.ts";

/** What has changed, for a page that draws. */
export type Topic = "lines" | "top" | "settings" | "present" | "captions" | "queue" | "status";

/** What has happened, and leaves no trace here. */
export type Happening =
  | { readonly kind: "reactions"; readonly reactions: readonly Reaction[] }
  | { readonly kind: "highlighted"; readonly message: Message }
  | { readonly kind: "skipped"; readonly messages: number }
  | { readonly kind: "gap"; readonly gap: Gap }
  | { readonly kind: "notice"; readonly notice: Notice };

/** Where changes and happenings go. */
export interface RoomListener {
  onChange(topic: Topic): void;
  onHappening(happening: Happening): void;
}

/** Highlighted messages that stand on top at once; the oldest give way. */
export const HIGHLIGHTED_MAX = 20;
/** Names of those present that are kept; servers name them in small rooms only. */
export const NAMES_MAX = 200;

const NOTHING_MAY: Permissions = { write: false, moderate: false, moderateAll: false, caption: false };
const PLAIN: Settings = {
  slowSeconds: 0, membersOnly: false, emoteOnly: false, uniqueOnly: false, linksOff: false, muted: false, shield: false,
  hold: 0, blockedTerms: [], emotes: [],
};

/** Things of which the newest counts, whatever the order in which they come. */
type Standing = "pinned" | "settings" | "poll" | "announcement";

/** See the module. */
export class ChatRoom {
  readonly frontier = new Frontier();
  readonly timeline = new Timeline();
  readonly captions = new Captions();
  you: Author | undefined;
  may: Permissions = NOTHING_MAY;
  settings: Settings = PLAIN;
  pinned: Message | undefined;
  poll: Poll | undefined;
  announcement: Announcement | undefined;
  queue: Queue | undefined;
  present: number | undefined;
  names: readonly string[] = [];
  /** The server shows this client counts only, for its link is too slow. */
  countsOnly = false;
  /** By how much the server's clock is ahead of this one, in milliseconds. */
  ahead = 0;
  #highlighted: Message[] = [];
  #since = new Map<Standing, number>();
  /** As of which place the next snapshot is, and whether places still mean what they meant. */
  #snapshotAt = { place: 0, sameCount: false };

  constructor(private readonly listener: RoomListener) {}

  /** Highlighted messages whose time has not run out, the oldest first. */
  highlighted(now: number): readonly Message[] {
    return this.#highlighted.filter((message) => this.highlightedUntil(message) > now);
  }

  /** Until when a highlighted message stands on top, in Unix milliseconds of this computer. */
  highlightedUntil(message: Message): number {
    return Number(message.atMs) - this.ahead + (message.paid?.pinSeconds ?? 0) * 1_000;
  }

  /** Takes in one part of a frame. Answers to requests are the client's. */
  take(part: ServerPart, now: number): void {
    switch (part.$case) {
      case "welcome": {
        const { position, recovered, you, may, nowMs } = part.value;
        this.you = you;
        this.may = may ?? NOTHING_MAY;
        this.ahead = nowMs === 0n ? 0 : Number(nowMs) - now;
        this.countsOnly = false;
        // Of a recovery the missed places are still to come, and they count on from the old ones.
        if (position) {
          const sameCount = this.frontier.isIn(position.epoch);
          this.#snapshotAt = { place: Number(position.offset), sameCount };
          if (!sameCount) this.#since.clear();
          if (!(recovered && sameCount)) this.frontier.reset(position);
        }
        this.listener.onChange("status");
        this.listener.onChange("settings");
        break;
      }
      case "snapshot":
        this.#snapshot(part.value);
        break;
      case "batch":
        this.#batch(part.value, now);
        break;
      case "effects":
        this.#effects(part.value);
        break;
      case "direct":
        this.timeline.addDirect(part.value, this.frontier.high);
        this.listener.onChange("lines");
        break;
      case "gap":
        this.frontier.giveUp();
        this.countsOnly = part.value.countsOnly;
        this.listener.onHappening({ kind: "gap", gap: part.value });
        this.listener.onChange("status");
        break;
      case "caption":
        this.captions.add(part.value, now, this.ahead);
        this.listener.onChange("captions");
        break;
      case "queue":
        this.queue = part.value;
        this.listener.onChange("queue");
        break;
      case "notice":
        // Whoever comes back from a ban is told no permissions; the server refuses what this gets wrong.
        if (part.value.code === "banned") this.may = { ...this.may, write: false };
        if (part.value.code === "unbanned") this.may = { ...this.may, write: true };
        this.listener.onChange("status");
        this.listener.onHappening({ kind: "notice", notice: part.value });
        break;
      default:
        break;
    }
  }

  #snapshot(snapshot: Snapshot): void {
    const { place, sameCount } = this.#snapshotAt;
    this.timeline.replace(snapshot.messages, place, sameCount);
    // The snapshot may have been overtaken by what came after it, on another channel.
    if (this.#newer("settings", place)) this.settings = snapshot.settings ?? PLAIN;
    if (this.#newer("pinned", place)) this.pinned = snapshot.pinned;
    if (this.#newer("poll", place)) this.poll = snapshot.poll;
    if (this.#newer("announcement", place)) this.announcement = snapshot.announcement;
    const later = this.#highlighted.filter(({ id }) => sameCount && this.timeline.byId(id) && !snapshot.highlighted.some((other) => other.id === id));
    this.#highlighted = [...snapshot.highlighted, ...later].slice(-HIGHLIGHTED_MAX);
    this.present = snapshot.present || this.present;
    for (const topic of ["lines", "top", "settings", "present"] as const) this.listener.onChange(topic);
  }

  #batch({ firstOffset, entries, skipped }: Batch, now: number): void {
    const first = Number(firstOffset);
    let place = first;
    for (const { entry } of entries) {
      switch (entry?.$case) {
        case "message":
          this.#message(entry.value, place);
          break;
        case "deleted":
          this.timeline.delete(entry.value.ids);
          this.#strike(({ id }) => entry.value.ids.includes(id));
          break;
        case "userCleared":
          this.timeline.clear(entry.value, place);
          this.#strike(({ author }) => author?.user === entry.value);
          break;
        case "pinned":
          // Without an id nothing is pinned any more.
          if (this.#newer("pinned", place)) this.pinned = entry.value.id === 0n ? undefined : entry.value;
          break;
        case "settings":
          if (this.#newer("settings", place)) this.settings = entry.value;
          this.listener.onChange("settings");
          break;
        case "poll":
          if (this.#newer("poll", place)) this.poll = entry.value;
          break;
        case "announcement":
          if (this.#newer("announcement", place)) this.announcement = entry.value.text ? entry.value : undefined;
          break;
        default:
          break;
      }
      if (entry && entry.$case !== "message" && entry.$case !== "removed") this.listener.onChange("top");
      place += 1;
    }
    this.frontier.see(first, entries.length, now);
    if (entries.length > 0) this.listener.onChange("lines");
    if (skipped > 0) this.listener.onHappening({ kind: "skipped", messages: skipped });
  }

  #message(message: Message, place: number): void {
    const known = this.timeline.byId(message.id) !== undefined;
    this.timeline.add(message, place);
    if (!message.paid || this.#highlighted.some(({ id }) => id === message.id)) return;
    // It may have been deleted before it came.
    if (!this.timeline.byId(message.id)) return;
    this.#highlighted.push(message);
    if (this.#highlighted.length > HIGHLIGHTED_MAX) this.#highlighted.shift();
    this.listener.onChange("top");
    if (!known) this.listener.onHappening({ kind: "highlighted", message });
  }

  #effects({ reactions, present, votes, names }: Effects): void {
    if (reactions.length > 0) this.listener.onHappening({ kind: "reactions", reactions });
    if (names.length > 0) this.names = names.slice(0, NAMES_MAX);
    if (present > 0) this.present = present;
    if (present > 0 || names.length > 0) this.listener.onChange("present");
    if (votes.length > 0 && this.poll && !this.poll.ended) {
      this.poll = { ...this.poll, choices: this.poll.choices.map((choice, at) => ({ ...choice, votes: votes[at] ?? choice.votes })) };
      this.listener.onChange("top");
    }
  }

  /** Deleted messages do not stay on top either. */
  #strike(deleted: (message: Message) => boolean): void {
    this.#highlighted = this.#highlighted.filter((message) => !deleted(message));
    if (this.pinned && deleted(this.pinned)) this.pinned = undefined;
  }

  #newer(what: Standing, place: number): boolean {
    if (place < (this.#since.get(what) ?? 0)) return false;
    this.#since.set(what, place);
    return true;
  }
}
