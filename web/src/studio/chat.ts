/** The artist's view of the chat: slow, large, and pinned by a tap. */

import { Pace } from "../chat/pace.ts";
import { ChatView } from "../chatview/view.ts";
import { label } from "../chatview/parts.ts";
import type { ChatChannels } from "../client/channels.ts";
import { Role } from "../chat/frames.ts";
import { moderates } from "../chat/roles.ts";
import { c } from "../i18n/chat.ts";
import { localised, number } from "../i18n/index.ts";
import { byId, make, setOptions, setText } from "../ui/dom.ts";
import { Captioning } from "./captioning.ts";

/** Messages a second to choose from; the last is all of them. */
const PACES = ["0.5", "1", "2", "4", "Infinity"] as const;
/** How often messages that wait for their turn are looked at, in milliseconds. */
const TURN_MS = 250;

/** See the module. */
export class StudioChat {
  readonly #view: ChatView;
  readonly #root = byId("stage-chat", HTMLElement);
  readonly #pace: Pace;
  readonly #paceSelect = make("select");
  readonly #hearts = make("dd");
  readonly #present = make("dd");
  readonly #captioning: Captioning;
  readonly #stage = make("details", "stage-forms");

  constructor(room: string, token: () => string | undefined) {
    this.#pace = new Pace(1, ({ message, state, nonce }) => {
      return message.paid !== undefined || state !== "shown" || nonce !== undefined || moderates(message.author?.role ?? Role.GUEST);
    });
    const chat = make("div", "chat");
    const counts = make("dl", "stage-counts");
    for (const [key, value] of [["stage.hearts", this.#hearts], ["stage.present", this.#present]] as const) {
      const pair = make("div");
      const name = make("dt");
      localised(() => setText(name, c(key)));
      pair.append(name, value);
      counts.append(pair);
    }
    this.#view = new ChatView({
      root: chat,
      picture: byId("frame", HTMLElement),
      room,
      token,
      choose: (lines) => this.#pace.choose(lines, Date.now()),
      pinByTap: true,
      onThere: () => {
        this.#root.hidden = false;
      },
      onCounts: (present, hearts) => {
        setText(this.#present, present === undefined ? "–" : number(present));
        setText(this.#hearts, number(hearts));
        this.#captioning.element.hidden = !this.#view.client.room.may.caption;
        this.#stage.hidden = !this.#view.client.room.may.moderateAll;
      },
    });
    this.#captioning = new Captioning((language, text) => this.#view.client.caption(language, text));
    this.#captioning.element.hidden = true;
    this.#paceSelect.dataset["testid"] = "stage-pace";
    this.#paceSelect.addEventListener("change", () => {
      this.#pace.perSecond = Number(this.#paceSelect.value);
      this.#view.redraw();
    });
    this.#wireStage();
    const head = make("div", "stage-head");
    head.append(counts, this.#paceSelect);
    this.#root.replaceChildren(head, chat, this.#captioning.element, this.#stage);
    localised(() => this.#render());
    setInterval(() => {
      if (this.#pace.waiting) this.#view.redraw();
    }, TURN_MS);
  }

  start(): void {
    this.#view.client.start();
  }

  /** The show is over. */
  stop(): void {
    this.#captioning.stop();
    this.#view.client.stop();
    this.#root.hidden = true;
  }

  attach(channels: ChatChannels): void {
    this.#view.attach(channels);
  }

  #render(): void {
    this.#root.setAttribute("aria-label", c("stage.chat"));
    label(this.#paceSelect, c("stage.pace"));
    setOptions(this.#paceSelect, PACES.map((pace) => ({
      value: pace, label: pace === "Infinity" ? c("stage.pace.all") : c("stage.pace.value", { count: number(Number(pace), pace === "0.5" ? 1 : 0) }),
    })), "1");
    this.#captioning.render();
    this.#stage.querySelector("summary")?.replaceChildren(c("stage.forms"));
  }

  /** News and polls; their forms come when they are first opened. */
  #wireStage(): void {
    this.#stage.hidden = true;
    this.#stage.append(make("summary"));
    this.#stage.addEventListener("toggle", () => {
      if (!this.#stage.open || this.#stage.childElementCount > 1) return;
      void import("../chatview/moderation.ts").then(({ stageForms }) => {
        this.#stage.append(...stageForms((action) => this.#view.moderate(action)));
      });
    });
  }
}
