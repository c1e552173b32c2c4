/** The chat beside the picture, or over it. */

import { ChatView } from "../chatview/view.ts";
import { ICONS, icon, label } from "../chatview/parts.ts";
import type { ChatChannels } from "../client/channels.ts";
import { c } from "../i18n/chat.ts";
import { localised } from "../i18n/index.ts";
import { byId, byTestId, make } from "../ui/dom.ts";

const STORED = "lightstick.chat";

/** See the module. It is hidden until the server has let this viewer in. */
export class WatchChat {
  readonly #view: ChatView;
  readonly #root = byId("chat", HTMLElement);
  readonly #player = byId("player", HTMLElement);
  readonly #toggle = byTestId("chat-toggle", HTMLButtonElement);
  #wanted = remembered() !== "hidden";
  #there = false;
  /** There is none. Until that is known its place is kept, so that nothing jumps when it comes. */
  #absent = false;

  constructor(room: string, token: () => string | undefined) {
    this.#view = new ChatView({
      root: this.#root,
      picture: byId("screen", HTMLElement),
      room,
      token,
      onThere: () => {
        this.#there = true;
        this.#absent = false;
        this.#render();
      },
      onAbsent: () => {
        this.#absent = true;
        this.#render();
      },
      onHide: () => {
        this.toggle();
        this.#toggle.focus();
      },
    });
    const captions = make("label", "captions-menu");
    captions.append(icon(ICONS.captions), this.#view.captions.select);
    this.#toggle.before(captions);
    this.#toggle.addEventListener("click", () => this.toggle());
    localised(() => this.#render());
    this.#followKeyboard();
    this.start();
  }

  start(): void {
    this.#view.client.start();
  }

  stop(): void {
    this.#view.client.stop();
  }

  attach(channels: ChatChannels): void {
    this.#view.attach(channels);
  }

  withoutSession(): void {
    this.#view.client.withoutSession();
  }

  /** Shows or hides it. Hearts and captions stay. */
  toggle(): void {
    this.#wanted = !this.#wanted;
    remember(this.#wanted ? "shown" : "hidden");
    this.#render();
  }

  #render(): void {
    const placed = this.#wanted && !this.#absent;
    const shown = this.#there && placed;
    this.#root.hidden = !shown;
    this.#player.dataset["chat"] = placed ? "shown" : "hidden";
    this.#toggle.hidden = this.#absent;
    this.#toggle.disabled = !this.#there;
    this.#toggle.setAttribute("aria-pressed", String(shown));
    label(this.#toggle, c(shown ? "chat.hide" : "chat.show"));
    if (shown) this.#view.redraw();
  }

  /** Phones lay their keyboard over the page; what is written must stay above it. */
  #followKeyboard(): void {
    const viewport = window.visualViewport;
    if (!viewport) return;
    const follow = () => {
      const covered = Math.max(0, window.innerHeight - viewport.height - viewport.offsetTop);
      this.#root.style.setProperty("--keyboard", `${Math.round(covered)}px`);
    };
    viewport.addEventListener("resize", follow);
    viewport.addEventListener("scroll", follow);
  }
}

// Storage can be forbidden; the choice then lasts as long as the page.
function remembered(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function remember(value: string): void {
  try {
    localStorage.setItem(STORED, value);
  } catch {
    // See above.
  }
}
