/** Refusals of the server: RFC 9457 problem details, or what HTTP alone says. */

/** A request that was refused, or that never got an answer (`status` 0). */
export class ProblemError extends Error {
  override readonly name = "ProblemError";

  constructor(
    /** HTTP status; 0 when there was no answer. */
    readonly status: number,
    /** The server's stable code; `network` when there was no answer, `http_NNN` when it named none. */
    readonly code: string,
    detail: string,
    /** What the server said in `Retry-After`. */
    readonly retryAfterMs?: number,
  ) {
    super(detail || code);
  }
}

/** Reads a response that is no success. `now` is Unix time in milliseconds, for dates in `Retry-After`. */
export async function readProblem(response: Response, now: number): Promise<ProblemError> {
  let code = `http_${response.status}`;
  let detail = response.statusText;
  if (/^application\/(problem\+)?json\b/i.test(response.headers.get("content-type") ?? "")) {
    try {
      const body: unknown = await response.json();
      if (typeof body === "object" && body !== null) {
        if ("code" in body && typeof body.code === "string") code = body.code;
        if ("detail" in body && typeof body.detail === "string") detail = body.detail;
        else if ("title" in body && typeof body.title === "string") detail = body.title;
      }
    } catch {
      // A broken body takes nothing from what the status says.
    }
  }
  return new ProblemError(response.status, code, detail, retryAfterMs(response.headers.get("retry-after"), now));
}

/** A `Retry-After` in milliseconds from now: seconds or a date (RFC 9110 section 10.2.3). */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  const text = header?.trim();
  if (!text) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Whether the same request may do better later, without the user changing anything. */
export function isTransient(problem: ProblemError): boolean {
  // A session that is gone is no reason to stay away: a new POST makes a new one.
  if (problem.code === "session_not_found" || problem.code === "not_live") return true;
  return problem.status === 0 || problem.status === 408 || problem.status === 429 || problem.status >= 500;
}
