import assert from "node:assert/strict";
import { test } from "node:test";
import { REL_EVENTS, REL_LAYER, iceServers, linkTarget, parseLinks } from "../src/client/link.ts";

const BASE = "https://live.example/whep/stage/s1";

test("the extensions of a viewer's session", () => {
  const links = parseLinks(
    `</whep/stage/s1/events>; rel="${REL_EVENTS}"; events="active,inactive,layers,viewercount,reconnect", ` +
      `</whep/stage/s1/layer>; rel="${REL_LAYER}"`,
  );
  assert.equal(linkTarget(links, REL_EVENTS, BASE), "https://live.example/whep/stage/s1/events");
  assert.equal(linkTarget(links, REL_LAYER, BASE), "https://live.example/whep/stage/s1/layer");
  assert.equal(links[0]?.params.get("events"), "active,inactive,layers,viewercount,reconnect");
  assert.equal(linkTarget(links, "next", BASE), undefined);
});

test("ICE servers with credentials", () => {
  const links = parseLinks(
    '<stun:stun.example:3478>; rel="ice-server", ' +
      '<turn:turn.example?transport=udp>; rel="ice-server"; username="1700000000:fan"; credential="a;b,\\"c\\\\"; credential-type="password"',
  );
  assert.deepEqual(iceServers(links), [
    { urls: "stun:stun.example:3478" },
    { urls: "turn:turn.example?transport=udp", username: "1700000000:fan", credential: 'a;b,"c\\' },
  ]);
});

for (const [what, header, targets] of [
  ["no header", null, []],
  ["an empty one", "", []],
  ["junk", "junk; rel=x", []],
  ["a target that never ends", "<a>; rel=x, <b", ["a"]],
  ["a quoted string that never ends", '<a>; rel="x', ["a"]],
  ["commas inside a target", "<a,b;c>; rel=x,<d>;rel=y", ["a,b;c", "d"]],
  ["several relations, bare values, odd spaces", '<a> ;\trel = "x y" ; flag ,, <b>', ["a", "b"]],
] as const) {
  test(`reads ${what}`, () => {
    assert.deepEqual(parseLinks(header).map(({ target }) => target), targets);
  });
}

test("relations are words, names have no case, and the first of two parameters counts", () => {
  const [link] = parseLinks('<a>; REL="x  y"; rel="z"; Title=t');
  assert.deepEqual(link?.rel, ["x", "y"]);
  assert.equal(link?.params.get("title"), "t");
});

test("a target that is no URL is no target", () => {
  assert.equal(linkTarget(parseLinks("<http://[>; rel=x"), "x", BASE), undefined);
});
