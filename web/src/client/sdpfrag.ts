/** `application/trickle-ice-sdpfrag` bodies (RFC 8840 section 9, RFC 9725 sections 4.3.1 and 4.3.2). */

/** The media type of a fragment. */
export const SDPFRAG = "application/trickle-ice-sdpfrag";

/** One ICE session's side: all media is bundled, so there is one. */
export interface IceDetails {
  readonly ufrag: string;
  readonly pwd: string;
  /** Each from `candidate:` on, without `a=`. */
  readonly candidates: readonly string[];
  readonly endOfCandidates: boolean;
}

/** Candidates a fragment may carry at most; the server takes 64. */
export const CANDIDATES_MAX = 32;

/** Body of a PATCH that speaks for `offer`, the full local description. */
export function buildFragment(offer: string, candidates: readonly string[], endOfCandidates: boolean): string {
  const { ufrag, pwd } = iceDetails(offer);
  const lines = splitLines(offer);
  const media = lines.findIndex((line) => line.startsWith("m="));
  const mid = lines.slice(media).find((line) => line.startsWith("a=mid:"));
  const out: string[] = [];
  const group = lines.find((line) => line.startsWith("a=group:BUNDLE"));
  if (group) out.push(group);
  if (media >= 0) out.push(lines[media] ?? "");
  if (mid) out.push(mid);
  out.push(`a=ice-ufrag:${ufrag}`, `a=ice-pwd:${pwd}`);
  for (const candidate of candidates) out.push(`a=${candidate.replace(/^a=/, "")}`);
  if (endOfCandidates) out.push("a=end-of-candidates");
  return `${out.join("\r\n")}\r\n`;
}

/** The ICE part of a description or fragment: the first credentials, and the candidates. */
export function iceDetails(sdp: string): IceDetails {
  const lines = splitLines(sdp);
  const value = (name: string) =>
    lines.find((line) => line.startsWith(`a=${name}:`))?.slice(name.length + 3) ?? "";
  return {
    ufrag: value("ice-ufrag"),
    pwd: value("ice-pwd"),
    candidates: lines.filter((line) => line.startsWith("a=candidate:")).map((line) => line.slice(2)),
    endOfCandidates: lines.includes("a=end-of-candidates"),
  };
}

/**
 * The answer to an ICE restart: what was answered before, with the credentials and candidates of the
 * fragment that the PATCH returned. Throws when the fragment has no credentials.
 */
export function restartedAnswer(answer: string, fragment: string): string {
  const ice = iceDetails(fragment);
  if (!ice.ufrag || !ice.pwd) throw new Error("the fragment has no ICE credentials");
  const out: string[] = [];
  let sections = 0;
  const addCandidates = () => {
    // Candidates stand in the first section, the one whose transport the others share.
    if (sections !== 1) return;
    out.push(...ice.candidates.map((candidate) => `a=${candidate}`));
    if (ice.endOfCandidates) out.push("a=end-of-candidates");
  };
  for (const line of splitLines(answer)) {
    if (line.startsWith("m=")) {
      addCandidates();
      sections += 1;
    }
    if (line.startsWith("a=candidate:") || line === "a=end-of-candidates") continue;
    if (line.startsWith("a=ice-ufrag:")) out.push(`a=ice-ufrag:${ice.ufrag}`);
    else if (line.startsWith("a=ice-pwd:")) out.push(`a=ice-pwd:${ice.pwd}`);
    else out.push(line);
  }
  addCandidates();
  return `${out.join("\r\n")}\r\n`;
}

function splitLines(sdp: string): string[] {
  return sdp.split(/\r?\n/).filter(Boolean);
}
