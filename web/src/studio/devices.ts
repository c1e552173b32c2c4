/** Cameras, microphones and screens. */

import type { Key } from "../i18n/index.ts";

/** How sound is captured. */
export type SoundMode = "music" | "voice";

/** What to capture. An empty id means "whichever the browser prefers". */
export interface CaptureChoice {
  readonly camera: string;
  /** `none` for no microphone. */
  readonly microphone: string;
  readonly sound: SoundMode;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
}

/** Microphone choice that means silence. */
export const NO_MICROPHONE = "none";

/** A capture that failed, in words for the artist. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";

  constructor(
    readonly key: Key,
    detail: string,
  ) {
    super(detail);
  }
}

/** The text for an error of `getUserMedia` or `getDisplayMedia`. */
export function deviceErrorKey(errorName: string, screen: boolean): Key {
  switch (errorName) {
    case "NotAllowedError":
    case "SecurityError":
      return screen ? "device.screen.refused" : "device.refused";
    case "NotFoundError":
      return "device.missing";
    case "NotReadableError":
    case "AbortError":
      return "device.busy";
    case "OverconstrainedError":
      return "device.unfit";
    case "NotSupportedError":
    case "TypeError":
      return "device.unsupported";
    default:
      return "device.other";
  }
}

/** Opens the camera. Throws [`DeviceError`]. */
export async function openCamera(choice: CaptureChoice): Promise<MediaStreamTrack> {
  const stream = await userMedia({ video: videoConstraints(choice) });
  return hinted(first(stream.getVideoTracks()), "motion");
}

/** Opens the microphone, or nothing where none is wanted. Throws [`DeviceError`]. */
export async function openMicrophone(choice: CaptureChoice): Promise<MediaStreamTrack | undefined> {
  if (choice.microphone === NO_MICROPHONE) return undefined;
  const stream = await userMedia({ audio: audioConstraints(choice) });
  return hinted(first(stream.getAudioTracks()), choice.sound === "music" ? "music" : "speech");
}

/** Both at once, so that the browser asks one question. Throws [`DeviceError`]. */
export async function openBoth(choice: CaptureChoice): Promise<{ video: MediaStreamTrack; audio: MediaStreamTrack | undefined }> {
  if (choice.microphone === NO_MICROPHONE) return { video: await openCamera(choice), audio: undefined };
  const stream = await userMedia({ video: videoConstraints(choice), audio: audioConstraints(choice) });
  return {
    video: hinted(first(stream.getVideoTracks()), "motion"),
    audio: hinted(first(stream.getAudioTracks()), choice.sound === "music" ? "music" : "speech"),
  };
}

/** Asks for a screen, a window or a tab, with its sound where the browser gives it. Throws [`DeviceError`]. */
export async function openScreen(choice: CaptureChoice): Promise<{ video: MediaStreamTrack; audio: MediaStreamTrack | undefined }> {
  if (!canShareScreen()) throw new DeviceError("device.unsupported", "no getDisplayMedia");
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { ideal: choice.fps }, width: { max: choice.width }, height: { max: choice.height } },
      audio: true,
    });
    const [audio] = stream.getAudioTracks();
    return { video: hinted(first(stream.getVideoTracks()), "detail"), audio: audio && hinted(audio, "music") };
  } catch (error) {
    throw deviceError(error, true);
  }
}

/** Whether screens can be shared: phones mostly cannot. */
export function canShareScreen(): boolean {
  return typeof navigator.mediaDevices?.getDisplayMedia === "function";
}

/** The devices there are; names come with the permission. */
export async function listDevices(): Promise<{ cameras: MediaDeviceInfo[]; microphones: MediaDeviceInfo[] }> {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  return {
    cameras: devices.filter(({ kind }) => kind === "videoinput"),
    microphones: devices.filter(({ kind }) => kind === "audioinput"),
  };
}

function videoConstraints(choice: CaptureChoice): MediaTrackConstraints {
  return {
    ...(choice.camera ? { deviceId: { exact: choice.camera } } : { facingMode: "user" }),
    width: { ideal: choice.width },
    height: { ideal: choice.height },
    frameRate: { ideal: choice.fps },
  };
}

function audioConstraints(choice: CaptureChoice): MediaTrackConstraints {
  const voice = choice.sound === "voice";
  return {
    ...(choice.microphone ? { deviceId: { exact: choice.microphone } } : {}),
    // Clean-up made for calls pumps and gates a song; and it works on one channel only.
    echoCancellation: voice,
    noiseSuppression: voice,
    autoGainControl: voice,
    channelCount: { ideal: voice ? 1 : 2 },
    sampleRate: { ideal: 48_000 },
  };
}

async function userMedia(constraints: MediaStreamConstraints): Promise<MediaStream> {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new DeviceError(window.isSecureContext ? "device.unsupported" : "device.insecure", "no getUserMedia");
  }
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw deviceError(error, false);
  }
}

function deviceError(error: unknown, screen: boolean): DeviceError {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  return new DeviceError(deviceErrorKey(name, screen), error instanceof Error ? error.message || name : String(error));
}

function first(tracks: MediaStreamTrack[]): MediaStreamTrack {
  const [track] = tracks;
  if (!track) throw new DeviceError("device.missing", "no track");
  return track;
}

function hinted(track: MediaStreamTrack, hint: string): MediaStreamTrack {
  if ("contentHint" in track) track.contentHint = hint;
  return track;
}
