import assert from "node:assert/strict";
import { test } from "node:test";
import { buildFragment, iceDetails, restartedAnswer } from "../src/client/sdpfrag.ts";

const lines = (...all: string[]) => `${all.join("\r\n")}\r\n`;

const OFFER = lines(
  "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901",
  "a=candidate:1 1 udp 1 10.0.0.1 5000 typ host", "a=mid:0", "a=sendonly",
  "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901", "a=mid:1",
);

test("a fragment names the bundle, the first section, the credentials and the candidates", () => {
  const candidates = ["candidate:2 1 udp 2 10.0.0.1 6000 typ host", "a=candidate:3 1 tcp 3 10.0.0.1 9 typ host tcptype active"];
  assert.equal(
    buildFragment(OFFER, candidates, true),
    lines(
      "a=group:BUNDLE 0 1", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0",
      "a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901",
      "a=candidate:2 1 udp 2 10.0.0.1 6000 typ host",
      "a=candidate:3 1 tcp 3 10.0.0.1 9 typ host tcptype active",
      "a=end-of-candidates",
    ),
  );
});

test("a restart's fragment has no candidates", () => {
  const fragment = buildFragment(OFFER, [], false);
  assert.ok(!fragment.includes("candidate"), fragment);
  assert.deepEqual(iceDetails(fragment), { ufrag: "abcd", pwd: "0123456789012345678901", candidates: [], endOfCandidates: false });
});

const ANSWER = lines(
  "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=ice-lite",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=ice-ufrag:old", "a=ice-pwd:oldoldoldoldoldoldoldold",
  "a=candidate:1 1 udp 1 192.0.2.1 7700 typ host", "a=end-of-candidates", "a=fingerprint:sha-256 AA",
  "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:1", "a=ice-ufrag:old", "a=ice-pwd:oldoldoldoldoldoldoldold",
  "a=fingerprint:sha-256 AA",
);

test("the answer to a restart is the old one with new credentials and candidates", () => {
  const fragment = lines(
    "a=ice-lite", "a=ice-ufrag:new", "a=ice-pwd:newnewnewnewnewnewnewnew",
    "a=candidate:9 1 udp 1 192.0.2.1 7701 typ host", "a=end-of-candidates",
  );
  assert.equal(
    restartedAnswer(ANSWER, fragment),
    lines(
      "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=ice-lite",
      "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=ice-ufrag:new", "a=ice-pwd:newnewnewnewnewnewnewnew",
      "a=fingerprint:sha-256 AA", "a=candidate:9 1 udp 1 192.0.2.1 7701 typ host", "a=end-of-candidates",
      "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:1", "a=ice-ufrag:new", "a=ice-pwd:newnewnewnewnewnewnewnew",
      "a=fingerprint:sha-256 AA",
    ),
  );
});

test("an answer of one section keeps its candidates in it", () => {
  const single = ANSWER.slice(0, ANSWER.indexOf("m=video"));
  const restarted = restartedAnswer(single, lines("a=ice-ufrag:n", "a=ice-pwd:p", "a=candidate:9 x"));
  assert.deepEqual(iceDetails(restarted), { ufrag: "n", pwd: "p", candidates: ["candidate:9 x"], endOfCandidates: false });
});

test("a fragment without credentials is refused", () => {
  for (const fragment of ["", lines("a=ice-ufrag:n"), lines("a=ice-pwd:p"), "<html>"]) {
    assert.throws(() => restartedAnswer(ANSWER, fragment), /credentials/);
  }
});
