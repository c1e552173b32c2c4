// Any endpoint that speaks the OpenAI chat-completions protocol.

/** Longest answer that is read, in characters. */
const ANSWER_MAX = 64 * 1024;

export class Model {
  constructor({ base, key, model, stream = true, timeoutMs = 20_000 }) {
    this.url = `${base.replace(/\/+$/, "")}/chat/completions`;
    Object.assign(this, { key, model, stream, timeoutMs });
  }

  /** The text that the model says to these messages. */
  async complete(messages) {
    const response = await fetch(this.url, {
      method: "POST",
      headers: { "content-type": "application/json", ...(this.key && { authorization: `Bearer ${this.key}` }) },
      body: JSON.stringify({ model: this.model, messages, stream: this.stream, max_tokens: 200 }),
      signal: AbortSignal.timeout(this.timeoutMs),
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`the model's server says ${response.status}`);
    }
    // Some servers answer whole where a stream was asked for.
    if (response.headers.get("content-type")?.startsWith("text/event-stream")) return streamed(response.body);
    const { choices } = await response.json();
    return choices?.[0]?.message?.content ?? "";
  }
}

/** Joins the deltas of server-sent events. */
async function streamed(body) {
  let [text, buffer] = ["", ""];
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    buffer += chunk;
    if (buffer.length + text.length > ANSWER_MAX) throw new Error("the model says too much");
    const lines = buffer.split(/\r?\n/);
    buffer = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return text;
      text += JSON.parse(data).choices?.[0]?.delta?.content ?? "";
    }
  }
  return text;
}
