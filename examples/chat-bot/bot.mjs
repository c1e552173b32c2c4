// See README.md. Everything is set by the environment.

import { Chat } from "./src/chat.mjs";
import { Model } from "./src/model.mjs";
import { PERSONA, Persona } from "./src/persona.mjs";

const { env } = process;
const log = (text) => console.error(new Date().toISOString(), text);

function need(name) {
  if (env[name]) return env[name];
  console.error(`set ${name}; see README.md`);
  process.exit(2);
}

const chat = new Chat({
  base: env.LIGHTSTICK_URL ?? "http://127.0.0.1:8080",
  room: env.LIGHTSTICK_ROOM ?? "demo",
  token: env.LIGHTSTICK_TOKEN,
});
const model = new Model({
  base: need("OPENAI_BASE_URL"),
  key: env.OPENAI_API_KEY,
  model: need("OPENAI_MODEL"),
  stream: env.OPENAI_STREAM !== "0",
});
const persona = new Persona({ chat, model, persona: env.BOT_PERSONA ?? PERSONA, log });
chat.on("welcome", ({ you, recovered }) => log(`here as ${you.name}${recovered ? ", nothing missed" : ""}`));
chat.on("failed", (error) => {
  log(error.message);
  process.exitCode = 1;
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => (persona.stop(), chat.stop()));
chat.start();
