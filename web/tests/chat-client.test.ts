import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatClient, type ChatStatus } from "../src/chat/client.ts";
import type { Message, Request, ServerPart } from "../src/chat/frames.ts";
import { ClientFrame, ServerFrame } from "../src/chat/generated/chat.ts";
import { CHANNELS_MS, DEAD_MS, QUIET_MS, WELCOME_MS } from "../src/chat/link.ts";
import { REPEAT_MS, WAITING_MAX } from "../src/chat/outbox.ts";
import { ECHO_MS, REACT_MS } from "../src/chat/reactions.ts";
import type { OpenTransport, Transport, TransportEvents } from "../src/chat/transport.ts";
import { Backoff } from "../src/client/backoff.ts";
import { Clock } from "./clock.ts";

const START = 1_000_000;
const MAY = { write: true, moderate: false, moderateAll: false, caption: false };

class FakeTransport implements Transport {
  closed = false;
  readonly sent: Request[] = [];

  constructor(readonly kind: Transport["kind"], readonly events: TransportEvents) {}

  send(frame: Uint8Array): boolean {
    const { frame: request } = ClientFrame.decode(frame);
    if (request) this.sent.push(request);
    return true;
  }

  close(): void {
    this.closed = true;
  }

  say(...parts: ServerPart[]): void {
    this.events.onFrame(ServerFrame.encode({ parts: parts.map((part) => ({ part })) }).finish());
  }

  /** Opens and welcomes. */
  up(offset = 0, recovered = false, may = MAY): void {
    this.events.onOpen();
    this.say(welcome(offset, recovered, may));
  }

  get asked(): string[] {
    return this.sent.map(({ $case }) => $case);
  }
}

const welcome = (offset: number, recovered = false, may = MAY, epoch = 1n): ServerPart => ({
  $case: "welcome",
  value: { position: { epoch, offset: BigInt(offset) }, recovered, you: { user: "me", name: "Me", role: 1 }, may, nowMs: 0n },
});
const message = (id: number, user = "mina"): Message => ({
  id: BigInt(id), author: { user, name: user, role: 0 }, text: `m${id}`, atMs: BigInt(START), reply: undefined, mentions: [], paid: undefined,
});
const batch = (first: number, ...messages: Message[]): ServerPart => ({
  $case: "batch", value: { firstOffset: BigInt(first), entries: messages.map((value) => ({ entry: { $case: "message", value } })), skipped: 0 },
});

function setUp() {
  const clock = new Clock(START);
  const sockets: FakeTransport[] = [];
  const world = { online: true, token: "t1" as string | undefined };
  const seen: { status: ChatStatus[]; happened: string[]; refused: [string, string][]; done: string[] } = { status: [], happened: [], refused: [], done: [] };
  let nonces = 0n;
  const client: ChatClient = new ChatClient({
    token: () => world.token,
    openSocket: (events) => {
      const socket = new FakeTransport("socket", events);
      sockets.push(socket);
      return socket;
    },
    schedule: clock.schedule,
    now: () => clock.now,
    nonce: () => (nonces += 1n),
    // Without jitter: 500, 1,000, 2,000, ... milliseconds, halved.
    backoff: new Backoff({ firstMs: 1_000, maxMs: 16_000 }, () => 0),
    isOnline: () => world.online,
    listener: {
      onChange: (topic) => {
        if (topic === "status" && seen.status.at(-1) !== client?.status && client) seen.status.push(client.status);
      },
      onHappening: ({ kind }) => seen.happened.push(kind),
      onRefused: ({ code }, { $case }) => seen.refused.push([$case, code]),
      onDone: (_, { $case }) => seen.done.push($case),
    },
  });
  const channels = (): FakeTransport => {
    const made: FakeTransport[] = [];
    const open: OpenTransport = (events) => {
      const transport = new FakeTransport("channels", events);
      made.push(transport);
      return transport;
    };
    client.attach(open);
    return made[0] ?? assert.fail("not attached");
  };
  const socket = () => sockets.at(-1) ?? assert.fail("no socket was opened");
  return { clock, client, sockets, world, seen, channels, socket };
}

