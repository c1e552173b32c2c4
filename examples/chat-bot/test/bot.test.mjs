import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";

import { Chat, Refused } from "../src/chat.mjs";
import { Model } from "../src/model.mjs";
import { Persona, shortened } from "../src/persona.mjs";
import { lightstick, line, openai } from "./support.mjs";

async function join(t, base, token) {
  const chat = new Chat({ base, room: "stage", token, retryMs: 5, retryMaxMs: 20 });
  t.after(() => chat.stop());
  const welcome = once(chat, "welcome");
  chat.start();
  await welcome;
  return chat;
}

/** The next message of a user. */
function heard(chat, user) {
  return new Promise((resolve) => {
    const listen = (message) => {
      if (message.author.user !== user) return;
      chat.off("message", listen);
      resolve(message);
    };
    chat.on("message", listen);
  });
}

async function stage(t, answer, { streams, room, everyMs = 0, via = (base) => base } = {}) {
  const server = await lightstick(t, room);
  const ai = await openai(t, answer, { streams });
  const fan = await join(t, server.base, await server.token("--name", "mina", "--chat"));
  const bot = await join(t, await via(server.base), await server.token("--name", "byeol", "--chat", "--role", "bot"));
  const log = [];
  const model = new Model({ base: ai.base, key: "secret", model: "tiny", stream: streams !== undefined });
  const persona = new Persona({ chat: bot, model, everyMs, log: (text) => log.push(text) });
  t.after(() => persona.stop());
  return { server, ai, fan, bot, log };
}

for (const [how, streams] of [["whole", undefined], ["streamed", true], ["whole though a stream was asked for", false]]) {
  test(`a mention is answered with what the model says, ${how}`, { timeout: 60_000 }, async (t) => {
    const { ai, fan, bot } = await stage(t, () => "안녕! I am\n an AI 💜", { streams });
    assert.equal(bot.you.role, "ROLE_BOT");
    const answer = heard(fan, "byeol");
    await fan.send("nobody in particular");
    const { id } = await fan.send("@byeol who are you?");
    const { text, reply, author } = await answer;
    assert.deepEqual([text, reply.id, author.role], ["안녕! I am an AI 💜", id, "ROLE_BOT"]);
    assert.equal(ai.requests.length, 1);
    const [{ url, key, model, messages }] = ai.requests;
    assert.deepEqual([url, key, model], ["/v1/chat/completions", "Bearer secret", "tiny"]);
    assert.equal(messages[0].role, "system");
    assert.deepEqual(messages.slice(1).map(({ content }) => content), ["mina: nobody in particular", "mina: @byeol who are you?"]);
  });
}

test("a reply to the bot is a question too, and a broken model ends nothing", { timeout: 60_000 }, async (t) => {
  const { fan, log } = await stage(t, (_, count) => (count === 2 ? undefined : `answer ${count}`));
  let answer = heard(fan, "byeol");
  await fan.send("@byeol one");
  const first = await answer;
  answer = heard(fan, "byeol");
  await fan.send("two, which fails", first.id);
  await fan.send("three", first.id);
  assert.equal((await answer).text, "answer 3");
  assert.deepEqual(log, ["no answer: the model's server says 500"]);
});

test("it keeps to the limit that the server names", { timeout: 60_000 }, async (t) => {
  // A chat that refuses as a test wants: with the real one this would depend on the machine's speed.
  const chat = Object.assign(new EventEmitter(), { you: { user: "byeol" } });
  const refusals = [new Refused("rate_limited", 30), new Refused("muted", 0), undefined];
  const [sent, log] = [[], []];
  const ended = new Promise((resolve) => {
    chat.send = async (text) => {
      sent.push([text, performance.now()]);
      if (sent.length === 3) resolve();
      const refused = refusals.shift();
      if (refused) throw refused;
    };
  });
  const ai = await openai(t, (_, count) => `answer ${count}`);
  const persona = new Persona({ chat, model: new Model({ base: ai.base, model: "tiny" }), everyMs: 0, log: (text) => log.push(text) });
  t.after(() => persona.stop());
  for (const id of ["1", "2"]) chat.emit("message", { id, author: { user: "mina", name: "Mina" }, text: "@byeol", mentions: ["byeol"] }, false);
  // Of a bot, and one that came already: neither is answered.
  chat.emit("message", { id: "3", author: { user: "other", role: "ROLE_BOT" }, text: "@byeol", mentions: ["byeol"] }, false);
  chat.emit("message", { id: "2", author: { user: "mina", name: "Mina" }, text: "@byeol", mentions: ["byeol"] }, true);
  await ended;
  assert.deepEqual(sent.map(([text]) => text), ["answer 1", "answer 1", "answer 2"]);
  assert.ok(sent[1][1] - sent[0][1] >= 29, "it waited as it was told");
  // What is refused for good is not sent again.
  assert.deepEqual(log, ["no answer: muted"]);
  assert.equal(ai.requests.length, 2);
});

test("it comes back, and answers what was asked while it was away", { timeout: 60_000 }, async (t) => {
  let wire;
  const via = async (base) => (wire = await line(t, base)).base;
  const { fan, bot } = await stage(t, (messages) => `to ${messages.at(-1).content.slice(-1)}`, { via });
  let answer = heard(fan, "byeol");
  await fan.send("@byeol 1");
  await answer;
  wire.cut();
  answer = heard(fan, "byeol");
  await fan.send("@byeol 2");
  const welcome = once(bot, "welcome");
  wire.mend();
  assert.equal((await welcome)[0].recovered, true);
  assert.equal((await answer).text, "to 2");
});

test("a token that is not taken is the end of it", { timeout: 60_000 }, async (t) => {
  const { base } = await lightstick(t);
  const chat = new Chat({ base, room: "stage", token: "nonsense", retryMs: 1 });
  t.after(() => chat.stop());
  const failed = once(chat, "failed");
  chat.start();
  assert.match((await failed)[0].message, /token_malformed/);
});

test("answers are short lines and no commands", () => {
  for (const [text, expected] of [["  a\n\nb ", "a b"], ["/ban mina", "ban mina"], ["", ""], ["💜".repeat(400), `${"💜".repeat(299)}…`]]) {
    assert.equal(shortened(text), expected);
  }
});
