import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/client/backoff.ts";
import {
  CONNECT_TIMEOUT_MS, DISCONNECTED_GRACE_MS, Keeper, LOOK_MS, PROOF_MS, RESTART_TIMEOUT_MS, STABLE_MS,
  type Connection, type KeeperStatus,
} from "../src/client/keeper.ts";
import { ProblemError } from "../src/client/problem.ts";
import { DOUBT_MS, QUIET_MS, type Vitals } from "../src/client/pulse.ts";
import { Clock, settled } from "./clock.ts";

const NETWORK = new ProblemError(0, "network", "");
const GONE = new ProblemError(404, "session_not_found", "");

class FakeConnection implements Connection {
  fate: "open" | "abandoned" | "ended" = "open";
  /** Whether something comes each time that it is looked at. */
  flows = true;
  expected = true;
  restarts = 0;
  /** What restarts come to; the default is an answer at once. */
  onRestart: (signal: AbortSignal) => Promise<void> = async () => {};
  #received = 0;
  #listener: (state: RTCPeerConnectionState) => void = () => {};

  onState(listener: (state: RTCPeerConnectionState) => void): void {
    this.#listener = listener;
  }

  go(state: RTCPeerConnectionState): void {
    this.#listener(state);
  }

  async vitals(): Promise<Vitals> {
    if (this.flows) this.#received += 1;
    return { received: this.#received, checks: 0, expected: this.expected };
  }

  restartIce(signal: AbortSignal): Promise<void> {
    this.restarts += 1;
    return this.onRestart(signal);
  }

  abandon(): void {
    this.fate = "abandoned";
  }

  end(): void {
    this.fate = "ended";
  }
}

const never = () => new Promise<void>(() => {});
const fails = (problem: ProblemError) => async () => {
  throw problem;
};

interface Options {
  readonly waitOut?: boolean;
  readonly replaces?: boolean;
  readonly closedMeans?: ProblemError;
}

/** A keeper between fakes; back-off without jitter: 250, 500, 1000, ... */
function setUp({ waitOut = false, replaces = false, closedMeans }: Options = {}) {
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
    now: () => clock.now,
    backoff,
    isOnline: () => world.online,
    replaces,
    mayWaitOut: (problem, ghost) => waitOut && ghost && problem.code === "room_busy",
    whenClosed: async () => closedMeans,
  });
  const last = () => opened.at(-1) ?? assert.fail("nothing was opened");
  const kinds = () => seen.map(({ kind }) => kind);
  return { clock, seen, kinds, opened, answers, world, backoff, keeper, last };
}

/** One that is connected, and has been long enough for anything to have come. */
async function connected(options?: Options) {
  const set = setUp(options);
  set.keeper.start();
  await settled();
  set.last().go("connected");
  await set.clock.advance(2 * LOOK_MS);
  assert.equal(set.keeper.status.kind, "connected");
  return set;
}

test("it connects, holds, and ends", async () => {
  const { keeper, kinds, last, clock } = await connected();
  await clock.advance(600_000);
  keeper.stop(true);
  assert.equal(last().fate, "ended");
  assert.deepEqual(kinds(), ["connecting", "connected", "closed"]);
});

test("a transient refusal is tried again, later each time and not before the server's own time", async () => {
  const { clock, keeper, answers, opened, kinds } = setUp();
  answers.push(new ProblemError(503, "overloaded", ""), new ProblemError(503, "draining", "", 5_000), NETWORK);
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
  assert.ok(!kinds().includes("refused"));
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
  Object.assign(last(), { flows: false, onRestart: fails(GONE) });
  answers.push(new ProblemError(409, "room_busy", ""));
  last().go("failed");
  await clock.advance(QUIET_MS);
  assert.equal(keeper.status.kind, "reconnecting");
  await clock.advance(500);
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
  const { clock, last, opened, kinds } = await connected();
  last().go("disconnected");
  await clock.advance(DISCONNECTED_GRACE_MS - 1);
  last().go("connected");
  await clock.advance(600_000);
  assert.deepEqual([last().restarts, opened.length, kinds()], [0, 1, ["connecting", "connected"]]);
});

test("a longer one restarts ICE in the same session, unseen while media still comes", async () => {
  const { clock, last, opened, kinds } = await connected();
  last().go("disconnected");
  await clock.advance(DISCONNECTED_GRACE_MS);
  assert.equal(last().restarts, 1);
  last().go("connected");
  await clock.advance(600_000);
  assert.deepEqual([opened.length, kinds()], [1, ["connecting", "connected"]]);
});

