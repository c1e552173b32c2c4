// Runs in a page: encodes a painted clip with keyframes at a fixed distance, as an IVF file.

const FILE_HEADER = 32;
const FRAME_HEADER = 12;
/** Frames that may wait for the encoder. */
const QUEUE_MAX = 8;

const CODECS = {
  VP8: { fourcc: 'VP80', config: { codec: 'vp8' } },
  H264: { fourcc: 'H264', config: { codec: 'avc1.42E01F', avc: { format: 'annexb' } } },
};

/** IVF: a header, then each frame behind its length and number. */
function ivf(fourcc, { width, height, fps }, frames) {
  const size = frames.reduce((sum, frame) => sum + FRAME_HEADER + frame.byteLength, FILE_HEADER);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, 'DKIF');
  view.setUint16(6, FILE_HEADER, true);
  text(8, fourcc);
  view.setUint16(12, width, true);
  view.setUint16(14, height, true);
  view.setUint32(16, fps, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, frames.length, true);
  let at = FILE_HEADER;
  frames.forEach((frame, number) => {
    view.setUint32(at, frame.byteLength, true);
    view.setUint32(at + 4, number, true);
    bytes.set(frame, at + FRAME_HEADER);
    at += FRAME_HEADER + frame.byteLength;
  });
  return bytes;
}

/** Records `gops` times `gopFrames` frames. Gives the file in base64. */
async function record({ codec, width, height, bitrate, fps, gopFrames, gops }) {
  const { fourcc, config } = CODECS[codec] ?? {};
  if (!config) throw new Error(`no clip of ${codec}`);
  const painter = new clock.Painter({ width, height, fps });
  clearInterval(painter.timer);
  const chunks = [];
  let failed;
  const encoder = new VideoEncoder({
    output: (chunk) => {
      const bytes = new Uint8Array(chunk.byteLength);
      chunk.copyTo(bytes);
      chunks.push({ key: chunk.type === 'key', bytes });
    },
    error: (error) => { failed = error; },
  });
  encoder.configure({ ...config, width, height, bitrate, framerate: fps, latencyMode: 'quality' });
  const count = gopFrames * gops;
  for (let number = 0; number < count && !failed; number += 1) {
    painter.paint();
    const frame = new VideoFrame(painter.canvas, { timestamp: Math.round(number * 1e6 / fps) });
    encoder.encode(frame, { keyFrame: number % gopFrames === 0 });
    frame.close();
    while (encoder.encodeQueueSize > QUEUE_MAX) await new Promise((done) => setTimeout(done, 1));
  }
  await encoder.flush().catch((error) => { failed ??= error; });
  painter.close();
  if (failed) throw failed;
  const as = chunks.map(({ key }, number) => key === (number % gopFrames === 0));
  if (chunks.length !== count || as.includes(false)) throw new Error(`${chunks.length} of ${count} frames, or keyframes elsewhere`);
  const file = ivf(fourcc, { width, height, fps }, chunks.map(({ bytes }) => bytes));
  let binary = '';
  for (let at = 0; at < file.length; at += 0x8000) binary += String.fromCharCode(...file.subarray(at, at + 0x8000));
  return btoa(binary);
}

globalThis.recorder = { record, ivf };
(globalThis.loaded ??= []).push('recorder');
