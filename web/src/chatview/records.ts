/** What the server keeps and tells moderators over HTTP, read with care. */

/** The parameter that takes the cursor of the next page: records go back in time, lists go on. */
export type Cursor = "before" | "after";

/** One page of a record. */
export interface RecordPage {
  readonly rows: readonly Row[];
  /** The path of the next page, if there may be one. */
  readonly next: string | undefined;
}

/** Rows of a page. */
const PAGE = 50;

/** An object of the server's JSON; what is missing or of another kind reads as nothing. */
export class Row {
  constructor(private readonly body: Readonly<Record<string, unknown>>) {}

  text(name: string): string {
    const value = this.body[name];
    return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
  }

  /** Unix milliseconds, under the first of these names that is there; 0 when none is. */
  time(...names: string[]): number {
    for (const name of names) {
      const value = Number(this.body[name] ?? Number.NaN);
      if (Number.isFinite(value)) return value;
    }
    return 0;
  }

  /** A number of 64 bits, which JSON writes as a string. */
  id(name: string): bigint {
    const value = this.body[name];
    return typeof value === "string" && /^\d{1,20}$/.test(value) ? BigInt(value) : 0n;
  }

  child(name: string): Row {
    const value = this.body[name];
    return new Row(typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {});
  }
}

/** Reads `/api/v1/rooms/{room}/...`. */
export class Records {
  constructor(private readonly room: string, private readonly token: () => string | undefined) {}

  /** One page, or the status of the refusal (0: no answer). */
  async read(path: string, cursor: Cursor): Promise<RecordPage | number> {
    const token = this.token();
    try {
      const at = new URL(`/api/v1/rooms/${encodeURIComponent(this.room)}/${path}`, location.href);
      if (!at.searchParams.has("limit")) at.searchParams.set("limit", String(PAGE));
      const response = await fetch(at, { headers: { accept: "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) } });
      if (!response.ok) return response.status;
      return pageOf(await response.json(), path, cursor);
    } catch {
      return 0;
    }
  }
}

/** Reads a page: an object with one list in it, and perhaps a cursor for the next. Exported for tests. */
export function pageOf(body: unknown, path: string, cursor: Cursor): RecordPage {
  const fields = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const list: unknown[] = Object.values(fields).find(Array.isArray) ?? [];
  const rows = list.flatMap((row) => (typeof row === "object" && row !== null ? [new Row(row as Record<string, unknown>)] : []));
  const next = fields["next"];
  if (typeof next !== "string" || next === "") return { rows, next: undefined };
  const [base = "", query = ""] = path.split("?");
  const parameters = new URLSearchParams(query);
  parameters.set(cursor, next);
  return { rows, next: `${base}?${parameters}` };
}
