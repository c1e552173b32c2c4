import assert from "node:assert/strict";
import { test } from "node:test";
import { parseShowEvent } from "../src/client/events.ts";

for (const [type, data, wanted] of [
  ["active", "{}", { type: "active" }],
  ["active", "", { type: "active" }],
  ["inactive", '{"reason":"ended"}', { type: "inactive", reason: "ended" }],
  ["inactive", '{"reason":"interrupted"}', { type: "inactive", reason: "interrupted" }],
  ["inactive", '{"reason":"a reason of tomorrow"}', { type: "inactive", reason: "not_started" }],
  ["layers", '{"layers":["low","medium","high"],"current":"high"}', { type: "layers", layers: ["low", "medium", "high"], current: "high" }],
  ["layers", '{"layers":["high","ultra","low"],"current":"ultra"}', { type: "layers", layers: ["low", "high"], current: undefined }],
  ["layers", '{"layers":[],"current":null}', { type: "layers", layers: [], current: undefined }],
  ["layers", "{}", undefined],
  ["tracks", '{"tracks":[{"id":"video-1","layers":["high"]},{"id":"video-2","layers":["low"]},{"id":"video-3","layers":[]}],"main":"video-2"}', { type: "tracks", tracks: [{ id: "video-1", live: true }, { id: "video-2", live: true }, { id: "video-3", live: false }], main: "video-2" }],
  ["tracks", '{"tracks":[null,{},{"id":2}],"main":null}', { type: "tracks", tracks: [], main: undefined }],
  ["tracks", "{}", undefined],
  ["viewercount", '{"viewers":0}', { type: "viewercount", viewers: 0 }],
  ["viewercount", '{"viewers":-1}', undefined],
  ["viewercount", '{"viewers":"7"}', undefined],
  ["reconnect", '{"retryAfterMs":2500}', { type: "reconnect", retryAfterMs: 2_500 }],
  ["reconnect", "{}", { type: "reconnect", retryAfterMs: 2_000 }],
  ["reconnect", '{"retryAfterMs":-1}', { type: "reconnect", retryAfterMs: 2_000 }],
  ["applause", "{}", undefined],
  ["active", "{", undefined],
  ["active", "null", undefined],
] as const) {
  test(`event ${type} ${data}`, () => assert.deepEqual(parseShowEvent(type, data), wanted));
}
