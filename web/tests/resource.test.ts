import assert from "node:assert/strict";
import { test } from "node:test";
import { ProblemError } from "../src/client/problem.ts";
import { SessionResource, type Fetch } from "../src/client/resource.ts";

const ENDPOINT = { url: "http://live.example/whip/stage", token: "t0k" };

interface Call {
  readonly url: string;
  readonly method: string | undefined;
  readonly headers: Record<string, string>;
  readonly body: unknown;
  readonly keepalive: boolean | undefined;
}

/** A network that gives prepared answers and keeps what was asked. */
function network(...answers: (Response | Error)[]): { fetch: Fetch; calls: Call[] } {
  const calls: Call[] = [];
  const fetch: Fetch = async (url, init) => {
    calls.push({ url, method: init.method, headers: init.headers as Record<string, string>, body: init.body, keepalive: init.keepalive });
    const answer = answers.shift();
    if (!answer) throw new Error(`nothing was prepared for ${init.method} ${url}`);
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { fetch, calls };
}

const created = (headers: Record<string, string> = {}) =>
  new Response("the answer", { status: 201, headers: { location: "/whip/stage/s1", etag: '"one"', ...headers } });
const create = (fetch: Fetch, token: string | undefined = ENDPOINT.token) =>
  SessionResource.create(fetch, { ...ENDPOINT, token }, "the offer", new AbortController().signal);
const problem = (status: number, code: string) => (error: unknown) =>
  error instanceof ProblemError && error.status === status && error.code === code;

test("a session is made by POST, found by Location, guarded by ETag, ended by DELETE", async () => {
  const { fetch, calls } = network(
    created({ link: '<stun:s>; rel="ice-server"' }),
    new Response(null, { status: 204 }),
    new Response("fragment", { status: 200, headers: { etag: '"two"' } }),
    new Response(null, { status: 204 }),
    new Response(null, { status: 200 }),
  );
  const session = await create(fetch);
  assert.deepEqual([session.url, session.answer], ["http://live.example/whip/stage/s1", "the answer"]);
  assert.deepEqual(session.iceServers, [{ urls: "stun:s" }]);
  await session.trickle("candidates");
  assert.equal(await session.restart("credentials", new AbortController().signal), "fragment");
  await session.trickle("more candidates");
  await session.delete(true);

  const [post, first, restart, second, end] = calls;
  assert.deepEqual([post?.method, post?.url, post?.body], ["POST", ENDPOINT.url, "the offer"]);
  assert.equal(post?.headers["content-type"], "application/sdp");
  assert.equal(post?.headers["authorization"], "Bearer t0k");
  assert.deepEqual([first?.method, first?.headers["if-match"], first?.body], ["PATCH", '"one"', "candidates"]);
  assert.equal(first?.headers["content-type"], "application/trickle-ice-sdpfrag");
  assert.deepEqual([restart?.headers["if-match"], second?.headers["if-match"]], ["*", '"two"']);
  assert.deepEqual([end?.method, end?.url, end?.keepalive], ["DELETE", session.url, true]);
  assert.equal(end?.headers["authorization"], "Bearer t0k");
});

test("without a token no header is sent", async () => {
  const { fetch, calls } = network(created());
  await SessionResource.create(fetch, { url: ENDPOINT.url, token: undefined }, "o", new AbortController().signal);
  assert.ok(!("authorization" in (calls[0]?.headers ?? {})));
});

test("a weak ETag guards nothing: candidates then go to whatever session there is", async () => {
  const { fetch, calls } = network(created({ etag: 'W/"one"' }), new Response(null, { status: 204 }));
  await (await create(fetch)).trickle("c");
  assert.equal(calls[1]?.headers["if-match"], "*");
});

test("refusals, silence and nonsense are problems", async () => {
  const busy = new Response('{"code":"room_busy"}', { status: 409, headers: { "content-type": "application/problem+json" } });
  await assert.rejects(create(network(busy).fetch), problem(409, "room_busy"));
  await assert.rejects(create(network(new TypeError("failed to fetch")).fetch), problem(0, "network"));
  await assert.rejects(create(network(new Response("ok", { status: 200 })).fetch), problem(200, "bad_answer"));
  await assert.rejects(create(network(new Response("sdp", { status: 201 })).fetch), problem(201, "bad_answer"));
  const restarted = await create(network(created(), new Response(null, { status: 204 })).fetch);
  await assert.rejects(restarted.restart("f", new AbortController().signal), problem(204, "bad_answer"));
});

test("an abort stays an abort", async () => {
  const abort = new AbortController();
  abort.abort();
  const gone = new DOMException("gone", "AbortError");
  await assert.rejects(
    SessionResource.create(network(gone).fetch, ENDPOINT, "o", abort.signal),
    (error: unknown) => error === gone,
  );
});

test("the end of a session never fails", async () => {
  const session = await create(network(created(), new TypeError("offline")).fetch);
  await session.delete(false);
});
