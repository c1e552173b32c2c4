// A room that talks: serves the built pages and, over a WebSocket, frames as a server's ticks bring them.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { WebSocketServer } from 'ws';
import { ROOT } from './flags.mjs';

const DIST = path.join(ROOT, 'web/dist');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const NAMES = ['미나', 'Sora', '하늘빛', 'leo_k', 'Ana', '달토끼', 'Yuki', '팬클럽장', 'mika', '준', 'Ольга', 'مريم'];
const TEXTS = [
  '오늘 무대 최고!! :wave:', 'I love this song so much', '언니 너무 예뻐요', '@미나 hello from Brazil!!', 'ㅋㅋㅋㅋㅋㅋㅋ', ':love::love::love:',
  '이 부분 진짜 소름 돋는다 어떻게 이렇게 잘하지', 'encore encore encore', 'مرحبا بكم في العرض', 'first time here, hi everyone',
  'A longer message that goes on to see how it wraps over more than one line beside the picture, as some messages do.',
];
const FACE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><circle cx="20" cy="20" r="18" fill="#ffc06b"/></svg>';

/** The protocol as the pages speak it, with the tools that build them. */
async function protocol() {
  const require = createRequire(path.join(ROOT, 'web/package.json'));
  const { build } = await import(pathToFileURL(require.resolve('esbuild')).href);
  const { outputFiles } = await build({
    entryPoints: [path.join(ROOT, 'web/src/chat/generated/chat.ts')], bundle: true, format: 'esm', platform: 'node', write: false,
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}

export class Chatter {
  /** @param {{ tick: number }} options `tick`: milliseconds between two batches */
  static async open({ tick }) {
    const own = new Chatter();
    own.tick = tick;
    own.protocol = await protocol();
    own.clients = new Set();
    own.offset = 0;
    own.sent = { messages: 0, reactions: 0 };
    own.http = createServer((request, response) => void own.#serve(request, response));
    own.sockets = new WebSocketServer({ server: own.http, handleProtocols: (offered) => [...offered][0] });
    own.sockets.on('connection', (socket) => own.#connect(socket));
    await new Promise((done) => own.http.listen(0, '127.0.0.1', done));
    own.base = `http://127.0.0.1:${own.http.address().port}`;
    return own;
  }

  /** Talks at these rates a second, until the returned function is called. */
  talk({ messages, reactions }) {
    const started = performance.now();
    const before = { ...this.sent };
    const timer = setInterval(() => {
      const seconds = (performance.now() - started) / 1_000;
      this.#say(Math.floor(seconds * messages) - (this.sent.messages - before.messages),
        Math.floor(seconds * reactions) - (this.sent.reactions - before.reactions));
    }, this.tick);
    return () => clearInterval(timer);
  }

  async close() {
    for (const socket of this.clients) socket.terminate();
    this.sockets.close();
    await new Promise((done) => this.http.close(done));
  }

  #say(messages, reactions) {
    const entries = Array.from({ length: messages }, () => ({ entry: { $case: 'message', value: this.#message() } }));
    const batch = { $case: 'batch', value: { firstOffset: BigInt(this.offset + 1), entries, skipped: 0 } };
    const hearts = Math.round(reactions * 0.9);
    const effects = { $case: 'effects', value: {
      reactions: [{ kind: 'heart', count: hearts }, { kind: 'wave', count: reactions - hearts }].filter(({ count }) => count > 0),
      present: 100_000 + this.offset % 100, votes: [], names: [],
    } };
    this.offset += messages;
    this.sent.messages += messages;
    this.sent.reactions += reactions;
    const frame = this.#frame(...(messages > 0 ? [batch] : []), effects);
    for (const client of this.clients) client.send(frame);
  }

  #message() {
    const number = (this.number = (this.number ?? 0) + 1);
    const who = (number * 5) % NAMES.length;
    return {
      id: BigInt(number), author: { user: `u${who}`, name: NAMES[who], role: number % 9 === 0 ? 1 : 0 }, text: TEXTS[(number * 7) % TEXTS.length],
      atMs: BigInt(Date.now()), mentions: [],
      reply: number % 10 === 0 ? { id: 1n, user: 'u1', name: 'Sora', excerpt: 'what was said a moment ago' } : undefined,
      // A gift now and then: a card, and confetti with the largest.
      paid: number % 200 === 0 ? { amount: 50_000n, currency: 'KRW', tier: 1 + (number / 200) % 7, pinSeconds: 10 } : undefined,
    };
  }

  #frame(...parts) {
    return this.protocol.ServerFrame.encode({ parts: parts.map((part) => ({ part })) }).finish();
  }

  #connect(socket) {
    socket.on('close', () => this.clients.delete(socket));
    socket.on('message', (data) => {
      if (this.protocol.ClientFrame.decode(data).frame?.$case !== 'hello') return;
      const emotes = ['wave', 'love'].map((name) => ({ name, url: `/assets/${name}.face.svg` }));
      socket.send(this.#frame(
        { $case: 'welcome', value: {
          position: { epoch: 1n, offset: BigInt(this.offset) }, recovered: false, you: { user: 'me', name: 'Me', role: 1 },
          may: { write: true, moderate: false, moderateAll: false, caption: false }, nowMs: BigInt(Date.now()),
        } },
        { $case: 'snapshot', value: {
          settings: { slowSeconds: 0, membersOnly: false, emoteOnly: false, uniqueOnly: false, linksOff: false, muted: false, shield: false, hold: 0, blockedTerms: [], emotes },
          messages: [], highlighted: [], present: 100_000,
        } },
      ));
      this.clients.add(socket);
    });
  }

  async #serve({ url }, response) {
    const name = url.startsWith('/watch/') ? '/watch.html' : url;
    if (name.endsWith('.face.svg')) return void response.writeHead(200, { 'content-type': TYPES['.svg'] }).end(FACE);
    const file = path.join(DIST, path.normalize(name));
    try {
      if (!file.startsWith(DIST + path.sep)) throw new Error('outside');
      const content = await readFile(file);
      response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  }
}
