import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/client/backoff.ts";
import { CONNECT_TIMEOUT_MS, DISCONNECTED_GRACE_MS, Keeper, STABLE_MS, type Connection, type KeeperStatus } from "../src/client/keeper.ts";
import { ProblemError } from "../src/client/problem.ts";
import { Clock, settled } from "./clock.ts";

class FakeConnection implements Connection {
  closed: boolean | undefined;
  restarts = 0;
  restartFails = false;
  #listener: (state: RTCPeerConnectionState) => void = () => {};

  onState(listener: (state: RTCPeerConnectionState) => void): void {
    this.#listener = listener;
  }

  go(state: RTCPeerConnectionState): void {
    this.#listener(state);
  }

  async restartIce(): Promise<void> {
    this.restarts += 1;
    if (this.restartFails) throw new ProblemError(404, "session_not_found", "");
  }

  async close(keepalive: boolean): Promise<void> {
    this.closed = keepalive;
  }
}

interface Options {
  readonly waitOut?: boolean;
  readonly closedMeans?: ProblemError;
}

/** A keeper between fakes; back-off without jitter: 250, 500, 1000, ... */
function setUp({ waitOut = false, closedMeans }: Options = {}) {
  const clock = new Clock();
  const seen: KeeperStatus[] = [];
  const opened: FakeConnection[] = [];
  const answers: (ProblemError | Error | Promise<FakeConnection>)[] = [];
  const world = { online: true, aborted: 0 };
  const backoff = new Backoff({ firstMs: 500, maxMs: 8_000 }, () => 0);
  const keeper = new Keeper<FakeConnection>({
    open: async (signal) => {
      signal.addEventListener("abort", () => (world.aborted += 1));
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      const connection = (await answer) ?? new FakeConnection();
      opened.push(connection);
      return connection;
    },
    onStatus: (status) => seen.push(status),
    onOpen: () => {},
    schedule: clock.schedule,
    backoff,
    isOnline: () => world.online,
    mayWaitOut: (problem, ghost) => waitOut && ghost && problem.code === "room_busy",
    whenClosed: async () => closedMeans,
  });
  const last = () => opened.at(-1) ?? assert.fail("nothing was opened");
  return { clock, seen, opened, answers, world, backoff, keeper, last };
}

/** One that is connected. */
async function connected(options?: Options) {
  const set = setUp(options);
  set.keeper.start();
  await settled();
  set.last().go("connected");
  assert.equal(set.keeper.status.kind, "connected");
  return set;
}

test("it connects, holds, and ends", async () => {
  const { keeper, seen, last, clock } = await connected();
  await clock.advance(600_000);
  keeper.stop(true);
  assert.equal(last().closed, true);
  assert.deepEqual(seen.map(({ kind }) => kind), ["connecting", "connected", "closed"]);
});

test("a transient refusal is tried again, later each time and not before the server's own time", async () => {
  const { clock, keeper, answers, opened, seen } = setUp();
  answers.push(new ProblemError(503, "overloaded", ""), new ProblemError(503, "draining", "", 5_000), new ProblemError(0, "network", ""));
  keeper.start();
  await settled();
  assert.deepEqual(keeper.status, { kind: "reconnecting", waitMs: 250, problem: new ProblemError(503, "overloaded", "") });
  await clock.advance(250);
  assert.ok(keeper.status.kind === "reconnecting" && keeper.status.waitMs === 5_000);
  await clock.advance(4_999);
  assert.equal(answers.length, 1);
  await clock.advance(1);
  await clock.advance(1_000);
  assert.equal(opened.length, 1);
  assert.ok(!seen.some(({ kind }) => kind === "refused"));
});

test("a refusal for good is shown and nothing is tried again", async () => {
  for (const error of [new ProblemError(401, "token_missing", ""), new ProblemError(409, "room_busy", "")]) {
    const { clock, keeper, answers, opened } = setUp({ waitOut: true });
    answers.push(error);
    keeper.start();
    await settled();
    assert.deepEqual(keeper.status, { kind: "refused", problem: error });
    await clock.advance(600_000);
    assert.equal(opened.length, 0);
  }
});

test("an error of the browser itself is refused as such", async () => {
  const { keeper, answers } = setUp();
  answers.push(new TypeError("no such codec"));
  keeper.start();
  await settled();
  assert.ok(keeper.status.kind === "refused");
  assert.deepEqual([keeper.status.problem.code, keeper.status.problem.message], ["browser", "no such codec"]);
});

test("a publisher whose line broke waits for its own ghost to go", async () => {
  const { clock, keeper, answers, last, opened } = await connected({ waitOut: true });
  last().restartFails = true;
  answers.push(new ProblemError(409, "room_busy", ""));
  last().go("failed");
  await settled();
  assert.equal(keeper.status.kind, "reconnecting");
  await clock.advance(250);
  assert.equal(opened.length, 2);
});

