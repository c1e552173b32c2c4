/** `Link` headers (RFC 8288): ICE servers and the extensions of a session. */

/** One link of a header. Parameter names are in lower case; of repeated ones the first counts. */
export interface Link {
  readonly target: string;
  readonly rel: readonly string[];
  readonly params: ReadonlyMap<string, string>;
}

/** Where a publisher's session sends its events. */
export const REL_PUBLISHER_EVENTS = "urn:ietf:params:whip:ext:core:server-sent-events";
/** Where a viewer's session sends its events. */
export const REL_EVENTS = "urn:ietf:params:whep:ext:core:server-sent-events";
/** Where a viewer chooses its layer. */
export const REL_LAYER = "urn:ietf:params:whep:ext:core:layer";

/**
 * Reads a header value. `fetch` joins repeated headers with commas, and commas and semicolons may
 * also stand inside targets and quoted strings, so this walks instead of splitting. What cannot be
 * read ends the list: the links before it are kept.
 */
export function parseLinks(header: string | null): Link[] {
  const links: Link[] = [];
  const text = header ?? "";
  let at = 0;
  const skip = (set: string) => {
    while (at < text.length && set.includes(text.charAt(at))) at += 1;
  };
  for (;;) {
    skip(" \t,");
    if (text.charAt(at) !== "<") return links;
    const end = text.indexOf(">", at);
    if (end < 0) return links;
    const target = text.slice(at + 1, end);
    at = end + 1;
    const params = new Map<string, string>();
    for (;;) {
      skip(" \t");
      if (text.charAt(at) !== ";") break;
      at += 1;
      skip(" \t");
      const [name, value, next] = parameter(text, at);
      at = next;
      if (name && !params.has(name)) params.set(name, value);
    }
    const rel = (params.get("rel") ?? "").split(/\s+/).filter(Boolean);
    links.push({ target, rel, params });
  }
}

/** Name and value of the parameter at `start`, and the position behind it. */
function parameter(text: string, start: number): [string, string, number] {
  let at = start;
  while (at < text.length && !"=;, \t".includes(text.charAt(at))) at += 1;
  const name = text.slice(start, at).toLowerCase();
  while (" \t".includes(text.charAt(at)) && at < text.length) at += 1;
  if (text.charAt(at) !== "=") return [name, "", at];
  at += 1;
  while (" \t".includes(text.charAt(at)) && at < text.length) at += 1;
  if (text.charAt(at) !== '"') {
    const from = at;
    while (at < text.length && !";, \t".includes(text.charAt(at))) at += 1;
    return [name, text.slice(from, at), at];
  }
  at += 1;
  let value = "";
  while (at < text.length && text.charAt(at) !== '"') {
    if (text.charAt(at) === "\\") at += 1;
    value += text.charAt(at);
    at += 1;
  }
  return [name, value, at + 1];
}

/** The `rel="ice-server"` links as an `RTCConfiguration` takes them (RFC 9725 section 4.6). */
export function iceServers(links: readonly Link[]): RTCIceServer[] {
  return links
    .filter((link) => link.rel.includes("ice-server"))
    .map(({ target, params }) => {
      const server: RTCIceServer = { urls: target };
      const username = params.get("username");
      const credential = params.get("credential");
      if (username !== undefined) server.username = username;
      if (credential !== undefined) server.credential = credential;
      return server;
    });
}

/** The target of the first link with this relation, resolved against `base`. */
export function linkTarget(links: readonly Link[], rel: string, base: string): string | undefined {
  const link = links.find((candidate) => candidate.rel.includes(rel));
  if (!link) return undefined;
  try {
    return new URL(link.target, base).href;
  } catch {
    return undefined;
  }
}
