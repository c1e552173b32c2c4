import assert from "node:assert/strict";
import { test } from "node:test";
import { ProblemError, isTransient, readProblem, retryAfterMs } from "../src/client/problem.ts";
import { en } from "../src/i18n/dictionary.ts";
import { problemKey, wantsToken } from "../src/ui/problems.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const refusal = (status: number, body: string, headers: Record<string, string>) =>
  readProblem(new Response(body, { status, headers }), NOW);

test("problem details give code, text and time", async () => {
  const problem = await refusal(409, '{"code":"room_busy","title":"t","detail":"somebody else publishes","status":409}', {
    "content-type": "application/problem+json",
    "retry-after": "5",
  });
  assert.ok(problem instanceof ProblemError);
  assert.deepEqual(
    [problem.status, problem.code, problem.message, problem.retryAfterMs],
    [409, "room_busy", "somebody else publishes", 5_000],
  );
});

for (const [what, body, type, code, message] of [
  ["the title stands in for a detail", '{"title":"Busy"}', "application/problem+json; charset=utf-8", "http_503", "Busy"],
  ["a proxy's page is not read", "<h1>code: x</h1>", "text/html", "http_503", "http_503"],
  ["broken JSON takes nothing away", "{", "application/problem+json", "http_503", "http_503"],
  ["JSON of another shape", '["room_busy"]', "application/json", "http_503", "http_503"],
  ["a code that is no string", '{"code":7,"detail":null}', "application/json", "http_503", "http_503"],
  ["null", "null", "application/json", "http_503", "http_503"],
] as const) {
  test(`a refusal: ${what}`, async () => {
    const problem = await refusal(503, body, { "content-type": type });
    assert.deepEqual([problem.status, problem.code, problem.message], [503, code, message]);
    assert.equal(problem.retryAfterMs, undefined);
  });
}

test("Retry-After in seconds and as a date", () => {
  assert.equal(retryAfterMs("120", NOW), 120_000);
  assert.equal(retryAfterMs("Thu, 01 Jan 2026 00:00:07 GMT", NOW), 7_000);
  assert.equal(retryAfterMs("Wed, 31 Dec 2025 23:00:00 GMT", NOW), 0);
  for (const nothing of [null, "", "soon", "-5"]) {
    const ms = retryAfterMs(nothing, NOW);
    assert.ok(ms === undefined || ms >= 0, `${nothing}: ${ms}`);
  }
  assert.equal(retryAfterMs("soon", NOW), undefined);
});

test("which refusals pass by themselves", () => {
  const transient = (status: number, code: string) => isTransient(new ProblemError(status, code, ""));
  for (const [status, code] of [[0, "network"], [408, "slow_body"], [429, "rate_limited"], [500, "internal"],
    [503, "draining"], [503, "room_full"], [404, "session_not_found"], [409, "not_live"]] as const) {
    assert.ok(transient(status, code), code);
  }
  for (const [status, code] of [[400, "room_name"], [401, "token_missing"], [403, "token_no_grant"],
    [404, "not_found"], [409, "room_busy"], [422, "unacceptable_offer"]] as const) {
    assert.ok(!transient(status, code), code);
  }
});

// The codes that a join can be refused with, as the server's contract names them.
const JOIN_CODES: readonly (readonly [number, string])[] = [
  [400, "room_name"], [400, "malformed_offer"],
  [401, "token_missing"], [401, "token_malformed"], [401, "token_unknown_key"], [401, "token_bad_signature"],
  [401, "token_expired"], [401, "token_not_yet_valid"], [403, "token_wrong_room"], [403, "token_no_grant"],
  [409, "room_busy"], [409, "not_live"], [422, "unacceptable_offer"], [429, "address_full"],
  [429, "rate_limited"], [503, "room_full"], [503, "rooms_full"], [503, "overloaded"], [503, "draining"],
];

test("every refusal of a join has a text of its own", () => {
  for (const [status, code] of JOIN_CODES) {
    const key = problemKey({ status, code });
    assert.ok(key in en, key);
    assert.notEqual(key, "problem.other", code);
  }
  assert.equal(problemKey({ status: 0, code: "network" }), "problem.network");
  assert.equal(problemKey({ status: 502, code: "http_502" }), "problem.overloaded");
  assert.equal(problemKey({ status: 401, code: "a_code_of_tomorrow" }), "problem.token_bad");
  assert.equal(problemKey({ status: 418, code: "http_418" }), "problem.other");
});

test("another token helps where the token was refused", () => {
  for (const [status, code] of JOIN_CODES) {
    assert.equal(wantsToken({ status }), code.startsWith("token_"), code);
  }
});
