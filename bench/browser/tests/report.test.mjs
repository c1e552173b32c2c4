import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError, readFlags, usage } from '../lib/flags.mjs';
import { randomFrom } from '../lib/random.mjs';
import { circumstances, spread, table } from '../lib/report.mjs';

test('order statistics are values that were seen', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.deepEqual(spread(hundred), { count: 100, min: 1, p50: 50, p95: 95, p99: 99, max: 100 });
  assert.deepEqual(spread([7]), { count: 1, min: 7, p50: 7, p95: 7, p99: 7, max: 7 });
  assert.equal(spread([9, 10, 1]).p50, 9);
  assert.throws(() => spread([]), /nothing was measured/);
});

test('flags are converted by their kind, and mistakes are refused', () => {
  const own = { secs: { kind: 'number', default: 3, help: 'x' }, codecs: { kind: 'list', default: ['VP8'], help: 'x' } };
  assert.equal(readFlags(own, []).secs, 3);
  const read = readFlags(own, ['--secs=1.5', '--codecs', 'VP8,H264', '--url', 'http://a']);
  assert.deepEqual([read.secs, read.codecs, read.url], [1.5, ['VP8', 'H264'], 'http://a']);
  for (const bad of [['--secs=ten'], ['--secs='], ['--secs=-1'], ['--wrong'], ['stray']]) {
    assert.throws(() => readFlags(own, bad), UsageError, bad.join(' '));
  }
  assert.match(usage('Why.', 's.mjs', own), /--secs N +x \[3\]\n/);
});

test('the table names command, machine and date, and never a token', () => {
  const where = circumstances({ browser: '1', server: 's' }, ['node', 'x.mjs', '--token', 'secret', '--watch-token=secret', '--secs', '1']);
  const rows = table([{ figure: 'a|b', target: '<= 1', measured: '2 ms' }], where);
  assert.match(rows, /\| a\\\|b \| <= 1 \| 2 ms \| `node .*--token \.\.\. --watch-token=\.\.\. --secs 1`/);
  assert.doesNotMatch(rows, /secret/);
  assert.equal(rows.split('\n').length, 3);
});

test('random moments come again with their seed', () => {
  const [a, b] = [randomFrom(1), randomFrom(1)];
  const drawn = Array.from({ length: 1_000 }, a);
  assert.deepEqual(drawn, Array.from({ length: 1_000 }, b));
  assert.ok(drawn.every((x) => x >= 0 && x < 1) && new Set(drawn).size > 990);
});
