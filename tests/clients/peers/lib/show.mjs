// A show of pre-encoded H.264 and Opus, sent in real time.
import { readFileSync } from 'node:fs';
import { accessUnits, opusPackets, packet, packetize, senderReport } from './rtp.mjs';

const media = (name) => readFileSync(new URL(`../../media/${name}`, import.meta.url));
export const PICTURES = accessUnits(media('picture.ivf'));
/** The same in half its width and height. */
const SMALL = accessUnits(media('small.ivf'));
const SOUND = opusPackets(media('tone.ogg'));

export const VIDEO = { pt: 96, ssrc: 2_222, clock: 90_000, every: 1_000 / 30 };
export const AUDIO = { pt: 111, ssrc: 1_111, clock: 48_000, every: 20 };
const STEP = 10;
const REPORT_EVERY = 1_000;

/** One track: what is due at a time of the show goes out, then sometimes a sender report. */
class Sender {
  sent = 0;
  sequence = 0;
  packets = 0;
  octets = 0;
  reported = 0;

  constructor(track, send, report, payloads) {
    Object.assign(this, { track, send, report, payloads });
  }

  run(elapsed) {
    const { pt, ssrc, clock, every } = this.track;
    for (; this.sent * every <= elapsed; this.sent += 1) {
      const payloads = this.payloads(this.sent);
      const timestamp = Math.round((this.sent * every * clock) / 1_000);
      payloads.forEach((payload, i) => {
        const marker = payloads.length > 1 || clock === VIDEO.clock ? i === payloads.length - 1 : this.sent === 0;
        this.send(packet({ pt, ssrc: this.ssrcAt?.(this.sent) ?? ssrc, sequence: this.sequence, timestamp, marker, payload }));
        this.sequence += 1;
        this.packets += 1;
        this.octets += payload.length;
      });
    }
    if (!this.report || elapsed - this.reported < REPORT_EVERY) return;
    this.reported = elapsed;
    this.report(senderReport({
      ssrc: this.ssrcAt?.(this.sent) ?? ssrc, timestamp: Math.round((elapsed * clock) / 1_000),
      packets: this.packets, octets: this.octets,
    }));
  }
}

/**
 * Starts a show that loops until it is stopped.
 * @param {{ video?: (packet: Buffer) => void, audio?: (packet: Buffer) => void,
 *   videoReport?: (packet: Buffer) => void, audioReport?: (packet: Buffer) => void,
 *   picture?: (units: Buffer[], n: number) => Buffer[], odd?: object, ssrcAt?: (n: number) => number, small?: number }} to
 *   `picture` changes an access unit, `odd` is of `packetize`, `ssrcAt` gives the SSRC of a picture, `small` is that of a
 *   second, smaller layer
 * @returns {() => void} stops it
 */
export function startShow({ video, audio, videoReport, audioReport, picture = (units) => units, odd, ssrcAt, small }) {
  const senders = [];
  if (video) {
    const payloads = (n) => packetize(picture(PICTURES[n % PICTURES.length], n), odd);
    senders.push(Object.assign(new Sender(VIDEO, video, videoReport, payloads), { ssrcAt }));
  }
  if (small) {
    const payloads = (n) => packetize(SMALL[n % SMALL.length], odd);
    senders.push(new Sender({ ...VIDEO, ssrc: small }, video, videoReport, payloads));
  }
  if (audio) senders.push(new Sender(AUDIO, audio, audioReport, (n) => [SOUND[n % SOUND.length]]));
  const start = Date.now();
  const timer = setInterval(() => senders.forEach((sender) => sender.run(Date.now() - start)), STEP);
  return () => clearInterval(timer);
}