/** One that is up over a socket. */
async function overSocket(offset = 0, may = MAY) {
  const set = setUp();
  set.client.start();
  set.client.withoutSession();
  await set.clock.advance(0);
  set.socket().up(offset, false, may);
  return set;
}

const texts = (client: ChatClient) => client.room.timeline.lines.map(({ message: { text } }) => text);

test("a session's channels are the way, and no socket is opened", async () => {
  const { client, clock, sockets, channels, seen } = setUp();
  client.start();
  const session = channels();
  await clock.advance(CHANNELS_MS - 1);
  session.up();
  await clock.advance(600_000);
  assert.deepEqual(client.status, { kind: "open", via: "channels" });
  assert.deepEqual(session.sent[0], { $case: "hello", value: { position: undefined, token: "" } });
  assert.deepEqual([sockets.length, seen.status.map(({ kind }) => kind)], [0, ["connecting", "open"]]);
});

test("channels that do not open in time leave the way to a socket, and take over when they do", async () => {
  const { client, clock, channels, socket, sockets } = setUp();
  client.start();
  const session = channels();
  await clock.advance(CHANNELS_MS);
  socket().up(5);
  assert.deepEqual(socket().sent[0], { $case: "hello", value: { position: undefined, token: "t1" } });
  assert.deepEqual(client.status, { kind: "open", via: "socket" });
  socket().say(batch(6, message(1)));
  session.events.onOpen();
  assert.equal(socket().closed, true);
  assert.deepEqual(session.sent[0], { $case: "hello", value: { position: { epoch: 1n, offset: 6n }, token: "" } }, "it resumes");
  session.say(welcome(7, true), batch(7, message(2)));
  assert.deepEqual([client.status, texts(client)], [{ kind: "open", via: "channels" }, ["m1", "m2"]]);
  await clock.advance(600_000);
  assert.equal(sockets.length, 1);
});

test("a session that breaks leaves the chat to a socket, and takes it back with the next session", async () => {
  const { client, clock, channels, socket } = setUp();
  client.start();
  const first = channels();
  first.up();
  first.events.onClose();
  assert.equal(client.status.kind, "reconnecting");
  await clock.advance(CHANNELS_MS);
  socket().up();
  const second = channels();
  second.up();
  assert.deepEqual([client.status, socket().closed], [{ kind: "open", via: "channels" }, true]);
});

test("channels on which nobody answers are given up for a socket", async () => {
  const { client, clock, channels, socket } = setUp();
  client.start();
  const session = channels();
  session.events.onOpen();
  await clock.advance(WELCOME_MS);
  assert.equal(session.closed, true);
  socket().up();
  assert.deepEqual(client.status, { kind: "open", via: "socket" });
});

test("a socket that closes is opened again, later each time, and asks for what was missed", async () => {
  const { client, clock, sockets, socket } = await overSocket(3);
  socket().say(batch(4, message(1)));
  for (const wait of [500, 1_000, 2_000]) {
    socket().events.onClose();
    const before = sockets.length;
    await clock.advance(wait - 1);
    assert.equal(sockets.length, before);
    await clock.advance(1);
    assert.equal(sockets.length, before + 1);
  }
  socket().events.onOpen();
  assert.deepEqual(socket().sent[0], { $case: "hello", value: { position: { epoch: 1n, offset: 4n }, token: "t1" } });
  assert.equal(client.status.kind, "reconnecting");
});

test("that there is no session is said often, and shortens no back-off", async () => {
  const { client, clock, sockets, socket } = await overSocket();
  socket().events.onClose();
  for (let i = 0; i < 10; i += 1) client.withoutSession();
  await clock.advance(499);
  assert.equal(sockets.length, 1);
  await clock.advance(1);
  assert.equal(sockets.length, 2);
});

test("a silent socket is asked, and given up when it does not answer", async () => {
  const { clock, socket, sockets } = await overSocket();
  await clock.advance(QUIET_MS);
  assert.deepEqual(socket().asked, ["hello", "ping"]);
  socket().say({ $case: "pong", value: { number: 1n } });
  await clock.advance(QUIET_MS - 1);
  assert.equal(sockets.length, 1);
  await clock.advance(DEAD_MS - QUIET_MS + 1);
  assert.equal(sockets[0]?.closed, true);
});

