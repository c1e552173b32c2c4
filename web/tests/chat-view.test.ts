import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace, WAIT_SECONDS } from "../src/chat/pace.ts";
import type { Line } from "../src/chat/timeline.ts";
import { auditText } from "../src/chatview/audit.ts";
import { maySanction, moderates } from "../src/chat/roles.ts";
import { Role } from "../src/chat/frames.ts";
import { Announcer, SPEAK_MS, SPOKEN_MAX } from "../src/chatview/announcer.ts";
import { PARTICLES_MAX, particlesFor } from "../src/chatview/hearts.ts";
import { Row, pageOf } from "../src/chatview/records.ts";
import { cues } from "../src/studio/captioning.ts";

const line = (id: number, role = 0): Line => ({
  message: { id: BigInt(id), author: { user: `u${id}`, name: "", role: role as 0 }, text: "", atMs: 0n, reply: undefined, mentions: [], paid: undefined },
  state: "shown", nonce: undefined, gone: false, version: 0,
});
const ids = (lines: readonly Line[]) => lines.map(({ message: { id } }) => Number(id));

test("an artist sees so many messages a second, in order, and those that matter at once", () => {
  const pace = new Pace(2, ({ message }) => message.author?.role === 2);
  const lines = Array.from({ length: 8 }, (_, i) => line(i + 1));
  assert.deepEqual(ids(pace.choose(lines, 0)), [1, 2, 3, 4, 5, 6, 7, 8], "what was there before may be read at once");
  lines.push(...Array.from({ length: 6 }, (_, i) => line(i + 9)), line(15, 2));
  assert.deepEqual(ids(pace.choose(lines, 0)).slice(8), [15]);
  assert.equal(pace.waiting, true);
  assert.deepEqual(ids(pace.choose(lines, 1_000)).slice(8), [9, 10, 15]);
  assert.deepEqual(ids(pace.choose(lines, 3_000)).slice(8), [9, 10, 11, 12, 13, 14, 15]);
  assert.equal(pace.waiting, false);
});

test("in a flood the oldest that wait are left out, for good", () => {
  const pace = new Pace(1, () => false);
  pace.choose([], 0);
  const lines = Array.from({ length: 50 }, (_, i) => line(i + 1));
  const first = ids(pace.choose(lines, 0));
  assert.ok(first.every((id) => id > 50 - WAIT_SECONDS) && first.length > 0, String(first));
  assert.ok(ids(pace.choose(lines, 60_000)).every((id) => id > 50 - WAIT_SECONDS));
  pace.perSecond = Infinity;
  assert.equal(pace.choose(lines, 60_000).length, 50);
  assert.equal(pace.waiting, false);
});

test("readers hear one sentence in three seconds, with what matters in it", () => {
  const announcer = new Announcer();
  assert.equal(announcer.take(0), undefined);
  announcer.hear({ name: "a", text: "1", matters: false });
  assert.deepEqual(announcer.take(0), { count: 1, name: "a", text: "1" });
  announcer.hear({ name: "idol", text: "hello you", matters: true });
  for (let i = 0; i < 40; i += 1) announcer.hear({ name: "b", text: String(i), matters: false });
  assert.equal(announcer.take(1_000), SPEAK_MS - 1_000);
  assert.deepEqual(announcer.take(SPEAK_MS), { count: 41, name: "idol", text: "hello you" });
  assert.equal(announcer.take(10 * SPEAK_MS), undefined);
  announcer.hear({ name: "c", text: "x".repeat(500), matters: false });
  const said = announcer.take(20 * SPEAK_MS);
  assert.ok(typeof said === "object" && said.text.length === SPOKEN_MAX);
});

for (const [count, wanted] of [[0, 0], [1, 1], [4, 4], [8, 6], [2_000, 22], [1e9, 24]] as const) {
  test(`${count} reactions are ${wanted} particles`, () => {
    assert.equal(particlesFor(count), wanted);
    assert.ok(wanted < PARTICLES_MAX);
  });
}

