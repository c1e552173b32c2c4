import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { decode, encode, type ServerPart } from "../src/chat/frames.ts";
import { ClientFrame, ServerFrame } from "../src/chat/generated/chat.ts";

const sha256 = (text: string | Buffer) => createHash("sha256").update(text).digest("hex");

test("what was generated is of today's .proto, and as it was generated (`npm run proto`)", async () => {
  const [proto = "", code = "", ...rest] = (await readFile("src/chat/generated/chat.ts", "utf8")).split("\n");
  assert.equal(proto, `// proto ${sha256(await readFile("../chat/proto/lightstick/chat/v1/chat.proto"))}`);
  assert.equal(code, `// code ${sha256(rest.join("\n"))}`);
});

test("numbers of 64 bits pass unharmed", () => {
  const nonce = 0xffff_ffff_ffff_fffen;
  const { frame } = ClientFrame.decode(encode({ $case: "send", value: { nonce, text: "안녕", replyTo: 1n } }));
  assert.deepEqual(frame, { $case: "send", value: { nonce, text: "안녕", replyTo: 1n } });
});

test("two frames after each other are one with the parts of both; unknown parts are left out", () => {
  const pong = (number: bigint): ServerPart => ({ $case: "pong", value: { number } });
  const frame = (part: ServerPart) => ServerFrame.encode({ parts: [{ part }] }).finish();
  // Part number 99, as a newer server may send it.
  const newer = [0x0a, 0x04, 0x9a, 0x06, 0x01, 0x00];
  assert.deepEqual(decode(Uint8Array.from([...frame(pong(1n)), ...newer, ...frame(pong(2n))])), [pong(1n), pong(2n)]);
});

test("what is no frame throws", () => assert.throws(() => decode(Uint8Array.of(0x0a, 0x7f, 0x01))));