test("one whom the server itself has closed has no ghost to wait for", async () => {
  const { clock, keeper, answers, last } = await connected({ waitOut: true });
  answers.push(new ProblemError(409, "room_busy", ""));
  last().go("closed");
  await settled();
  await clock.advance(250);
  assert.ok(keeper.status.kind === "refused" && keeper.status.problem.code === "room_busy");
});

test("a goodbye of the server is a new try, or the end, as the owner sees it", async () => {
  const again = await connected();
  again.last().go("closed");
  assert.equal(again.keeper.status.kind, "reconnecting");
  await settled();
  await again.clock.advance(250);
  assert.equal(again.opened.length, 2);

  const removed = new ProblemError(0, "removed", "");
  const end = await connected({ closedMeans: removed });
  end.last().go("closed");
  await settled();
  await end.clock.advance(600_000);
  assert.deepEqual([end.keeper.status, end.opened.length], [{ kind: "refused", problem: removed }, 1]);
});

test("a short disconnect heals by itself", async () => {
  const { clock, last, opened, keeper } = await connected();
  last().go("disconnected");
  await clock.advance(DISCONNECTED_GRACE_MS - 1);
  last().go("connected");
  await clock.advance(600_000);
  assert.deepEqual([last().restarts, opened.length, keeper.status.kind], [0, 1, "connected"]);
});

test("a longer one restarts ICE in the same session", async () => {
  const { clock, last, opened, keeper } = await connected();
  last().go("disconnected");
  await clock.advance(DISCONNECTED_GRACE_MS);
  assert.deepEqual([last().restarts, keeper.status.kind], [1, "reconnecting"]);
  last().go("connected");
  await clock.advance(600_000);
  assert.deepEqual([opened.length, keeper.status.kind], [1, "connected"]);
});

test("a restart that the server refuses becomes a new session at once", async () => {
  const { last, opened, keeper } = await connected();
  const first = last();
  first.restartFails = true;
  first.go("failed");
  await settled();
  assert.deepEqual([opened.length, first.closed], [2, false]);
  last().go("connected");
  assert.equal(keeper.status.kind, "connected");
});

test("a restart without effect becomes a new session after the time for connecting", async () => {
  const { clock, last, opened } = await connected();
  last().go("failed");
  await clock.advance(CONNECT_TIMEOUT_MS - 1);
  assert.equal(opened.length, 1);
  await clock.advance(1 + 250);
  assert.equal(opened.length, 2);
});

test("an open that hangs is aborted and tried again; its late answer is given back", async () => {
  const { clock, keeper, answers, opened, world } = setUp();
  const late = new FakeConnection();
  let arrive = (_: FakeConnection) => {};
  answers.push(new Promise<FakeConnection>((done) => (arrive = done)));
  keeper.start();
  await clock.advance(CONNECT_TIMEOUT_MS + 250);
  assert.deepEqual([world.aborted > 0, opened.length], [true, 1]);
  arrive(late);
  await settled();
  assert.equal(late.closed, false);
  assert.notEqual(keeper.connection, late);
});

test("states of a connection that was given up say nothing", async () => {
  const { last, keeper } = await connected();
  const first = last();
  keeper.start();
  await settled();
  last().go("connected");
  first.go("failed");
  assert.deepEqual([first.restarts, keeper.status.kind], [0, "connected"]);
});

test("offline: nothing is tried until the network is back", async () => {
  const { clock, keeper, opened, world, last } = await connected();
  world.online = false;
  keeper.networkChanged();
  assert.equal(keeper.status.kind, "connected", "what still works is left alone");
  last().go("failed");
  assert.equal(keeper.status.kind, "offline");
  await clock.advance(600_000);
  assert.equal(opened.length, 1);
  world.online = true;
  keeper.networkChanged();
  await settled();
  assert.equal(opened.length, 2);
});

test("another network restarts ICE at once", async () => {
  const { keeper, last } = await connected();
  keeper.networkChanged();
  assert.equal(last().restarts, 1);
});

test("a draining server is left and asked again when it said, in jittered time", async () => {
  const { clock, keeper, last, opened } = await connected();
  const first = last();
  keeper.reopenAfter(2_000);
  assert.equal(first.closed, false);
  assert.ok(keeper.status.kind === "reconnecting" && keeper.status.waitMs >= 2_000);
  await clock.advance(1_999);
  assert.equal(opened.length, 1);
  await clock.advance(1);
  assert.equal(opened.length, 2);
});

test("back-off begins anew only after a connection has held", async () => {
  const { clock, keeper, backoff, last } = await connected();
  keeper.reopenAfter(0);
  await clock.advance(1_000);
  last().go("connected");
  assert.equal(backoff.attempt, 1);
  await clock.advance(STABLE_MS);
  assert.equal(backoff.attempt, 0);
});

test("after the end nothing brings it back", async () => {
  const { clock, keeper, opened, last } = await connected();
  const ended = last();
  keeper.stop();
  keeper.networkChanged();
  keeper.reopenAfter(0);
  ended.go("failed");
  await clock.advance(600_000);
  assert.deepEqual([opened.length, keeper.status.kind], [1, "closed"]);
});
