/** Which room a page is about, and with which token. */

/** The server's rule for room names. */
export const ROOM_NAME = /^(?!\.)[A-Za-z0-9._-]{1,64}$/;

/** The room of `/studio/{room}` or `/watch/{room}`; `undefined` when it is no room name. */
export function roomOfPath(path: string): string | undefined {
  const [, , segment] = path.split("/");
  try {
    const name = decodeURIComponent(segment ?? "");
    return ROOM_NAME.test(name) ? name : undefined;
  } catch {
    return undefined;
  }
}

/** The token of a fragment like `#token=...`. */
export function tokenOfFragment(fragment: string): string | undefined {
  return new URLSearchParams(fragment.replace(/^#/, "")).get("token")?.trim() || undefined;
}

/**
 * Takes the token out of the address and keeps it for this tab and this use (`studio` or `watch`) of the room:
 * an address bar in a shared screen would give it away.
 */
export function takeToken(use: string, room: string): string | undefined {
  const key = `lightstick.token.${use}.${room}`;
  const token = tokenOfFragment(location.hash);
  if (token) {
    history.replaceState(null, "", location.pathname + location.search);
    keepToken(use, room, token);
    return token;
  }
  try {
    return sessionStorage.getItem(key) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a token for this tab. */
export function keepToken(use: string, room: string, token: string): void {
  try {
    sessionStorage.setItem(`lightstick.token.${use}.${room}`, token);
  } catch {
    // It then lasts as long as the page.
  }
}