test("offline: no socket is opened until the network is back", async () => {
  const { client, clock, sockets, world } = setUp();
  world.online = false;
  client.start();
  await clock.advance(600_000);
  assert.equal(sockets.length, 0);
  world.online = true;
  client.networkChanged();
  await clock.advance(0);
  assert.equal(sockets.length, 1);
});

test("a recovery goes on; without one the newcomer's view replaces the list", async () => {
  const { client, clock, socket } = await overSocket(10);
  socket().say(batch(11, message(1)), batch(12, message(2)));
  socket().events.onClose();
  await clock.advance(500);
  socket().events.onOpen();
  socket().say(welcome(14, true), batch(13, message(3), message(4)));
  assert.deepEqual(texts(client), ["m1", "m2", "m3", "m4"]);
  socket().events.onClose();
  await clock.advance(1_000);
  socket().events.onOpen();
  assert.deepEqual(socket().sent[0], { $case: "hello", value: { position: { epoch: 1n, offset: 14n }, token: "t1" } });
  socket().say(welcome(3, false, MAY, 2n), {
    $case: "snapshot",
    value: { settings: undefined, messages: [message(90)], pinned: undefined, poll: undefined, highlighted: [], present: 5, announcement: undefined },
  });
  assert.deepEqual([texts(client), client.room.present, client.room.frontier.position], [["m90"], 5, { epoch: 2n, offset: 3n }]);
});

test("a message stands at once, is confirmed, and is asked for again with the same nonce after a break", async () => {
  const { client, clock, socket, seen } = await overSocket();
  assert.equal(client.write("  hello ", message(1)), undefined);
  assert.equal(client.room.timeline.lines[0]?.state, "pending");
  const first = socket().sent[1];
  assert.deepEqual(first, { $case: "send", value: { nonce: 1n, text: "hello", replyTo: 1n } });
  socket().events.onClose();
  await clock.advance(500);
  socket().events.onOpen();
  assert.deepEqual(socket().asked, ["hello"], "not before the welcome");
  socket().say(welcome(0, true));
  assert.deepEqual(socket().sent[1], first);
  socket().say({ $case: "ack", value: { nonce: 1n, id: 9n, held: false, atMs: 0n, text: "" } });
  socket().say({ $case: "ack", value: { nonce: 1n, id: 9n, held: false, atMs: 0n, text: "" } });
  assert.deepEqual([client.room.timeline.byId(9n)?.state, seen.done], ["shown", ["send"]]);
});

test("after a long break what was not answered is not sent again, and says so", async () => {
  const { client, clock, world, socket, seen } = await overSocket();
  client.write("old", undefined);
  world.online = false;
  socket().events.onClose();
  await clock.advance(REPEAT_MS);
  world.online = true;
  client.networkChanged();
  await clock.advance(0);
  socket().up(0, true);
  assert.deepEqual([socket().asked, seen.refused, client.room.timeline.lines[0]?.state], [["hello"], [["send", "unanswered"]], "failed"]);
  client.writeAgain(1n);
  assert.deepEqual(socket().sent.at(-1), { $case: "send", value: { nonce: 2n, text: "old", replyTo: 0n } });
});

test("a refusal with its time: the line stays as refused, and writing waits", async () => {
  const { client, clock, socket, seen } = await overSocket();
  client.write("fast", undefined);
  socket().say({ $case: "refusal", value: { nonce: 1n, code: "slow_mode", detail: "", retryAfterMs: 7_000 } });
  assert.deepEqual([seen.refused, client.mayWriteAt, client.room.timeline.lines[0]?.state], [[["send", "slow_mode"]], clock.now + 7_000, "failed"]);
  client.forget(1n);
  assert.deepEqual(client.room.timeline.lines, []);
});

test("slow mode counts from one's own message, but not for moderators", async () => {
  for (const moderate of [false, true]) {
    const { client, clock, socket } = await overSocket(0, { ...MAY, moderate });
    socket().say({ $case: "batch", value: { firstOffset: 1n, skipped: 0, entries: [{ entry: { $case: "settings", value: { ...client.room.settings, slowSeconds: 30 } } }] } });
    client.write("one", undefined);
    socket().say({ $case: "ack", value: { nonce: 1n, id: 9n, held: false, atMs: 0n, text: "" } });
    assert.equal(client.mayWriteAt, moderate ? 0 : clock.now + 30_000);
  }
});

