import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { Chatter } from '../lib/chatter.mjs';
import { ROOT } from '../lib/flags.mjs';

// The protocol is compiled by the tools that build the pages.
const skip = !existsSync(path.join(ROOT, 'web/node_modules/esbuild')) && 'web/ is not installed';

test('the room talks at the rates that it was told, and no place is left out', { skip }, async () => {
  const chatter = await Chatter.open({ tick: 10 });
  const { ServerFrame, ClientFrame } = chatter.protocol;
  const socket = new WebSocket(chatter.base.replace('http', 'ws'), 'lightstick.chat.v1');
  socket.binaryType = 'nodebuffer';
  try {
    await once(socket, 'open');
    const frames = [];
    const seen = { messages: 0, reactions: 0 };
    const enough = new Promise((done) => socket.on('message', (data) => {
      const { parts } = ServerFrame.decode(data);
      frames.push(parts);
      for (const { part } of parts) {
        if (part.$case === 'batch') {
          assert.equal(Number(part.value.firstOffset), seen.messages + 1);
          seen.messages += part.value.entries.length;
        }
        if (part.$case === 'effects') seen.reactions += part.value.reactions.reduce((sum, { count }) => sum + count, 0);
      }
      if (seen.messages >= 20) done();
    }));
    socket.send(ClientFrame.encode({ frame: { $case: 'hello', value: { token: '' } } }).finish());
    const [first] = await once(socket, 'message');
    assert.deepEqual(ServerFrame.decode(first).parts.map(({ part }) => part.$case), ['welcome', 'snapshot']);
    const hush = chatter.talk({ messages: 100, reactions: 1_000 });
    await enough;
    hush();
    // More may be on its way already.
    assert.ok(seen.messages <= chatter.sent.messages);
    assert.ok(Math.abs(seen.reactions - 10 * seen.messages) <= 10, `${seen.reactions} reactions beside ${seen.messages} messages`);
  } finally {
    socket.terminate();
    await chatter.close();
  }
});
