/** What browsers offer no API for and so is written into the SDP. */

/**
 * Asks for stereo on every Opus payload type (RFC 7587 section 6.1): `stereo=1`, what this side likes to
 * receive, and `sprop-stereo=1`, what it is going to send. Parameters that stand there already are replaced.
 */
export function withStereoOpus(sdp: string): string {
  const eol = sdp.includes("\r\n") ? "\r\n" : "\n";
  const lines = sdp.split(eol);
  const opus = new Set(
    lines.flatMap((line) => /^a=rtpmap:(\d+) opus\/48000\/2$/i.exec(line)?.[1] ?? []),
  );
  const seen = new Set<string>();
  const out: string[] = [];
  for (const line of lines) {
    const fmtp = /^a=fmtp:(\d+) (.*)$/.exec(line);
    if (fmtp?.[1] && opus.has(fmtp[1])) {
      seen.add(fmtp[1]);
      out.push(`a=fmtp:${fmtp[1]} ${stereo(fmtp[2] ?? "")}`);
    } else {
      out.push(line);
    }
  }
  const missing = [...opus].filter((pt) => !seen.has(pt));
  for (const pt of missing) {
    const at = out.findIndex((line) => line.toLowerCase().startsWith(`a=rtpmap:${pt} opus/`));
    out.splice(at + 1, 0, `a=fmtp:${pt} ${stereo("")}`);
  }
  return out.join(eol);
}

function stereo(params: string): string {
  const kept = params
    .split(";")
    .map((param) => param.trim())
    .filter((param) => param && !/^(sprop-)?stereo=/i.test(param));
  return [...kept, "stereo=1", "sprop-stereo=1"].join(";");
}

const ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

interface HeaderExtension {
  uri: string;
  direction: RTCRtpTransceiverDirection;
}

/** The header-extension control of WebRTC's extensions, which TypeScript does not know yet. */
interface ExtensibleTransceiver {
  getHeaderExtensionsToNegotiate?: () => HeaderExtension[];
  setHeaderExtensionsToNegotiate?: (extensions: HeaderExtension[]) => void;
}

/**
 * Offers `abs-capture-time`, by which a viewer can measure the whole way from the camera. Returns whether
 * the browser could be told; where not, the latency shown is an estimate.
 */
export function offerAbsCaptureTime(transceiver: RTCRtpTransceiver): boolean {
  const extensible = transceiver as ExtensibleTransceiver;
  try {
    const extensions = extensible.getHeaderExtensionsToNegotiate?.();
    const wanted = extensions?.find((extension) => extension.uri === ABS_CAPTURE_TIME);
    if (!extensions || !wanted || !extensible.setHeaderExtensionsToNegotiate) return false;
    wanted.direction = "sendrecv";
    extensible.setHeaderExtensionsToNegotiate(extensions);
    return true;
  } catch {
    return false;
  }
}
