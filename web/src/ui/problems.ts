/** What a refusal means to people. */

import type { ProblemError } from "../client/problem.ts";
import { en, type Key } from "../i18n/dictionary.ts";

/** Codes that share a text. */
const SHARED: Readonly<Record<string, Key>> = {
  token_malformed: "problem.token_bad",
  token_unknown_key: "problem.token_bad",
  token_bad_signature: "problem.token_bad",
  malformed_offer: "problem.unacceptable_offer",
};

/** What the status alone says, where a proxy in between or a newer server uses no code that we know. */
const BY_STATUS: Readonly<Record<number, Key>> = {
  401: "problem.token_bad",
  403: "problem.token_no_grant",
  404: "problem.room_not_found",
  409: "problem.room_busy",
  422: "problem.unacceptable_offer",
  429: "problem.rate_limited",
  502: "problem.overloaded",
  503: "problem.overloaded",
  504: "problem.overloaded",
};

/** The text for a problem. */
export function problemKey(problem: Pick<ProblemError, "code" | "status">): Key {
  const own = `problem.${problem.code}`;
  if (own in en) return own as Key;
  return SHARED[problem.code] ?? BY_STATUS[problem.status] ?? "problem.other";
}

/** Whether another token may help. */
export function wantsToken(problem: Pick<ProblemError, "status">): boolean {
  return problem.status === 401 || problem.status === 403;
}
