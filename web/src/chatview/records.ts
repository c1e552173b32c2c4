/** What the server keeps and tells moderators over HTTP, read with care. */

import { ProblemError, readProblem } from "../client/problem.ts";

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

  texts(name: string): readonly string[] {
    const value = this.body[name];
    return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
  }

  has(name: string): boolean {
    return (this.body[name] ?? null) !== null;
  }

  child(name: string): Row {
    const value = this.body[name];
    return new Row(typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {});
  }
}

/** Reads `/api/v1/rooms/{room}/...`. */
export class Records {
  constructor(private readonly room: string, private readonly token: () => string | undefined) {}

  /** One page, or why there is none. */
  async read(path: string, cursor: Cursor): Promise<RecordPage | ProblemError> {
    const at = this.#at(path);
    if (!at.searchParams.has("limit")) at.searchParams.set("limit", String(PAGE));
    const answer = await this.#get(at);
    return answer instanceof ProblemError ? answer : pageOf(answer.body, path, cursor);
  }

  /** The room's blocked terms, which only moderators are told, and they over HTTP; or why they cannot be told. */
  async blockedTerms(): Promise<readonly string[] | ProblemError> {
    const answer = await this.#get(this.#at("chat/settings"));
    if (answer instanceof ProblemError) return answer;
    const { body } = answer;
    return new Row(typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {}).texts("blockedTerms");
  }

  #at(path: string): URL {
    return new URL(`/api/v1/rooms/${encodeURIComponent(this.room)}/${path}`, location.href);
  }

  async #get(at: URL): Promise<{ readonly body: unknown } | ProblemError> {
    const token = this.token();
    try {
      const response = await fetch(at, { headers: { accept: "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) } });
      return response.ok ? { body: await response.json() } : await readProblem(response, Date.now());
    } catch {
      return new ProblemError(0, "network", "");
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
