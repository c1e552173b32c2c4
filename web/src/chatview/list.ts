/** The list of messages: at most as many elements as the timeline keeps, and the newest in sight unless the reader looks back. */

import type { Line } from "../chat/timeline.ts";
import { c } from "../i18n/chat.ts";
import { make, setText } from "../ui/dom.ts";
import { drawLine, type LineContext } from "./line.ts";
import { ICONS, icon, label } from "./parts.ts";

/** What can be done with a message. */
export interface Action {
  readonly name: string;
  readonly label: string;
  readonly danger?: boolean;
  readonly act: () => void;
  /** Asked for a second tap, with this text. */
  readonly sure?: string;
}

/** What a list draws from. */
export interface ListSource {
  lines(): readonly Line[];
  context(): LineContext;
  actions(line: Line): readonly Action[];
  /** Something changed that is not in the timeline. */
  onLook(): void;
}

/** So far from the end, in pixels, the reader looks back; so near, the list follows again. */
const BACK_PX = 48;
const END_PX = 6;

/** See the module. The scroller is laid out from its end, so that it follows without being measured. */
export class MessageList {
  readonly element = make("div", "chat-messages");
  readonly #scroller = make("div", "chat-scroll");
  readonly #list = make("ol", "chat-lines");
  readonly #empty = make("p", "chat-empty");
  readonly #new = make("button", "chat-new");
  readonly #drawn = new Map<Line, { readonly li: HTMLLIElement; version: number }>();
  readonly #lineOf = new WeakMap<Element, Line>();
  readonly #actions = make("div", "line-actions");
  #acting: Line | undefined;
  /** What the reader looks back at: it must not move under their eyes. */
  #frozen: readonly Line[] | undefined;

