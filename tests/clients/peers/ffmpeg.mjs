// FFmpeg's whip muxer: encodes a test picture and a tone, and publishes them.
// ffmpeg.mjs publish --binary FFMPEG --url URL --token T [--seconds N]
import { spawn } from 'node:child_process';
import readline from 'node:readline';
import { parseArgs } from 'node:util';
import { say, toldToStop } from './lib/say.mjs';

const { values: args } = parseArgs({
  allowPositionals: true,
  options: { binary: { type: 'string' }, url: { type: 'string' }, token: { type: 'string' } },
});

const child = spawn(args.binary, [
  '-hide_banner', '-nostats', '-loglevel', 'level+verbose',
  '-re', '-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=30',
  '-re', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000',
  '-c:v', 'libx264', '-profile:v', 'baseline', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '30', '-b:v', '300k',
  '-pix_fmt', 'yuv420p', '-c:a', 'libopus', '-ac', '2', '-ar', '48000', '-b:a', '64k',
  '-f', 'whip', '-authorization', args.token, args.url,
], { stdio: ['pipe', 'ignore', 'pipe'] });
const ended = new Promise((done) => child.once('close', (code) => done(code)));

/** The muxer's own clock: "elapsed=12.30ms(init:0.10,offer:0.50,answer:5.20,...)", each part since the one before. */
function tookOf(line) {
  const times = /elapsed=([\d.]+)ms\(init:([\d.]+),offer:([\d.]+)/.exec(line);
  return times && { total: Number(times[1]), before: Number(times[2]) + Number(times[3]) };
}

readline.createInterface({ input: child.stderr }).on('line', (line) => {
  process.stderr.write(`${line}\n`);
  const took = tookOf(line);
  if (!took) return;
  if (/SRTP setup done|Muxer state=\d+.*srtp:/.test(line)) {
    const now = Date.now();
    say({ event: 'posted', at: now - (took.total - took.before) });
    say({ event: 'state', at: now, state: 'connected' });
    say({ event: 'joined' });
  }
});

const code = await Promise.race([toldToStop, ended]);
if (code !== undefined) {
  say({ event: 'ended', code });
  process.exit(1);
}
child.stdin.end('q');
await ended;
// It deletes its session, but says so to nobody.
say({ event: 'left' });
