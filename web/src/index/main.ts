/** The way in: start a room, watch a room, see who is on stage. */

import { localised, startLanguage, t } from "../i18n/index.ts";
import { clientConfig, rooms, type RoomSummary } from "../ui/api.ts";
import { drawCrowd } from "../ui/crowd.ts";
import { byId, byTestId, make, setText } from "../ui/dom.ts";
import { ROOM_NAME } from "../ui/room.ts";

/** How often the list of rooms is read again. */
const REFRESH_MS = 5_000;

let shown: RoomSummary[] = [];
let timer: ReturnType<typeof setInterval> | undefined;

function wireDoor(form: HTMLFormElement, room: HTMLInputElement, error: HTMLElement, target: string): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = room.value.trim();
    const valid = ROOM_NAME.test(name);
    room.setAttribute("aria-invalid", String(!valid));
    error.hidden = valid;
    if (valid) {
      location.assign(`/${target}/${encodeURIComponent(name)}`);
    } else {
      setText(error, name === "" ? t("room.empty") : t("room.invalid", { room: name }));
      room.focus();
    }
  });
}

function renderRooms(): void {
  const list = byTestId("rooms", HTMLUListElement);
  byId("live-none", HTMLElement).hidden = shown.length > 0;
  setText(byId("live-news", HTMLElement), t("home.live.updated", { count: shown.length }));
  const focused = document.activeElement instanceof HTMLAnchorElement ? document.activeElement.pathname : "";
  list.replaceChildren(
    ...shown.map(({ name, viewers }) => {
      const item = make("li");
      const link = make("a", "card room-link");
      link.href = `/watch/${encodeURIComponent(name)}`;
      link.append(make("b", "", name), make("span", "", t("home.live.viewers", { count: viewers })));
      item.append(link);
      return item;
    }),
  );
  // A keyboard user who stands on a room stays there when the list is drawn again.
  if (focused) [...list.querySelectorAll("a")].find((link) => link.pathname === focused)?.focus();
}

function stopRefreshing(): void {
  clearInterval(timer);
  document.removeEventListener("visibilitychange", refresh);
  byId("live", HTMLElement).hidden = true;
}

async function refresh(): Promise<void> {
  if (document.visibilityState !== "visible") return;
  const all = await rooms();
  if (!all) {
    // Closed to this page, or gone: asking on would only fill the console.
    stopRefreshing();
    return;
  }
  const live = all.filter((room) => room.live);
  const first = byId("live", HTMLElement).hidden;
  byId("live", HTMLElement).hidden = false;
  if (!first && JSON.stringify(live) === JSON.stringify(shown)) return;
  shown = live;
  renderRooms();
}

startLanguage();
drawCrowd(byId("crowd", HTMLElement), 46);
wireDoor(byTestId("start-form", HTMLFormElement), byTestId("start-room", HTMLInputElement), byId("start-error", HTMLElement), "studio");
wireDoor(byTestId("watch-form", HTMLFormElement), byTestId("watch-room", HTMLInputElement), byId("watch-error", HTMLElement), "watch");
localised(() => {
  document.title = t("home.title");
  renderRooms();
});
// The list is an administrator's, but for pages on a developer's own machine.
void clientConfig().then((config) => {
  if (!config?.developmentMode) return;
  timer = setInterval(() => void refresh(), REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
  void refresh();
});
