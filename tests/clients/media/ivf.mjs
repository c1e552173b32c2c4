// Puts the access units of an H.264 stream in Annex B form, from standard input, into IVF: one slice a picture.
import { readFileSync } from 'node:fs';

const RATE = 30;
const stream = readFileSync(0);
const units = [];
let begin = 0;
for (let i = 0; i + 3 < stream.length; i += 1) {
  if (stream[i] !== 0 || stream[i + 1] !== 0 || stream[i + 2] !== 1) continue;
  const start = stream[i - 1] === 0 ? i - 1 : i;
  units.push(stream.subarray(begin, start));
  begin = start;
  i += 2;
}
units.push(stream.subarray(begin));

const frames = [[]];
for (const unit of units.filter(({ length }) => length > 0)) {
  frames.at(-1).push(unit);
  if ([1, 5].includes(unit[unit.indexOf(1) + 1] & 31)) frames.push([]);
}
frames.pop();

const header = Buffer.alloc(32);
header.write('DKIF');
header.writeUInt16LE(32, 6);
header.write('H264', 8);
header.writeUInt16LE(320, 12);
header.writeUInt16LE(180, 14);
header.writeUInt32LE(RATE, 16);
header.writeUInt32LE(1, 20);
header.writeUInt32LE(frames.length, 24);
process.stdout.write(Buffer.concat([header, ...frames.flatMap((parts, n) => {
  const frame = Buffer.concat(parts);
  const head = Buffer.alloc(12);
  head.writeUInt32LE(frame.length);
  head.writeUInt32LE(n, 4);
  return [head, frame];
})]));
