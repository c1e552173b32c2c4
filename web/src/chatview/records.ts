/** What the server keeps and tells moderators over HTTP, read with care. */

/** One page of a record, newest first. */
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
  async read(path: string): Promise<RecordPage | number> {
    const token = this.token();
    try {
      const at = new URL(`/api/v1/rooms/${encodeURIComponent(this.room)}/${path}`, location.href);
      if (!at.searchParams.has("limit")) at.searchParams.set("limit", String(PAGE));
      const response = await fetch(at, { headers: { accept: "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) } });
      if (!response.ok) return response.status;
      return pageOf(await response.json(), path);
    } catch {
      return 0;
    }
  }
}

/** Reads a page: an object with one list in it. Exported for tests. */
export function pageOf(body: unknown, path: string): RecordPage {
  const list = typeof body === "object" && body !== null ? Object.values(body).find(Array.isArray) : undefined;
  const rows = (Array.isArray(body) ? body : (list ?? []))
    .flatMap((row: unknown) => (typeof row === "object" && row !== null ? [new Row(row as Record<string, unknown>)] : []));
  const last = rows.at(-1);
  const before = last?.text("id") || last?.text("sequence");
  if (rows.length < PAGE || !before) return { rows, next: undefined };
  const [base = "", query = ""] = path.split("?");
  const parameters = new URLSearchParams(query);
  parameters.set("before", before);
  return { rows, next: `${base}?${parameters}` };
}