test("silence on a path that is called connected restarts ICE within three seconds, and shows", async () => {
  const { clock, last, opened, keeper, kinds } = await connected();
  last().flows = false;
  last().onRestart = async () => {
    last().flows = true;
  };
  await clock.advance(QUIET_MS + LOOK_MS);
  assert.equal(last().restarts, 1);
  await clock.advance(LOOK_MS);
  // The state was "connected" all the while: no event has told of anything.
  assert.equal(keeper.status.kind, "connected");
  assert.deepEqual([opened.length, kinds()], [1, ["connecting", "connected", "reconnecting", "connected"]]);
});

test("nobody is owed anything in a room that waits: silence there is no trouble", async () => {
  const { clock, last, kinds } = await connected();
  Object.assign(last(), { flows: false, expected: false });
  await clock.advance(600_000);
  assert.deepEqual([last().restarts, kinds()], [0, ["connecting", "connected"]]);
});

test("another network: a path that still works is left alone, and one that does not is found out soon", async () => {
  for (const expected of [true, false]) {
    const { clock, keeper, last, opened, kinds } = await connected({ replaces: true });
    Object.assign(last(), { expected, flows: expected });
    await clock.advance(LOOK_MS);
    keeper.networkChanged();
    await clock.advance(600_000);
    assert.deepEqual([last().restarts, last().fate, opened.length], [0, "open", 1]);
    assert.deepEqual(kinds(), ["connecting", "connected"]);
  }
  const { clock, keeper, last } = await connected();
  last().flows = false;
  keeper.networkChanged();
  await clock.advance(DOUBT_MS + LOOK_MS);
  assert.equal(last().restarts, 1);
});

test("a restart on a path that works after all is not waited for, whatever becomes of it", async () => {
  for (const onRestart of [async () => {}, fails(GONE), fails(NETWORK), never]) {
    const { clock, last, opened, kinds } = await connected();
    last().onRestart = onRestart;
    last().go("disconnected");
    await clock.advance(DISCONNECTED_GRACE_MS);
    assert.equal(last().restarts, 1);
    // The browser reports no change of a state that is "connected" before and after.
    await clock.advance(600_000);
    assert.deepEqual([last().restarts, last().fate, opened.length], [1, "open", 1]);
    assert.deepEqual(kinds(), ["connecting", "connected"]);
  }
});

test("a restart that the server refuses becomes a new session at once", async () => {
  const { clock, last, opened, keeper } = await connected();
  const first = last();
  Object.assign(first, { flows: false, onRestart: fails(GONE) });
  await clock.advance(QUIET_MS + LOOK_MS);
  assert.deepEqual([opened.length, first.fate], [2, "abandoned"]);
  last().go("connected");
  assert.equal(keeper.status.kind, "connected");
});

test("an answered restart after which nothing comes becomes a new session", async () => {
  const { clock, last, opened } = await connected();
  const first = last();
  first.flows = false;
  await clock.advance(QUIET_MS);
  await clock.advance(PROOF_MS - 1);
  assert.deepEqual([first.restarts, opened.length], [1, 1]);
  await clock.advance(1 + 250);
  assert.deepEqual([first.fate, opened.length], ["abandoned", 2]);
});

test("while the network is gone the same restart is asked for again and again, and no session is given up", async () => {
  const { clock, keeper, last, opened, seen } = await connected();
  Object.assign(last(), { flows: false, onRestart: fails(NETWORK) });
  await clock.advance(25_000);
  assert.ok(last().restarts >= 4, String(last().restarts));
  assert.deepEqual([last().fate, opened.length], ["open", 1]);
  assert.ok(seen.some((status) => status.kind === "reconnecting" && status.problem?.code === "network"));
  last().onRestart = async () => {
    last().flows = true;
  };
  await clock.advance(8_000);
  assert.equal(keeper.status.kind, "connected");
});

test("a path that comes back by itself ends the trouble, whatever is being asked for", async () => {
  for (const onRestart of [never, fails(NETWORK)]) {
    const { clock, keeper, last, opened } = await connected();
    Object.assign(last(), { flows: false, onRestart });
    await clock.advance(QUIET_MS + 2 * LOOK_MS);
    assert.equal(keeper.status.kind as string, "reconnecting");
    last().flows = true;
    await clock.advance(LOOK_MS);
    assert.equal(keeper.status.kind, "connected");
    await clock.advance(600_000);
    assert.deepEqual([last().fate, opened.length, keeper.status.kind], ["open", 1, "connected"]);
  }
});

test("a restart that hangs is asked for again, and its late answer counts for nothing", async () => {
  const { clock, last } = await connected();
  const signals: AbortSignal[] = [];
  last().flows = false;
  last().onRestart = (signal) => {
    signals.push(signal);
    return never();
  };
  await clock.advance(QUIET_MS + LOOK_MS + RESTART_TIMEOUT_MS + 250);
  assert.deepEqual(signals.map(({ aborted }) => aborted), [true, false]);
});

