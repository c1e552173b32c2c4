/** A session resource, made by POST, the same for WHIP and WHEP: the HTTP side only. */

import { iceServers, parseLinks, type Link } from "./link.ts";
import { ProblemError, readProblem } from "./problem.ts";
import { SDPFRAG } from "./sdpfrag.ts";

/** What of `fetch` is used, so that tests can stand in for the network. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Where to POST, and with which token. */
export interface Endpoint {
  readonly url: string;
  readonly token: string | undefined;
}

/** A session that the server has accepted. */
export class SessionResource {
  #etag: string | undefined;

  private constructor(
    private readonly fetch: Fetch,
    private readonly endpoint: Endpoint,
    /** The session's address: whoever knows it may end the session. */
    readonly url: string,
    readonly answer: string,
    readonly links: readonly Link[],
    etag: string | undefined,
  ) {
    this.#etag = etag;
  }

  /** POSTs the offer. Throws [`ProblemError`]; an abort passes through. */
  static async create(fetch: Fetch, endpoint: Endpoint, offer: string, signal: AbortSignal): Promise<SessionResource> {
    const response = await request(fetch, endpoint.url, {
      method: "POST",
      headers: { ...authorization(endpoint), "content-type": "application/sdp", accept: "application/sdp" },
      body: offer,
      signal,
    });
    const location = response.headers.get("location");
    if (response.status !== 201 || !location) {
      throw new ProblemError(response.status, "bad_answer", "the server made no session");
    }
    const url = new URL(location, response.url || endpoint.url).href;
    const links = parseLinks(response.headers.get("link"));
    return new SessionResource(fetch, endpoint, url, await response.text(), links, etagOf(response));
  }

  /** TURN and STUN servers that came with the answer. */
  get iceServers(): RTCIceServer[] {
    return iceServers(this.links);
  }

  /** Sends candidates of the present ICE session. */
  async trickle(fragment: string): Promise<void> {
    await this.#patch(fragment, this.#etag ?? "*");
  }

  /** Restarts ICE: returns the server's fragment. The entity tag changes with it (RFC 9725 section 4.3.2). */
  async restart(fragment: string, signal: AbortSignal): Promise<string> {
    const response = await this.#patch(fragment, "*", signal);
    if (response.status !== 200) {
      throw new ProblemError(response.status, "bad_answer", "the server did not restart ICE");
    }
    this.#etag = etagOf(response) ?? this.#etag;
    return response.text();
  }

  /** Asks whether the session still stands: the status of the answer, 0 when there is none. Never throws. */
  async probe(): Promise<number> {
    try {
      return (await this.fetch(this.url, { method: "HEAD", headers: authorization(this.endpoint) })).status;
    } catch {
      return 0;
    }
  }

  /** Ends the session. `keepalive` lets the request outlive the page. Never throws: the peer is gone anyway. */
  async delete(keepalive: boolean): Promise<void> {
    try {
      await this.fetch(this.url, { method: "DELETE", headers: authorization(this.endpoint), keepalive });
    } catch {
      // The server notices by consent checks that stay out.
    }
  }

  /** Chooses a layer by POST to the session's layer resource. */
  async post(url: string, body: unknown): Promise<void> {
    await request(this.fetch, url, {
      method: "POST",
      headers: { ...authorization(this.endpoint), "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }

  async #patch(fragment: string, ifMatch: string, signal?: AbortSignal): Promise<Response> {
    return request(this.fetch, this.url, {
      method: "PATCH",
      ...(signal && { signal }),
      headers: { ...authorization(this.endpoint), "content-type": SDPFRAG, "if-match": ifMatch },
      body: fragment,
    });
  }
}

/** Weak tags cannot guard a PATCH: `If-Match` compares strongly (RFC 9110 section 13.1.1). */
function etagOf(response: Response): string | undefined {
  const etag = response.headers.get("etag");
  return etag && !etag.startsWith("W/") ? etag : undefined;
}

function authorization(endpoint: Endpoint): Record<string, string> {
  return endpoint.token ? { authorization: `Bearer ${endpoint.token}` } : {};
}

async function request(fetch: Fetch, url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ProblemError(0, "network", error instanceof Error ? error.message : "no answer");
  }
  if (!response.ok) throw await readProblem(response, Date.now());
  return response;
}
