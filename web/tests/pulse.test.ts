import assert from "node:assert/strict";
import { test } from "node:test";
import { ASLEEP_MS, DOUBT_MS, Pulse, QUIET_MS, publisherVitals, viewerVitals } from "../src/client/pulse.ts";
import type { Stat } from "../src/client/report.ts";

const media = (received: number) => ({ received, checks: 0, expected: true });

/** Looks every half second from `from` on; `received` says what had come by then. */
function looks(pulse: Pulse, from: number, to: number, received: (at: number) => number): void {
  for (let at = from; at <= to; at += 500) pulse.look(at, media(received(at)));
}

test("silence counts from the last thing that came", () => {
  const pulse = new Pulse(0);
  looks(pulse, 0, 5_000, (at) => at);
  looks(pulse, 5_500, 6_500, () => 5_000);
  assert.equal(pulse.quiet(5_000 + QUIET_MS - 1), false);
  assert.equal(pulse.quiet(5_000 + QUIET_MS), true);
  pulse.look(7_000, media(5_001));
  assert.equal(pulse.quiet(7_000), false);
});

test("who is owed nothing is never quiet, and lives by its checks", () => {
  const pulse = new Pulse(0);
  for (let at = 0; at <= 60_000; at += 500) pulse.look(at, { received: 900, checks: Math.floor(at / 2_500), expected: false });
  assert.equal(pulse.quiet(60_000), false);
  assert.equal(pulse.signs, 24);
});

test("checks alone do not carry media: a NAT has moved the client's port", () => {
  const pulse = new Pulse(0);
  pulse.look(0, { received: 0, checks: 0, expected: true });
  for (let at = 500; at <= 3_000; at += 500) pulse.look(at, { received: 5_000, checks: at, expected: true });
  assert.equal(pulse.quiet(3_000), true);
  assert.equal(pulse.signs, 1);
});

test("what a sleeping page has missed says nothing, a short silence after it does", () => {
  const pulse = new Pulse(0);
  looks(pulse, 0, 2_000, (at) => at);
  const awake = 2_000 + ASLEEP_MS + 1;
  pulse.look(awake, media(2_000));
  assert.equal(pulse.quiet(awake), false);
  assert.equal(pulse.quiet(awake + DOUBT_MS - 1), false);
  assert.equal(pulse.quiet(awake + DOUBT_MS), true);
  // A clock that was set back is no silence either.
  pulse.look(100, media(2_000));
  assert.equal(pulse.quiet(100), false);
});

const report = (...stats: (Partial<Stat> & { id: string; type: string })[]) =>
  new Map(stats.map((stat) => [stat.id, { timestamp: 0, ...stat } as Stat]));

test("a viewer waits for media and reports once some media has come, and not for data channels", () => {
  const pair = { id: "p", type: "candidate-pair", bytesReceived: 700, responsesReceived: 3 };
  assert.deepEqual(viewerVitals(report(pair)), { received: 0, checks: 3, expected: false });
  const inbound = { id: "a", type: "inbound-rtp", bytesReceived: 100 };
  assert.deepEqual(viewerVitals(report(pair, inbound)), { received: 100, checks: 3, expected: true });
  // The artist is silent: only the time of the server's reports goes on.
  const reports = (at: number) => viewerVitals(report(pair, inbound, { id: "r", type: "remote-outbound-rtp", remoteTimestamp: at })).received;
  assert.notEqual(reports(1_000), reports(2_000));
});

test("a publisher waits for reports on what it sends", () => {
  const sent = { id: "o", type: "outbound-rtp", packetsSent: 90 };
  const heard = { id: "r", type: "remote-inbound-rtp", roundTripTimeMeasurements: 4 };
  assert.equal(publisherVitals(report(sent), 0).expected, false, "the server does not report");
  assert.deepEqual(publisherVitals(report(sent, heard), 60), { received: 4, checks: 0, expected: true, sent: 90 });
  assert.equal(publisherVitals(report(sent, heard), 90).expected, false, "nothing was sent");
});
