import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import * as chat from "../src/i18n/chat-dictionary.ts";
import { en, ko } from "../src/i18n/dictionary.ts";
import { duration, fill, pickLanguage } from "../src/i18n/index.ts";

const FOLDER = process.cwd();
const keys = Object.keys(en) as (keyof typeof en)[];
const chatKeys = Object.keys(chat.en) as chat.ChatKey[];
const places = (text: string) => [...text.matchAll(/\{(\w+)[},]/g)].map(([, place]) => place).sort();

test("both languages have the same keys, with the same places for values", () => {
  assert.deepEqual(Object.keys(ko).sort(), [...keys].sort());
  for (const key of keys) {
    assert.ok(en[key].trim() && ko[key].trim(), `${key} is empty`);
    assert.deepEqual(places(ko[key]), places(en[key]), key);
  }
  assert.deepEqual(Object.keys(chat.ko).sort(), [...chatKeys].sort());
  for (const key of chatKeys) {
    assert.ok(chat.en[key].trim() && chat.ko[key].trim(), `${key} is empty`);
    assert.deepEqual(places(chat.ko[key]), places(chat.en[key]), key);
  }
});

test("Korean is Korean, but for names and units", () => {
  const alike = keys.filter((key) => !/[가-힣]/.test(ko[key]));
  assert.deepEqual(alike.sort(), [
    "home.title", "studio.bitrate.value", "studio.stats.fps", "studio.stats.rate", "watch.live", "watch.stats.none",
  ]);
  assert.deepEqual(chatKeys.filter((key) => !/[가-힣]/.test(chat.ko[key])), []);
});

test("pages ask for strings that there are, and hold no text in one language only", async () => {
  for (const page of await readdir(path.join(FOLDER, "pages"))) {
    if (!page.endsWith(".html")) continue;
    const html = await readFile(path.join(FOLDER, "pages", page), "utf8");
    const asked = [...html.matchAll(/data-i18n(?:-\w+)?="([^"]*)"/g)].map(([, key]) => key ?? "");
    assert.ok(asked.length > 5, page);
    for (const key of asked) assert.ok(key in en, `${page}: ${key}`);
  }
});

test("every string is used somewhere", async () => {
  const files = (await readdir(FOLDER, { recursive: true }))
    .filter((file) => /^(src|pages)\/.*\.(ts|html)$/.test(file) && !file.endsWith("dictionary.ts"));
  const text = (await Promise.all(files.map((file) => readFile(path.join(FOLDER, file), "utf8")))).join("\n");
  // Keys that are put together from a family and a value: `problem.${code}`.
  const families = [
    ...[...text.matchAll(/`([a-z.]+\.)\$\{/g)].map(([, family]) => family ?? ""),
    ...[...text.matchAll(/known\("([a-z.]+)"/g)].map(([, family]) => `${family}.`),
  ];
  const unused = [...keys, ...chatKeys].filter((key) => !text.includes(`"${key}"`) && !families.some((family) => key.startsWith(family)));
  assert.deepEqual(unused, []);
});

test("pages carry no inline script, style or handler: the server's policy forbids them", async () => {
  for (const page of ["index", "studio", "watch"]) {
    const html = await readFile(path.join(FOLDER, "pages", `${page}.html`), "utf8");
    assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:/i, page);
  }
});

test("values go into their places", () => {
  assert.equal(fill("{a} of {b}, {a}", { a: 1, b: "two" }, "en"), "1 of two, 1");
  assert.equal(fill("{a} {missing}", { a: 0 }, "en"), "0 {missing}");
  assert.equal(fill("{a}", { a: "$& {a}" }, "en"), "$& {a}");
  assert.equal(fill("{a}", { a: 123_456 }, "ko"), "123,456");
});

test("plurals follow the rules of the language", () => {
  const text = "{count, plural, one {# vote} other {# votes}} · {name}";
  for (const [count, said] of [[0, "0 votes"], [1, "1 vote"], [2, "2 votes"], [1_234, "1,234 votes"]] as const) {
    assert.equal(fill(text, { count, name: "$&" }, "en"), `${said} · $&`);
  }
  assert.equal(fill("{count, plural, other {#표}}", { count: 1 }, "ko"), "1표");
  assert.equal(fill(text, { name: "Mina" }, "en"), "{count, plural, one {# vote} other {# votes}} · Mina");
});

test("no English text counts without a plural", () => {
  // A bare number before a word is wrong for one of them, except where the word never changes.
  const unchanging = /^\{count\} (watching|in chat|new|per second)$/;
  for (const [key, text] of [...Object.entries(en), ...Object.entries(chat.en)]) {
    if (/\{count\} \w/.test(text)) assert.match(text, unchanging, key);
  }
});

for (const [seconds, english, korean] of [
  [0, "0 seconds", "0초"],
  [0.2, "1 second", "1초"],
  [59.5, "1 minute", "1분"],
  [90, "1 minute 30 seconds", "1분 30초"],
  [600, "10 minutes", "10분"],
  [3_600, "1 hour", "1시간"],
  [5_430, "1 hour 30 minutes", "1시간 30분"],
  [172_800, "2 days", "2일"],
] as const) {
  test(`${seconds} s are ${english}`, () => assert.deepEqual([duration(seconds, "en"), duration(seconds, "ko")], [english, korean]));
}

test("Korean speaks in one register", () => {
  for (const [key, text] of [...Object.entries(ko), ...Object.entries(chat.ko)]) assert.doesNotMatch(text, /니다[.!?]?$|니다\. |십시오/, key);
});

test("one thing has one name in Korean", () => {
  for (const [key, text] of [...Object.entries(ko), ...Object.entries(chat.ko)]) assert.doesNotMatch(text, /방송|무대|공연|이모트(?!콘)/, key);
});

for (const [stored, preferred, wanted] of [
  [null, ["ko-KR", "en"], "ko"],
  [null, ["fr", "KO"], "ko"],
  [null, ["en-GB", "ko"], "en"],
  [null, ["fr", "ja"], "en"],
  [null, [], "en"],
  ["ko", ["en"], "ko"],
  ["fr", ["ko"], "ko"],
] as const) {
  test(`language of ${stored} and ${preferred.join()}`, () => assert.equal(pickLanguage(stored, preferred), wanted));
}
