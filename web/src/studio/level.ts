/** How loud the microphone is. */

/** Loudness at which the meter is empty, in decibels below full scale. */
const FLOOR_DB = -60;

/** 0 to 1 for samples of -1 to 1: root mean square on a logarithmic scale, as ears hear. */
export function loudness(samples: Float32Array): number {
  let squares = 0;
  for (const sample of samples) squares += sample * sample;
  const rms = Math.sqrt(squares / Math.max(1, samples.length));
  if (rms <= 0) return 0;
  const db = 20 * Math.log10(rms);
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}

/** Measures a track until it is told of another. */
export class LevelMeter {
  #context: AudioContext | undefined;
  #source: MediaStreamAudioSourceNode | undefined;
  #analyser: AnalyserNode | undefined;
  #samples = new Float32Array(1_024);

  /** Follows `track`, or nothing. */
  follow(track: MediaStreamTrack | undefined): void {
    this.#source?.disconnect();
    this.#source = undefined;
    if (!track || typeof AudioContext === "undefined") return;
    this.#context ??= new AudioContext();
    this.#analyser ??= this.#context.createAnalyser();
    this.#analyser.fftSize = this.#samples.length;
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
    void this.resume();
  }

  /** Browsers start audio contexts only after a gesture: call this on one. */
  async resume(): Promise<void> {
    await this.#context?.resume().catch(() => {});
  }

  /** The present loudness, 0 to 1. */
  read(): number {
    if (!this.#source || !this.#analyser) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return loudness(this.#samples);
  }
}