test("the network's return cuts short every wait", async () => {
  const { clock, keeper, last } = await connected();
  Object.assign(last(), { flows: false, onRestart: fails(NETWORK) });
  await clock.advance(15_000);
  const before = last().restarts;
  last().onRestart = async () => {
    last().flows = true;
  };
  keeper.networkChanged();
  assert.equal(last().restarts, before + 1);
  await clock.advance(2 * LOOK_MS);
  assert.equal(keeper.status.kind, "connected");
});

test("a publisher's session is kept until the next one has taken its place", async () => {
  const { clock, keeper, last, answers, opened, kinds } = await connected({ replaces: true });
  const first = last();
  answers.push(new ProblemError(503, "overloaded", ""));
  keeper.reopenAfter(0);
  await clock.advance(250);
  assert.deepEqual([first.fate, keeper.connection, opened.length], ["open", first, 1]);
  await clock.advance(500);
  assert.deepEqual([first.fate, opened.length], ["abandoned", 2]);
  last().go("connected");
  assert.deepEqual(kinds(), ["connecting", "connected"], "the show went on all the while");
});

test("nothing but the end ends a publisher's session", async () => {
  const { clock, keeper, last, opened } = await connected({ replaces: true });
  for (const break_ of [
    () => Object.assign(last(), { flows: false, onRestart: fails(GONE) }),
    () => Object.assign(last(), { flows: false }),
    () => last().go("closed"),
    () => keeper.reopenAfter(0),
    () => keeper.networkChanged(),
    () => last().go("failed"),
    () => keeper.start(),
  ]) {
    break_();
    await settled();
    await clock.advance(QUIET_MS + PROOF_MS + 2_000);
    last().go("connected");
    await clock.advance(2 * LOOK_MS);
    assert.equal(keeper.status.kind, "connected", String(break_));
  }
  assert.ok(opened.length >= 5);
  assert.ok(opened.every(({ fate }) => fate !== "ended"));
  keeper.stop();
  assert.deepEqual([opened.filter(({ fate }) => fate === "ended"), opened.filter(({ fate }) => fate === "open")], [[last()], []]);
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
  assert.equal(late.fate, "abandoned");
  assert.notEqual(keeper.connection, late);
});

test("a session that never connects is given up for another", async () => {
  const { clock, keeper, last, opened } = setUp();
  keeper.start();
  await clock.advance(CONNECT_TIMEOUT_MS + 250);
  assert.deepEqual([opened.map(({ fate }) => fate), last().restarts], [["abandoned", "open"], 0]);
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

test("offline is said only when nothing comes, and nothing is given up for it", async () => {
  const { clock, keeper, opened, world, last, kinds } = await connected();
  world.online = false;
  keeper.networkChanged();
  await clock.advance(60_000);
  assert.equal(keeper.status.kind, "connected", "what still works is left alone");
  Object.assign(last(), { flows: false, onRestart: fails(NETWORK) });
  await clock.advance(600_000);
  assert.deepEqual(kinds(), ["connecting", "connected", "offline"]);
  assert.deepEqual([opened.length, last().fate], [1, "open"]);
  world.online = true;
  last().onRestart = fails(GONE);
  keeper.networkChanged();
  await settled();
  assert.equal(opened.length, 2);
});

test("who begins without a network gets in when there is one", async () => {
  const { keeper, answers, world, kinds, opened } = setUp();
  world.online = false;
  answers.push(NETWORK);
  keeper.start();
  await settled();
  assert.deepEqual([...new Set(kinds())], ["offline"]);
  world.online = true;
  keeper.networkChanged();
  await settled();
  assert.equal(opened.length, 1);
});

test("a page that wakes doubts its connection, and finds out soon", async () => {
  const good = await connected();
  good.keeper.wake();
  await good.clock.advance(60_000);
  assert.deepEqual([good.last().restarts, good.kinds()], [0, ["connecting", "connected"]]);

  const dead = await connected();
  dead.last().flows = false;
  dead.keeper.wake();
  await dead.clock.advance(DOUBT_MS + LOOK_MS);
  assert.equal(dead.last().restarts, 1);
});

test("a draining server is left and asked again when it said, in jittered time", async () => {
  const { clock, keeper, last, opened } = await connected();
  const first = last();
  keeper.reopenAfter(2_000);
  assert.equal(first.fate, "abandoned");
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
  keeper.wake();
  ended.go("failed");
  await clock.advance(600_000);
  assert.deepEqual([opened.length, keeper.status.kind], [1, "closed"]);
});