test("who was paused waits, and does not any more once that is lifted", async () => {
  const { client, socket } = await overSocket();
  socket().say({ $case: "notice", value: { code: "timed_out", detail: "", seconds: 600 } });
  assert.equal(client.mayWriteAt, START + 600_000);
  socket().say({ $case: "notice", value: { code: "unbanned", detail: "", seconds: 0 } });
  assert.deepEqual([client.mayWriteAt, client.room.may.write], [0, true]);
});

test("texts that cannot be sent are not; a command leaves no line", async () => {
  const { client, socket } = await overSocket();
  assert.equal(client.write("  ", undefined), "empty");
  assert.equal(client.write("가".repeat(501), undefined), "too_long");
  assert.equal(client.write("/slow 10", undefined), undefined);
  assert.deepEqual([client.room.timeline.lines, socket().asked], [[], ["hello", "send"]]);
  for (let i = 1; i < WAITING_MAX; i += 1) assert.equal(client.write("x", undefined), undefined);
  assert.equal(client.write("x", undefined), "too_many");
});

test("a hello that is refused for good ends it; another start tries again", async () => {
  const { client, clock, sockets, socket } = setUp();
  client.start();
  client.withoutSession();
  await clock.advance(0);
  socket().events.onOpen();
  socket().say({ $case: "refusal", value: { nonce: 0n, code: "token_expired", detail: "d", retryAfterMs: 0 } });
  assert.deepEqual(client.status, { kind: "refused", code: "token_expired", detail: "d" });
  await clock.advance(600_000);
  assert.equal(sockets.length, 1);
  client.start();
  await clock.advance(CHANNELS_MS);
  assert.equal(sockets.length, 2);
});

test("a hello that is refused for now is said again when the server said, not before", async () => {
  const { client, clock, sockets, socket } = setUp();
  client.start();
  client.withoutSession();
  await clock.advance(0);
  socket().events.onOpen();
  socket().say({ $case: "refusal", value: { nonce: 0n, code: "full", detail: "", retryAfterMs: 9_000 } });
  await clock.advance(8_999);
  assert.equal(sockets.length, 1);
  await clock.advance(1);
  assert.equal(sockets.length, 2);
});

test("what overtakes the welcome on another channel stands behind it", async () => {
  const { client, channels } = setUp();
  client.start();
  const session = channels();
  session.events.onOpen();
  session.say(batch(6, message(6)));
  assert.deepEqual(texts(client), []);
  session.say(welcome(5), {
    $case: "snapshot",
    value: { settings: undefined, messages: [message(5)], pinned: undefined, poll: undefined, highlighted: [], present: 0, announcement: undefined },
  });
  assert.deepEqual([texts(client), client.room.frontier.position?.offset], [["m5", "m6"], 6n]);
  // Brought up to date in the middle of it, and overtaken again.
  session.say(batch(8, message(8)));
  session.say(welcome(7), {
    $case: "snapshot",
    value: { settings: undefined, messages: [message(6), message(7)], pinned: undefined, poll: undefined, highlighted: [], present: 0, announcement: undefined },
  });
  assert.deepEqual([texts(client), client.room.frontier.position?.offset], [["m6", "m7", "m8"], 8n]);
});

test("a server without a chat is not asked for one again", async () => {
  const { client, clock, channels, sockets, socket } = setUp();
  client.start();
  await clock.advance(CHANNELS_MS);
  socket().events.onClose("chat_off");
  client.withoutSession();
  client.networkChanged();
  await clock.advance(600_000);
  assert.deepEqual([client.status, sockets.length], [{ kind: "refused", code: "chat_off", detail: "" }, 1]);
  assert.throws(channels, "nor over the next session's channels");
});

