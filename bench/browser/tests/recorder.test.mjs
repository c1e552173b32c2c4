import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../page/recorder.js';

test('a clip is IVF: a header, and each frame behind its length and number', () => {
  const frames = [Uint8Array.of(1, 2, 3), Uint8Array.of(4)];
  const file = Buffer.from(recorder.ivf('VP80', { width: 1280, height: 720, fps: 30 }, frames));
  assert.equal(file.length, 32 + 12 + 3 + 12 + 1);
  assert.equal(file.toString('latin1', 0, 4) + file.toString('latin1', 8, 12), 'DKIFVP80');
  assert.deepEqual([file.readUInt16LE(6), file.readUInt16LE(12), file.readUInt16LE(14)], [32, 1280, 720]);
  assert.deepEqual([file.readUInt32LE(16), file.readUInt32LE(20), file.readUInt32LE(24)], [30, 1, 2]);
  assert.deepEqual([...file.subarray(32, 47)], [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
  assert.deepEqual([...file.subarray(47)], [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4]);
});
