import assert from "node:assert/strict";
import { test } from "node:test";
import { Captions, CUES_MAX, DURATION_MS, LANGUAGES_MAX } from "../src/chat/captions.ts";
import { characters } from "../src/chat/frames.ts";
import { KINDS_MAX, REACT_MS, Reactions, TAPS_MAX } from "../src/chat/reactions.ts";
import { EMOTES_DRAWN_MAX, emoteMap, money, pictureUrl, pieces } from "../src/chat/text.ts";

const BASE = "https://show.example/watch/stage";
const emotes = emoteMap([{ name: "wave", url: "/e/wave.webp" }, { name: "30", url: "https://cdn.example/30.png" }], BASE);
const short = (text: string) => pieces(text, emotes).map((piece) =>
  piece.kind === "text" ? piece.text : piece.kind === "mention" ? `[${piece.text}]` : `<${piece.name}>`);

for (const [text, wanted] of [
  ["hello", ["hello"]],
  ["", []],
  [":wave:", ["<wave>"]],
  ["a :wave::wave: b", ["a ", "<wave>", "<wave>", " b"]],
  [":wave:wave:", ["<wave>", "wave:"]],
  [":unknown: :wave:", [":unknown: ", "<wave>"]],
  ["at 12:05:wave:", ["at 12:05", "<wave>"]],
  ["@mina hi @미나!", ["[@mina]", " hi ", "[@미나]", "!"]],
  ["mail@example.com", ["mail@example.com"]],
  ["<img src=x onerror=alert(1)>", ["<img src=x onerror=alert(1)>"]],
] as const) {
  test(`pieces of ${JSON.stringify(text)}`, () => {
    assert.deepEqual(short(text), wanted);
  });
}

test("pieces: a wall of emotes is drawn in part, and no character is lost", () => {
  const text = ":wave:".repeat(EMOTES_DRAWN_MAX + 2);
  const found = pieces(text, emotes);
  assert.equal(found.filter(({ kind }) => kind === "emote").length, EMOTES_DRAWN_MAX);
  assert.equal(found.map((piece) => (piece.kind === "emote" ? `:${piece.name}:` : piece.text)).join(""), text);
});

for (const [url, wanted] of [
  ["/e/a.webp", "https://show.example/e/a.webp"],
  ["https://cdn.example/a.png", "https://cdn.example/a.png"],
  ["//cdn.example/a.png", "https://cdn.example/a.png"],
  ["javascript:alert(1)", undefined],
  ["data:image/svg+xml,<svg onload=alert(1)>", undefined],
  [" java\nscript:alert(1)", undefined],
  ["blob:https://show.example/1", undefined],
  ["http://[", undefined],
] as const) {
  test(`a picture at ${JSON.stringify(url)}`, () => assert.equal(pictureUrl(url, BASE), wanted));
}

for (const [amount, currency, wanted] of [
  [5_000n, "KRW", "₩5,000"], [1_250n, "USD", "$12.50"], [1_500n, "KWD", "KWD 1.500"], [7n, "not money", "7 not money"],
] as const) {
  test(`${amount} ${currency}`, () => assert.equal(money(amount, currency, "en").replace(/\u00a0/g, " "), wanted));
}

test("characters are counted as the server counts them", () => assert.equal(characters("a가🩷"), 3));

test("reactions are counted, and go out twice a second at most", () => {
  const reactions = new Reactions();
  assert.equal(reactions.dueIn(0), undefined);
  for (let i = 0; i < TAPS_MAX; i += 1) assert.ok(reactions.tap("heart"));
  assert.equal(reactions.tap("heart"), false);
  assert.ok(reactions.tap("clap"));
  assert.equal(reactions.dueIn(0), 0);
  assert.deepEqual(reactions.take(0), [{ kind: "heart", count: TAPS_MAX }, { kind: "clap", count: 1 }]);
  assert.ok(reactions.tap("heart"));
  assert.equal(reactions.dueIn(100), REACT_MS - 100);
  for (let i = 1; i < KINDS_MAX; i += 1) assert.ok(reactions.tap(`k${i}`));
  assert.equal(reactions.tap("one more"), false);
});

const cue = (text: string, more: { language?: string; atMs?: bigint; durationMs?: number } = {}) =>
  ({ language: "ko", text, atMs: 0n, durationMs: 0, nonce: 0n, ...more });

test("captions stand for their time, the last two of a language", () => {
  const captions = new Captions();
  captions.add(cue("하나"), 1_000, 0);
  captions.add(cue("둘"), 2_000, 0);
  captions.add(cue("three", { language: "en" }), 2_000, 0);
  assert.deepEqual(captions.at(2_000, "ko"), { lines: ["하나", "둘"], until: 1_000 + DURATION_MS });
  assert.deepEqual(captions.at(1_000 + DURATION_MS, "ko"), { lines: ["둘"], until: 2_000 + DURATION_MS });
  assert.deepEqual(captions.at(2_000 + DURATION_MS, "ko"), { lines: [], until: undefined });
  captions.add(cue("셋"), 2_500, 0);
  assert.deepEqual(captions.at(2_500, "ko").lines, ["둘", "셋"]);
});

test("a cue for later waits, by the server's clock; one that is late gets its time all the same", () => {
  const captions = new Captions();
  captions.add(cue("later", { atMs: 11_500n }), 1_000, 10_000);
  assert.deepEqual(captions.at(1_499, "ko"), { lines: [], until: 1_500 });
  assert.deepEqual(captions.at(1_500, "ko").lines, ["later"]);
  captions.add(cue("late", { atMs: 1_000n, durationMs: 500 }), 20_000, 0);
  assert.deepEqual(captions.at(20_499, "ko").lines, ["late"]);
});

test("captions: a language is picked, and everything is bounded", () => {
  const captions = new Captions();
  for (let i = 0; i <= LANGUAGES_MAX; i += 1) captions.add(cue("x", { language: `l${i}` }), 0, 0);
  assert.equal(captions.languages.length, LANGUAGES_MAX);
  for (let i = 0; i <= CUES_MAX; i += 1) captions.add(cue(`${i}`, { language: "l0", durationMs: 1_000 + i }), 0, 0);
  assert.equal(captions.at(0, "l0").until, 1_001, "the first of them is gone");
  const two = new Captions();
  two.add(cue("a", { language: "ko-KR" }), 0, 0);
  two.add(cue("b", { language: "en" }), 0, 0);
  assert.deepEqual([two.pick("en"), two.pick("ko"), two.pick("fr")], ["en", "ko-KR", "ko-KR"]);
});
