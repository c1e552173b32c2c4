/** Small pieces of the chat's views. */

import { c, type ChatKey } from "../i18n/chat.ts";
import { make } from "../ui/dom.ts";

/** A button with a text. */
export function button(key: ChatKey, className: string, act: () => void, testId = ""): HTMLButtonElement {
  const element = make("button", className, c(key));
  element.type = "button";
  if (testId) element.dataset["testid"] = testId;
  element.addEventListener("click", act);
  return element;
}

/** A button with a picture and a name. */
export function iconButton(key: ChatKey, path: string, act: () => void, testId = ""): HTMLButtonElement {
  const element = make("button", "chat-icon");
  element.type = "button";
  if (testId) element.dataset["testid"] = testId;
  element.append(icon(path));
  label(element, c(key));
  element.addEventListener("click", act);
  return element;
}

/** Names a control for readers, and for those who point at it. */
export function label(element: HTMLElement, text: string): void {
  if (element.getAttribute("aria-label") === text) return;
  element.setAttribute("aria-label", text);
  element.title = text;
}

const SVG = "http://www.w3.org/2000/svg";

/** A picture of 24 by 24, drawn in lines; a path that ends in Z is filled. */
export function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  if (!path.endsWith("Z")) line.classList.add("stroke");
  svg.append(line);
  return svg;
}

/** Pictures by what they mean. */
export const ICONS = {
  close: "M6 6l12 12M18 6L6 18",
  chat: "M4 5h16v11H10l-4 4v-4H4V5",
  captions: "M3 6h18v12H3V6M10 10.500a2 2 0 100 3M17 10.500a2 2 0 100 3",
  send: "M3 20l18-8L3 4v6l11 2-11 2Z",
  smile: "M12 3a9 9 0 100 18 9 9 0 000-18M8.500 14a4 4 0 007 0M9 9.500h.01M15 9.500h.01",
  heart: "M12 20.500C5 15.500 3 12 3 8.800A4.800 4.800 0 0112 6.500a4.800 4.800 0 019 2.300c0 3.200-2 6.700-9 11.700Z",
  shield: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6l7-3M9 12l2 2 4-4",
  down: "M12 5v13M6 13l6 6 6-6",
} as const;

/** One of a few colours for a person, always the same; all of them readable on the night. */
export function hueOf(user: string): string {
  let hash = 0;
  for (let at = 0; at < user.length; at += 1) hash = (Math.imul(hash, 31) + user.charCodeAt(at)) | 0;
  return String(Math.abs(hash) % 8);
}
