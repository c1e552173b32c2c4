// What every peer in JavaScript shares: how it tells the test what happens, and how it hears that it shall leave.

/** Tells the test what happened, and when: one JSON object a line. */
export function say(event) {
  process.stdout.write(`${JSON.stringify({ at: Date.now(), ...event })}\n`);
}

/** Resolves once the test closes standard input. */
export const toldToStop = new Promise((done) => {
  process.stdin.resume();
  process.stdin.once('end', done);
});

const REPORT_EVERY = 200;

/** Counts what a viewer gets of one track, and tells it a few times a second, with the longest wait for one frame. */
export class Counter {
  frames = 0;
  packets = 0;
  gap = 0;
  lastAt = null;
  toldAt = 0;

  /** @param {'audio' | 'video'} kind */
  constructor(kind) {
    this.kind = kind;
  }

  /** Takes one datagram of the track; RTCP is left out (RFC 5761, section 4). */
  take(datagram) {
    if (datagram.length < 12 || (datagram[1] >= 192 && datagram[1] <= 223)) return;
    this.took((datagram[1] & 0x80) !== 0);
  }

  /** Takes an RTP packet. Only the last one of a picture has the marker bit. */
  took(marker) {
    this.packets += 1;
    if (this.kind === 'video' && !marker) return;
    const now = Date.now();
    if (this.lastAt !== null) this.gap = Math.max(this.gap, now - this.lastAt);
    this.lastAt = now;
    this.frames += 1;
    if (now - this.toldAt < REPORT_EVERY) return;
    this.toldAt = now;
    say({ event: 'frames', kind: this.kind, frames: this.frames, packets: this.packets, gap: this.gap });
    this.gap = 0;
  }
}
