// RTP as encoders send it: H.264 (RFC 6184) and Opus (RFC 7587), with the details in the test's hands.

const FILE_HEADER = 32;
const FRAME_HEADER = 12;

/** The frames of an IVF file. */
function frames(file) {
  const found = [];
  for (let at = FILE_HEADER; at < file.length;) {
    const end = at + FRAME_HEADER + file.readUInt32LE(at);
    found.push(file.subarray(at + FRAME_HEADER, end));
    at = end;
  }
  return found;
}

/** The NAL units of an access unit in Annex B form. */
function units(frame) {
  const found = [];
  let begin = -1;
  for (let i = 0; i + 2 < frame.length; i += 1) {
    if (frame[i] !== 0 || frame[i + 1] !== 0 || frame[i + 2] !== 1) continue;
    // Four bytes of start code are three with a zero before them.
    if (begin >= 0) found.push(frame.subarray(begin, frame[i - 1] === 0 ? i - 1 : i));
    begin = i + 3;
    i += 2;
  }
  return [...found, frame.subarray(begin)];
}

/** The access units of H.264 in an IVF file, each as its NAL units. */
export const accessUnits = (file) => frames(file).map(units);

const isSlice = (unit) => [1, 5].includes(unit[0] & 31);
export const isParameterSet = (unit) => [7, 8].includes(unit[0] & 31);

/** STAP-A of units (RFC 6184, section 5.7.1), with `trailing` zeros that belong to none. */
function aggregate(units, trailing) {
  const nri = Math.max(...units.map((unit) => unit[0] & 0x60));
  const parts = [Buffer.from([nri | 24])];
  for (const unit of units) {
    const size = Buffer.alloc(2);
    size.writeUInt16BE(unit.length);
    parts.push(size, unit);
  }
  return Buffer.concat([...parts, Buffer.alloc(trailing)]);
}

/** FU-A (section 5.8): `size` bytes of the unit in each. */
function fragments(unit, size) {
  const pieces = [];
  for (let from = 1; from < unit.length; from += size) {
    const to = Math.min(unit.length, from + size);
    const flags = (from === 1 ? 0x80 : 0) | (to === unit.length ? 0x40 : 0);
    pieces.push(Buffer.concat([Buffer.from([(unit[0] & 0xe0) | 28, flags | (unit[0] & 31)]), unit.subarray(from, to)]));
  }
  return pieces;
}

/**
 * The payloads of one access unit.
 * @param {Buffer[]} units
 * @param {{ mtu?: number, fragmentAll?: boolean, stapTrailing?: number }} [odd] `fragmentAll`: a slice that fits is
 *   an FU-A with start and end in one; `stapTrailing`: zeros behind each STAP-A
 */
export function packetize(units, { mtu = 1_150, fragmentAll = false, stapTrailing = 0 } = {}) {
  const sets = units.filter((unit) => !isSlice(unit));
  const payloads = sets.length > 1 || (sets.length > 0 && stapTrailing > 0) ? [aggregate(sets, stapTrailing)] : sets;
  for (const slice of units.filter(isSlice)) {
    if (slice.length <= mtu && !fragmentAll) payloads.push(slice);
    else payloads.push(...fragments(slice, mtu - 2));
  }
  return payloads;
}

/** One packet without extensions (RFC 3550, section 5.1). */
export function packet({ pt, sequence, timestamp, ssrc, marker, payload }) {
  const header = Buffer.alloc(12);
  header[0] = 0x80;
  header[1] = (marker ? 0x80 : 0) | pt;
  header.writeUInt16BE(sequence & 0xffff, 2);
  header.writeUInt32BE(timestamp >>> 0, 4);
  header.writeUInt32BE(ssrc >>> 0, 8);
  return Buffer.concat([header, payload]);
}

/** A sender report (section 6.4.1) without blocks. */
export function senderReport({ ssrc, timestamp, packets, octets }) {
  const report = Buffer.alloc(28);
  report[0] = 0x80;
  report[1] = 200;
  report.writeUInt16BE(6, 2);
  report.writeUInt32BE(ssrc >>> 0, 4);
  const seconds = Date.now() / 1_000 + 2_208_988_800;
  report.writeUInt32BE(Math.floor(seconds) >>> 0, 8);
  report.writeUInt32BE(Math.floor((seconds % 1) * 2 ** 32) >>> 0, 12);
  report.writeUInt32BE(timestamp >>> 0, 16);
  report.writeUInt32BE(packets >>> 0, 20);
  report.writeUInt32BE(octets >>> 0, 24);
  return report;
}

/** The Opus packets of an Ogg file, without its two headers (RFC 3533, RFC 7845). */
export function opusPackets(file) {
  const packets = [];
  let parts = [];
  for (let page = 0; page + 27 <= file.length;) {
    const laces = file.subarray(page + 27, page + 27 + file[page + 26]);
    let at = page + 27 + laces.length;
    for (const lace of laces) {
      parts.push(file.subarray(at, at + lace));
      at += lace;
      if (lace === 255) continue;
      packets.push(Buffer.concat(parts));
      parts = [];
    }
    page = at;
  }
  return packets.slice(2);
}
