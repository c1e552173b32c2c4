/** Cameras, microphones and screens. */

import type { Key } from "../i18n/index.ts";

/** How sound is captured. */
export type SoundMode = "music" | "voice";

/** What to capture. An empty id means "whichever the browser prefers". */
export interface CaptureChoice {
  /** `none` for no camera. */
  readonly camera: string;
  /** `none` for no microphone. */
  readonly microphone: string;
  readonly sound: SoundMode;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
}

/** The choice of no camera, or of no microphone. */
export const NO_DEVICE = "none";

/** What was asked for: a capture of both may fail for the sake of one. */
export type Asked = "screen" | "camera" | "microphone" | "both";

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
export function deviceErrorKey(errorName: string, asked: Asked): Key {
  switch (errorName) {
    case "NotAllowedError":
    case "SecurityError":
      return asked === "screen" ? "device.screen.refused" : OWN[asked].refused;
    case "NotFoundError":
      return asked === "screen" ? "device.other" : OWN[asked].missing;
    case "NotReadableError":
    case "AbortError":
      return asked === "screen" ? "device.other" : OWN[asked].busy;
    case "OverconstrainedError":
      return "device.unfit";
    case "NotSupportedError":
    case "TypeError":
      return "device.unsupported";
    default:
      return "device.other";
  }
}

const OWN: Readonly<Record<Exclude<Asked, "screen">, Readonly<Record<"refused" | "missing" | "busy", Key>>>> = {
  both: { refused: "device.refused", missing: "device.missing", busy: "device.busy" },
  camera: { refused: "device.camera.refused", missing: "device.camera.missing", busy: "device.camera.busy" },
  microphone: { refused: "device.microphone.refused", missing: "device.microphone.missing", busy: "device.microphone.busy" },
};

/** What came of a capture of both: what there is, and why something is not. */
export interface Opened {
  readonly video: MediaStreamTrack | undefined;
  readonly audio: MediaStreamTrack | undefined;
  readonly videoError: DeviceError | undefined;
  readonly audioError: DeviceError | undefined;
}

/** Opens the camera, or nothing where none is wanted. Throws [`DeviceError`]. */
export async function openCamera(choice: CaptureChoice): Promise<MediaStreamTrack | undefined> {
  if (choice.camera === NO_DEVICE) return undefined;
  const stream = await userMedia({ video: videoConstraints(choice) }, "camera");
  return hinted(first(stream.getVideoTracks()), "motion");
}

/** Opens the microphone, or nothing where none is wanted. Throws [`DeviceError`]. */
export async function openMicrophone(choice: CaptureChoice): Promise<MediaStreamTrack | undefined> {
  if (choice.microphone === NO_DEVICE) return undefined;
  const stream = await userMedia({ audio: audioConstraints(choice) }, "microphone");
  return hinted(first(stream.getAudioTracks()), choice.sound === "music" ? "music" : "speech");
}

/**
 * Both at once, so that the browser asks one question; where that fails for one of them, the other alone. Throws
 * [`DeviceError`] when there is neither.
 */
export async function openBoth(choice: CaptureChoice): Promise<Opened> {
  const none: Opened = { video: undefined, audio: undefined, videoError: undefined, audioError: undefined };
  if (choice.camera === NO_DEVICE) return { ...none, audio: await openMicrophone(choice) };
  if (choice.microphone === NO_DEVICE) return { ...none, video: await openCamera(choice) };
  try {
    const stream = await userMedia({ video: videoConstraints(choice), audio: audioConstraints(choice) }, "both");
    return {
      ...none,
      video: hinted(first(stream.getVideoTracks()), "motion"),
      audio: hinted(first(stream.getAudioTracks()), choice.sound === "music" ? "music" : "speech"),
    };
  } catch (error) {
    if (!(error instanceof DeviceError) || !(await mayTryAlone(error))) throw error;
    const camera = await settle(openCamera(choice));
    const microphone = await settle(openMicrophone(choice));
    if (!camera.track && !microphone.track) throw error;
    return { video: camera.track, audio: microphone.track, videoError: camera.error, audioError: microphone.error };
  }
}

/** Who has just said no to both is not asked again for each, but who has allowed one of them for good is not asked. */
async function mayTryAlone(error: DeviceError): Promise<boolean> {
  if (error.key === "device.insecure" || error.key === "device.unsupported") return false;
  if (error.key !== "device.refused") return true;
  const granted = async (name: string) => {
    try {
      return (await navigator.permissions.query({ name: name as PermissionName })).state === "granted";
    } catch {
      return false;
    }
  };
  return (await granted("camera")) || (await granted("microphone"));
}

async function settle(
  opening: Promise<MediaStreamTrack | undefined>,
): Promise<{ readonly track: MediaStreamTrack | undefined; readonly error: DeviceError | undefined }> {
  try {
    return { track: await opening, error: undefined };
  } catch (error) {
    return { track: undefined, error: error instanceof DeviceError ? error : new DeviceError("device.other", String(error)) };
  }
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
    throw deviceError(error, "screen");
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

async function userMedia(constraints: MediaStreamConstraints, asked: Asked): Promise<MediaStream> {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new DeviceError(window.isSecureContext ? "device.unsupported" : "device.insecure", "no getUserMedia");
  }
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw deviceError(error, asked);
  }
}

function deviceError(error: unknown, asked: Asked): DeviceError {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  return new DeviceError(deviceErrorKey(name, asked), error instanceof Error ? error.message || name : String(error));
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
