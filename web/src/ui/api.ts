/** The server's JSON, read with care: pages must work with what an older or a closed server leaves out. */

/** Settings that the server has for pages. */
export interface ClientConfig {
  readonly watchOpen: boolean;
  readonly maxPublishBitrateKbps: number | undefined;
  /** How long a room waits for its artist. */
  readonly graceMs: number | undefined;
  /** Whether the API answers pages on the same machine without a token. */
  readonly developmentMode: boolean;
}

/** A room in the list of rooms. */
export interface RoomSummary {
  readonly name: string;
  readonly live: boolean;
  readonly viewers: number;
}

/** `GET /api/v1/client-config`; `undefined` when it cannot be had. */
export async function clientConfig(): Promise<ClientConfig | undefined> {
  const body = asRecord(await getJson("/api/v1/client-config"));
  if (!body) return undefined;
  const kbps = body["maxPublishBitrateKbps"];
  const grace = body["graceSeconds"];
  return {
    watchOpen: body["watchOpen"] === true,
    maxPublishBitrateKbps: typeof kbps === "number" && kbps > 0 ? kbps : undefined,
    graceMs: typeof grace === "number" && grace >= 0 ? grace * 1_000 : undefined,
    developmentMode: body["developmentMode"] === true,
  };
}

/** `GET /api/v1/rooms`; `undefined` when the API is closed to this page. */
export async function rooms(): Promise<RoomSummary[] | undefined> {
  const body = await getJson("/api/v1/rooms");
  const list = asRecord(body)?.["rooms"];
  return Array.isArray(list) ? list.flatMap((item) => readRoom(item) ?? []) : undefined;
}

/** Reads one room. Exported for tests. */
export function readRoom(item: unknown): RoomSummary | undefined {
  const body = asRecord(item);
  const name = body?.["name"];
  if (!body || typeof name !== "string") return undefined;
  const viewers = body["viewers"];
  return {
    name,
    live: body["state"] === "live",
    viewers: typeof viewers === "number" ? viewers : 0,
  };
}

async function getJson(url: string): Promise<unknown> {
  try {
    const response = await fetch(url, { headers: { accept: "application/json" } });
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}
