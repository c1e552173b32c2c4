// The real server, a model's server of our own, and a line that can be cut.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const BINARY = process.env.LIGHTSTICK_BIN ?? fileURLToPath(new URL("../../../target/debug/lightstick", import.meta.url));

/** Starts Lightstick with a key of its own. `room` are settings of [chat.room]. */
export async function lightstick(t, room = {}) {
  const folder = await mkdtemp(join(tmpdir(), "lightstick-bot-"));
  const config = join(folder, "lightstick.toml");
  const settings = Object.entries(room).map(([key, value]) => `${key} = ${value}`).join("\n");
  await writeFile(config, `
[http]
bind = "127.0.0.1:0"
[operations]
bind = "127.0.0.1:0"
[media]
port = 0
shards = 1
bind = ["127.0.0.1"]
[auth.keys.test]
secret = "0123456789abcdef0123456789abcdef"
[signaling]
watch_open = true
[chat.archive]
data_dir = "${folder}/chat"
[chat.room]
${settings}
`);
  const child = spawn(BINARY, ["--config", config, "serve"], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(async () => {
    child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });
  let base;
  for await (const line of createInterface({ input: child.stdout })) {
    base = /Studio:\s+(http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1];
    if (base) break;
  }
  const token = async (...flags) => {
    const { stdout } = await promisify(execFile)(BINARY, ["--config", config, "token", "--room", "stage", ...flags]);
    return stdout.trim();
  };
  return { base, token };
}

/** Speaks the chat-completions protocol. `answer` is given the messages. */
export async function openai(t, answer, { streams = true } = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const asked = JSON.parse(body);
    requests.push({ url: request.url, key: request.headers.authorization, ...asked });
    const content = await answer(asked.messages, requests.length);
    if (content === undefined) return void response.writeHead(500).end();
    if (!streams || !asked.stream) {
      const whole = { choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }] };
      return void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(whole));
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const chunk = (delta, finish = null) =>
      `data: ${JSON.stringify({ object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
    const whole = Buffer.from([chunk({ role: "assistant" }), ...[...content].map((c) => chunk({ content: c })),
      chunk({}, "stop"), "data: [DONE]\n\n"].join(""));
    // Cut where no event and no character ends.
    for (let at = 0; at < whole.length; at += 7) response.write(whole.subarray(at, at + 7));
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => (server.closeAllConnections(), server.close()));
  return { base: `http://127.0.0.1:${server.address().port}/v1`, requests };
}

/** A line to a server that can be cut and mended. */
export async function line(t, base) {
  const target = new URL(base);
  const open = new Set();
  let up = true;
  const server = net.createServer((near) => {
    if (!up) return void near.destroy();
    const far = net.connect(target.port, target.hostname);
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on("error", () => {}).on("close", () => (open.delete(socket), near.destroy(), far.destroy()));
    }
    near.pipe(far).pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => ((up = false), open.forEach((socket) => socket.destroy()));
  t.after(() => (cut(), server.close()));
  return { base: `http://127.0.0.1:${server.address().port}`, cut, mend: () => (up = true) };
}
