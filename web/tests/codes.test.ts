/** Every code that the server can answer with has a text, whatever the code and the documents say today. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import * as chat from "../src/i18n/chat-dictionary.ts";
import { en } from "../src/i18n/dictionary.ts";
import { problemKey } from "../src/ui/problems.ts";

const read = (file: string) => readFile(path.join(process.cwd(), "..", file), "utf8");
const found = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, code]) => code ?? "");

/** The codes of the API's problems and their texts' names. */
async function problems(): Promise<string[]> {
  const codes = found(await read("signaling/http/src/problem.rs"), /^ {4}\w+ = "(\w+)", [A-Z_]+, "/gm);
  assert.ok(codes.length > 35, String(codes.length));
  return codes;
}

test("every problem of the API has a text", async () => {
  for (const code of (await problems()).filter((code) => !code.startsWith("chat_"))) {
    // Status 0: by the code alone, without what a status would tell.
    const key = problemKey({ status: 0, code });
    assert.notEqual(key, "problem.other", code);
    assert.ok(key in en, key);
  }
});

test("every refusal of the chat has a text, over its own channels and over HTTP", async () => {
  const own = found(await read("chat/wire/src/refusal.rs"), /^ {4}\w+ = "(\w+)", \d+, "/gm);
  assert.ok(own.length > 20, String(own.length));
  const http = (await problems()).filter((code) => code.startsWith("chat_")).map((code) => code.slice("chat_".length));
  for (const code of new Set([...own, ...http])) assert.ok(`chat.refusal.${code}` in chat.en, code);
});

test("every notice and every reason of a close has a text", async () => {
  const schema = await read("chat/proto/lightstick/chat/v1/chat.proto");
  const [, notices = ""] = /message Notice \{((?:\s*\/\/.*)+)/.exec(schema) ?? [];
  const codes = found(notices, /"(\w+)"[,.:]/g).filter((code) => code !== "replaced" && code !== "closed");
  assert.ok(codes.length >= 7, codes.join());
  for (const code of codes) assert.ok(`chat.notice.${code}` in chat.en, code);

  const sources = await Promise.all(["chat/net/src/bridge.rs", "chat/net/src/socket.rs", "chat/http/src/socket.rs"].map(read));
  const reasons = sources.flatMap((source) => found(source, /(?:=> |Err\(|close::\w+, )"(\w+)"/g)).filter((reason) => !reason.startsWith("token_"));
  for (const known of ["closing", "overloaded", "rooms_full", "address_rooms_full", "silent", "unread", "full", "address_full"]) {
    assert.ok(reasons.includes(known), `${known} is not found in the sources any more`);
  }
  // Nobody reads "gone", for its client is; "chat_off" is a refusal.
  const unknown = [...new Set(reasons)].filter((reason) => reason !== "gone" && !(`chat.closed.${reason}` in chat.en) && !(`chat.refusal.${reason.slice("chat_".length)}` in chat.en));
  assert.deepEqual(unknown, []);
});