test("a socket that the server closes for its token is not opened again", async () => {
  const { client, clock, sockets, socket } = await overSocket();
  socket().events.onClose("token_expired");
  await clock.advance(600_000);
  assert.deepEqual([client.status, sockets.length], [{ kind: "refused", code: "token_expired", detail: "" }, 1]);
});

test("another page of the same user takes over: this one rests", async () => {
  const { client, clock, sockets, socket } = await overSocket();
  socket().say({ $case: "notice", value: { code: "replaced", detail: "", seconds: 0 } });
  await clock.advance(600_000);
  assert.deepEqual([client.status.kind, sockets.length, socket().closed], ["replaced", 1, true]);
});

test("hearts are counted, and go out at most twice a second", async () => {
  const { client, clock, socket } = await overSocket();
  for (let i = 0; i < 10; i += 1) client.react("heart");
  await clock.advance(0);
  for (let i = 0; i < 5; i += 1) client.react("heart");
  await clock.advance(REACT_MS - 1);
  const counts = () => socket().sent.flatMap((frame) => (frame.$case === "react" ? [frame.value.reactions[0]?.count] : []));
  assert.deepEqual(counts(), [10]);
  await clock.advance(1);
  assert.deepEqual(counts(), [10, 5]);
  await clock.advance(10 * REACT_MS);
  assert.deepEqual(counts(), [10, 5]);
});

test("one's own hearts are shown once: of the room's counts only others' rise", async () => {
  const { client, clock } = await overSocket();
  const hearts = (count: number) => client.othersOf({ kind: "heart", count });
  assert.equal(hearts(2), 2, "nothing of one's own is under way");
  for (let i = 0; i < 5; i += 1) client.react("heart");
  assert.equal(hearts(1), 1, "they have not gone out");
  await clock.advance(0);
  // They may come back in parts, and not first.
  assert.deepEqual([client.othersOf({ kind: "star", count: 3 }), hearts(3), hearts(10), hearts(1)], [3, 0, 8, 1]);
  client.react("heart");
  await clock.advance(REACT_MS + ECHO_MS + 1);
  assert.equal(hearts(1), 1, "what has not come back by then does not hide others'");
  client.stop();
});

test("deletions before their message, and late ones of a cleared user, show nothing", async () => {
  const { client, socket } = await overSocket();
  socket().say({ $case: "batch", value: { firstOffset: 2n, skipped: 0, entries: [
    { entry: { $case: "deleted", value: { ids: [1n] } } }, { entry: { $case: "userCleared", value: "troll" } },
  ] } });
  socket().say(batch(1, message(1)), batch(5, message(3, "mina")), { $case: "direct", value: message(1) });
  assert.deepEqual([texts(client), client.room.frontier.position?.offset], [["m3"], 3n]);
});

test("what stands on top: the newest counts, and a deleted one goes", async () => {
  const { client, clock, socket, seen } = await overSocket();
  const paid = { ...message(5), paid: { amount: 5_000n, currency: "KRW", tier: 5, pinSeconds: 60 } };
  socket().say(batch(4, paid));
  socket().say(batch(4, paid));
  const entry = (first: number, pinned: Message): ServerPart => ({ $case: "batch", value: { firstOffset: BigInt(first), skipped: 3, entries: [{ entry: { $case: "pinned", value: pinned } }] } });
  socket().say(entry(6, message(2)), entry(5, message(1)));
  assert.equal(client.room.pinned?.id, 2n);
  assert.deepEqual(seen.happened, ["highlighted", "skipped", "skipped"]);
  assert.equal(client.room.highlighted(clock.now).length, 1);
  assert.equal(client.room.highlighted(clock.now + 60_000).length, 0);
  socket().say({ $case: "batch", value: { firstOffset: 7n, skipped: 0, entries: [{ entry: { $case: "deleted", value: { ids: [5n, 2n] } } }] } });
  assert.deepEqual([client.room.highlighted(clock.now), client.room.pinned], [[], undefined]);
});

test("junk is counted and harms nothing", async () => {
  const { client, socket } = await overSocket();
  socket().events.onFrame(Uint8Array.of(0x0a, 0x7f, 0x01));
  socket().say(batch(1, message(1)));
  assert.deepEqual([client.unreadable, texts(client)], [1, ["m1"]]);
});
