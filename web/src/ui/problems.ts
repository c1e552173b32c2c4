/** What a refusal means to people. */

import type { ProblemError } from "../client/problem.ts";
import { en, type Key } from "../i18n/dictionary.ts";

/** Codes that share a text. */
const SHARED: Readonly<Record<string, Key>> = {
  token_malformed: "problem.token_bad",
  token_unknown_key: "problem.token_bad",
  token_bad_signature: "problem.token_bad",
  malformed_offer: "problem.unacceptable_offer",
  media_gone: "problem.draining",
  media_lost: "problem.internal",
  // The page's own faults: one that fits the server makes none of them.
  malformed_fragment: "problem.page_outdated",
  malformed_request: "problem.page_outdated",
  method_not_allowed: "problem.page_outdated",
  restart_in_progress: "problem.page_outdated",
  stale_etag: "problem.page_outdated",
  etag_required: "problem.page_outdated",
  body_too_large: "problem.page_outdated",
  unsupported_media_type: "problem.page_outdated",
  unacceptable_ice: "problem.page_outdated",
  unacceptable_body: "problem.page_outdated",
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
