// Runs in a page: paints numbered frames, reads the numbers back from a video, and keeps the time
// of both. A number needs few and therefore large cells, which survive any encoder; the test joins
// the two tables afterwards.

const NUMBER_BITS = 16;
const CHECK_BITS = 4;
const CELLS = NUMBER_BITS + CHECK_BITS;
/** The band of cells takes this part of the picture's height, at its top. */
const BAND = 1 / 8;

const now = () => performance.timeOrigin + performance.now();

/** Gray code: a frame that was caught between two numbers is off by one at most. */
const toGray = (n) => n ^ (n >>> 1);
function fromGray(gray) {
  let n = gray;
  for (let shift = 1; shift < NUMBER_BITS; shift *= 2) n ^= n >>> shift;
  return n;
}

/** Four bits that differ for neighbouring codes. */
const check = (gray) => (gray * 0x9e3b >>> 7) & (2 ** CHECK_BITS - 1);

class Painter {
  constructor({ width, height, fps }) {
    this.canvas = Object.assign(document.createElement('canvas'), { width, height });
    this.pen = this.canvas.getContext('2d', { alpha: false });
    // No frames but those that are asked for: each is captured once, right after it was painted.
    this.stream = this.canvas.captureStream(0);
    this.room = this.pen.createLinearGradient(0, 0, width, height);
    this.room.addColorStop(0, '#2c3350');
    this.room.addColorStop(1, '#8a6f7d');
    this.painted = [];
    this.number = 0;
    this.timer = setInterval(() => this.paint(), 1_000 / fps);
  }

  paint() {
    const { canvas: { width, height }, pen } = this;
    const number = this.number = (this.number + 1) % 2 ** NUMBER_BITS;
    // A still room and someone who moves in it: what a camera on a stand sees. The size must hold
    // at the bit rate, or the measurement is one of scaling.
    pen.fillStyle = this.room;
    pen.fillRect(0, 0, width, height);
    for (let i = 0; i < 12; i += 1) {
      const angle = number / 20 + i * 0.5;
      pen.fillStyle = `hsl(${i * 30} 70% ${35 + 2 * i}%)`;
      pen.beginPath();
      pen.arc(width * (0.5 + 0.3 * Math.cos(angle)), height * (0.55 + 0.3 * Math.sin(angle * 1.3)), height / 12, 0, 7);
      pen.fill();
    }
    const gray = toGray(number);
    const code = (gray << CHECK_BITS) | check(gray);
    for (let cell = 0; cell < CELLS; cell += 1) {
      pen.fillStyle = (code >>> (CELLS - 1 - cell)) & 1 ? '#fff' : '#000';
      pen.fillRect(Math.floor(cell * width / CELLS), 0, Math.ceil(width / CELLS), height * BAND);
    }
    this.painted.push([number, now()]);
    this.stream.getVideoTracks()[0].requestFrame();
  }

  close() {
    clearInterval(this.timer);
    this.stream.getTracks().forEach((track) => track.stop());
  }
}

class Reader {
  constructor(video) {
    this.seen = [];
    this.unreadable = 0;
    const strip = new OffscreenCanvas(1, 1);
    const pen = strip.getContext('2d', { willReadFrequently: true, alpha: false });
    const step = () => {
      // The time first: reading the pixels is the measurement's own cost.
      const at = now();
      const number = this.read(video, pen);
      if (number === null) this.unreadable += 1;
      else this.seen.push([number, at]);
      this.handle = video.requestVideoFrameCallback(step);
    };
    this.handle = video.requestVideoFrameCallback(step);
    this.close = () => video.cancelVideoFrameCallback(this.handle);
  }

  read(video, pen) {
    const { videoWidth: width, videoHeight: height } = video;
    if (pen.canvas.width !== width) pen.canvas.width = width;
    // In one draw: between two, the video may go on to its next frame.
    pen.drawImage(video, 0, Math.floor(height * BAND / 2), width, 1, 0, 0, width, 1);
    const { data } = pen.getImageData(0, 0, width, 1);
    let code = 0;
    for (let cell = 0; cell < CELLS; cell += 1) {
      // The middle of the cell: no neighbour bleeds into it.
      const x = Math.floor((cell + 0.5) * width / CELLS);
      code = (code << 1) | (data[x * 4 + 1] > 127 ? 1 : 0);
    }
    const gray = code >>> CHECK_BITS;
    return (code & (2 ** CHECK_BITS - 1)) === check(gray) ? fromGray(gray) : null;
  }
}

/** How far this page's fine clock is ahead of the wall clock, in milliseconds, from tick edges. */
function ahead() {
  const edges = [];
  for (let i = 0; i < 20; i += 1) {
    const from = Date.now();
    let tick;
    do tick = Date.now(); while (tick === from);
    edges.push(now() - tick);
  }
  edges.sort((a, b) => a - b);
  return edges[edges.length >> 1];
}

globalThis.clock = { Painter, Reader, ahead, now };
(globalThis.loaded ??= []).push('clock');
