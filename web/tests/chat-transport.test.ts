import assert from "node:assert/strict";
import { test } from "node:test";
import { overSocket } from "../src/chat/transport.ts";
import { settled } from "./clock.ts";

class FakeSocket extends EventTarget {
  static readonly OPEN = 1;
  static readonly all: FakeSocket[] = [];
  readonly readyState = 0;
  binaryType = "";

  constructor(readonly url: string) {
    super();
    FakeSocket.all.push(this);
  }

  close(): void {}

  end(code: number, reason = ""): void {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }
}
Object.assign(globalThis, { WebSocket: FakeSocket });

/** Sockets to one server that answers plain requests like this, and what was asked and heard. */
function setUp(answer: () => Response) {
  const asked: string[] = [];
  globalThis.fetch = async (url) => {
    asked.push(String(url));
    return answer();
  };
  const heard: (string | undefined)[] = [];
  const openSocket = overSocket("wss://live.example/chat/stage");
  const open = () => {
    const transport = openSocket({ onOpen: () => {}, onFrame: () => {}, onClose: (refused) => heard.push(refused) });
    return { transport, socket: FakeSocket.all.at(-1) ?? assert.fail("no socket") };
  };
  return { asked, heard, open };
}

const problem = (status: number, code: string) => () =>
  new Response(JSON.stringify({ code }), { status, headers: { "content-type": "application/problem+json" } });

test("where no socket opens, the server says whether it has a chat", async () => {
  const { asked, heard, open } = setUp(problem(404, "chat_off"));
  open().socket.end(1_006);
  await settled();
  assert.deepEqual([asked, heard], [["https://live.example/chat/stage"], ["chat_off"]]);
});

for (const [what, answer] of [
  ["that a socket is wanted", problem(400, "malformed_request")],
  ["that it is overloaded", problem(503, "draining")],
  ["nothing of ours", () => new Response("not found", { status: 404 })],
  ["nothing at all", () => { throw new TypeError("failed to fetch"); }],
] as const) {
  test(`a server that says ${what} may have a chat later`, async () => {
    const { heard, open } = setUp(answer);
    open().socket.end(1_006);
    await settled();
    assert.deepEqual(heard, [undefined]);
  });
}

test("whoever was in the chat does not ask whether there is one", async () => {
  const { asked, heard, open } = setUp(problem(404, "chat_off"));
  open().socket.dispatchEvent(new Event("open"));
  open().socket.end(1_006);
  await settled();
  assert.deepEqual([asked, heard], [[], [undefined]]);
});

test("a token that is refused is the server's word, and a transport that was left says nothing", async () => {
  const { asked, heard, open } = setUp(problem(404, "chat_off"));
  open().socket.end(4_001, "token_expired");
  assert.deepEqual([asked, heard], [[], ["token_expired"]]);
  const { transport, socket } = open();
  socket.end(1_006);
  transport.close();
  await settled();
  assert.deepEqual(heard, ["token_expired"]);
});