test("a page of a record is read with care", () => {
  const full = pageOf({ messages: [{ id: "100", text: "t" }, { id: "51" }], next: "51" }, "chat/messages?user=a%20b", "before");
  assert.deepEqual([full.rows.length, full.rows[0]?.id("id"), full.next], [2, 100n, "chat/messages?user=a+b&before=51"]);
  assert.equal(pageOf({ sanctions: [], next: "u7" }, "chat/sanctions", "after").next, "chat/sanctions?after=u7");
  for (const junk of [null, 7, "x", {}, [], { sanctions: "no" }, { sanctions: [1, null], next: 7 }]) {
    assert.deepEqual(pageOf(junk, "chat/sanctions", "after"), { rows: [], next: undefined });
  }
  const [row] = pageOf({ records: [{ at_ms: "1700000000000", id: "-1", author: "no" }] }, "chat/audit", "before").rows;
  assert.deepEqual([row?.time("atMs", "at_ms"), row?.id("id"), row?.child("author").text("name"), row?.text("at")], [1_700_000_000_000, 0n, "", ""]);
});

test("moderators act on bots and on whoever stands below them", () => {
  const { GUEST, MEMBER, MODERATOR, LEAD_MODERATOR, IDOL, BOT, SERVER } = Role;
  const actsOn = (actor: Role) => [GUEST, MEMBER, MODERATOR, LEAD_MODERATOR, IDOL, BOT, SERVER].filter((role) => maySanction(actor, role));
  assert.deepEqual(actsOn(GUEST), []);
  assert.deepEqual(actsOn(BOT), []);
  assert.deepEqual(actsOn(MODERATOR), [GUEST, MEMBER, BOT]);
  assert.deepEqual(actsOn(LEAD_MODERATOR), [GUEST, MEMBER, MODERATOR, BOT]);
  assert.equal(actsOn(IDOL).length, 7);
  assert.deepEqual([GUEST, MEMBER, MODERATOR, LEAD_MODERATOR, IDOL, BOT, SERVER].filter(moderates), [MODERATOR, LEAD_MODERATOR, IDOL, SERVER]);
});

for (const [record, said] of [
  [{ action: "timeout", target: "mina", after: '{"kind":"timeout","until_ms":1700000000000}' }, "Timed out · mina · until 1700000000000"],
  [{ action: "clear_user", target: "mina", before: "1 messages" }, "All messages deleted · mina · 1 message"],
  [{ action: "unban", target: "mina", before: '{"kind":"timeout","reason":"loud"}' }, "Unbanned · mina · Timed out · “loud”"],
  [{ action: "delete", target: "1885131231531630592", before: "rude" }, "Message deleted · “rude”"],
  [{ action: "unpin", target: "1885131231531630592", before: "1885131231531630592" }, "Unpinned"],
  [{ action: "announce", target: null, after: "At eight" }, "Announcement · “At eight”"],
  [
    { action: "settings", before: '{"blockedTerms":["shop"]}', after: '{"slowSeconds":20,"muted":true,"hold":"HOLD_ALL","emotes":[{"name":"wave","url":"/w"}]}' },
    "Rules changed · Slow mode: seconds between messages → 20 · Mute chat: only artist and moderators → on · Hold for review → All messages · Blocked words → none · Emotes → wave",
  ],
  [{ action: "settings", before: "{", after: "7" }, "Rules changed"],
  [{ action: "dance", target: "mina" }, "dance · mina"],
  [{}, ""],
] as const) {
  test(`the log says: ${said}`, () => assert.equal(auditText(new Row(record), String), said));
}

test("what an artist says becomes cues that can be read, and no word is lost", () => {
  assert.deepEqual(cues("  hello  everyone "), ["hello everyone"]);
  assert.deepEqual(cues("   "), []);
  const long = Array.from({ length: 60 }, (_, i) => `word${i}`).join(" ");
  const parts = cues(long);
  assert.ok(parts.length > 2 && parts.every((part) => part.length <= 120));
  assert.equal(parts.join(" "), long);
  const endless = "가".repeat(300);
  assert.ok(cues(endless).every((part) => part.length <= 120));
  assert.equal(cues(endless).join(""), endless);
});