  constructor(private readonly source: ListSource) {
    this.#scroller.tabIndex = 0;
    this.#scroller.setAttribute("role", "group");
    this.#scroller.dataset["testid"] = "chat-messages";
    this.#scroller.append(this.#list, this.#empty);
    this.#new.type = "button";
    this.#new.hidden = true;
    this.#new.dataset["testid"] = "chat-new";
    this.#new.append(icon(ICONS.down), make("span"));
    this.#new.addEventListener("click", () => this.follow());
    this.#actions.setAttribute("role", "group");
    this.element.append(this.#scroller, this.#new);
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#list.addEventListener("click", (event) => this.#clicked(event));
    this.#scroller.addEventListener("keydown", (event) => this.#key(event));
    this.render();
  }

  /** After a change of language or emotes: everything is drawn again. */
  render(): void {
    label(this.#scroller, c("chat.list"));
    this.#scroller.removeAttribute("title");
    setText(this.#empty, c("chat.empty"));
    this.#closeActions();
    this.#drawn.clear();
    this.#list.replaceChildren();
  }

  /** Brings the elements in line with the timeline. */
  paint(): void {
    const lines = this.source.lines();
    const frozen = this.#frozen?.filter(({ gone }) => !gone);
    const wanted = frozen ?? lines;
    const keep = new Set(wanted);
    for (const [line, { li }] of this.#drawn) {
      if (keep.has(line)) continue;
      if (this.#acting === line) this.#closeActions();
      li.remove();
      this.#drawn.delete(line);
    }
    let at: Element | null = this.#list.firstElementChild;
    for (const line of wanted) {
      const li = this.#element(line);
      if (li === at) at = at.nextElementSibling;
      else this.#list.insertBefore(li, at);
    }
    this.#empty.hidden = wanted.length > 0;
    this.#showNew(frozen ? lines.reduce((count, line) => count + (keep.has(line) ? 0 : 1), 0) : 0);
  }

  /** Goes to the newest message, and stays with it. */
  follow(): void {
    this.#frozen = undefined;
    this.#scroller.scrollTop = 0;
    this.source.onLook();
  }

  #element(line: Line): HTMLLIElement {
    const drawn = this.#drawn.get(line);
    if (drawn && drawn.version === line.version) return drawn.li;
    const li = drawn?.li ?? make("li");
    drawLine(li, line, this.source.context());
    if (!drawn) {
      li.tabIndex = -1;
      this.#lineOf.set(li, line);
    }
    if (this.#acting === line) li.append(this.#actions);
    this.#drawn.set(line, { li, version: line.version });
    return li;
  }

  #showNew(count: number): void {
    this.#new.hidden = this.#frozen === undefined;
    const text = this.#new.querySelector("span");
    if (text) setText(text, count > 0 ? c("chat.new", { count }) : c("chat.latest"));
  }

  #scrolled(): void {
    // Laid out from the end: the newest is at 0, and looking back is below it.
    const back = -this.#scroller.scrollTop;
    if (!this.#frozen && back > BACK_PX) {
      this.#frozen = [...this.#drawn.keys()].filter(({ gone }) => !gone);
      const order = new Map(this.source.lines().map((line, at) => [line, at]));
      this.#frozen = [...this.#frozen].sort((a, b) => (order.get(a) ?? -1) - (order.get(b) ?? -1));
      this.source.onLook();
    } else if (this.#frozen && back < END_PX) {
      this.#frozen = undefined;
      this.source.onLook();
    }
  }

  #clicked(event: Event): void {
    const target = event.target instanceof Element ? event.target : undefined;
    if (!target || this.#actions.contains(target)) return;
    // Who marks text to copy it wants nothing else.
    if (document.getSelection()?.isCollapsed === false) return;
    const li = target.closest("li.line");
    const line = li ? this.#lineOf.get(li) : undefined;
    if (line) this.#openActions(line);
  }

  #key(event: KeyboardEvent): void {
    const { activeElement } = document;
    const li = activeElement?.closest("li.line") ?? null;
    if (event.key === "Escape" && this.#acting) {
      event.preventDefault();
      this.#drawn.get(this.#acting)?.li.focus();
      this.#closeActions();
      return;
    }
    if (this.#actions.contains(activeElement)) return;
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (step !== 0) {
      const next = li ? (step < 0 ? li.previousElementSibling : li.nextElementSibling) : this.#list.lastElementChild;
      if (next instanceof HTMLElement) {
        event.preventDefault();
        next.focus();
      }
    } else if (event.key === "End") {
      event.preventDefault();
      this.follow();
    } else if ((event.key === "Enter" || event.key === " ") && li && li === activeElement) {
      event.preventDefault();
      const line = this.#lineOf.get(li);
      if (line) this.#openActions(line, true);
    }
  }

  #openActions(line: Line, focus = false): void {
    const again = this.#acting === line;
    this.#closeActions();
    const li = this.#drawn.get(line)?.li;
    const actions = this.source.actions(line);
    if (!li || again || actions.length === 0) return;
    this.#acting = line;
    this.#actions.setAttribute("aria-label", c("chat.actions", { name: line.message.author?.name ?? "" }));
    this.#actions.replaceChildren(...actions.map((action) => this.#button(action)));
    li.classList.add("line-open");
    li.append(this.#actions);
    li.scrollIntoView({ block: "nearest" });
    if (focus) this.#actions.querySelector("button")?.focus();
  }

  #button({ name, label: text, danger, act, sure }: Action): HTMLButtonElement {
    const element = make("button", danger ? "line-action line-action-danger" : "line-action", text);
    element.type = "button";
    element.dataset["testid"] = `line-${name}`;
    let asked = sure === undefined;
    element.addEventListener("click", () => {
      if (!asked) {
        asked = true;
        setText(element, sure ?? text);
        return;
      }
      const li = this.#acting && this.#drawn.get(this.#acting)?.li;
      const focused = this.#actions.contains(document.activeElement);
      this.#closeActions();
      if (focused) li?.focus();
      act();
    });
    return element;
  }

  #closeActions(): void {
    if (this.#acting) this.#drawn.get(this.#acting)?.li.classList.remove("line-open");
    this.#acting = undefined;
    this.#actions.remove();
  }
}
