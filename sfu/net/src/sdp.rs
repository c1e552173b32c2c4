//! A publisher's SDP in and out: what is mended in its offer before the WebRTC stack reads it, and
//! in the answer after.

use std::fmt::Write as _;

use lightstick_sfu_core::offer::{Offer, OfferError};
use lightstick_types::TrackKind;

use crate::api::{OpenError, Unacceptable};

impl From<OfferError> for OpenError {
    fn from(error: OfferError) -> Self {
        let why = match error {
            OfferError::NotSdp => return Self::Malformed(error.to_string()),
            OfferError::NoMedia => Unacceptable::NoMedia,
            OfferError::NoCodec => Unacceptable::NoCodec,
            OfferError::NoIce => Unacceptable::NoIce,
            OfferError::NoFingerprint => Unacceptable::NoFingerprint,
            OfferError::NoBundle => Unacceptable::NoBundle,
            OfferError::TooManyTracks => Unacceptable::TooManyTracks,
            OfferError::Direction => Unacceptable::Direction,
        };
        Self::Unacceptable(why)
    }
}

/// `a=ssrc` lines of a section that the WebRTC stack gets to see. Three layers with RTX have 24 at
/// most; each further stream would cost memory that nothing is sent for.
const SSRC_LINES_MAX: usize = 64;

/// The offer as the WebRTC stack shall see it.
///
/// Directions are narrowed, because a WHIP answer only receives.
/// Candidates are left out: an ICE-lite agent learns its peer's addresses from the checks that
/// come in (RFC 8445 section 2.4), so `.local` names need no resolving. Of its `a=ssrc` lines
/// a section keeps [`SSRC_LINES_MAX`].
pub(crate) fn prepare_offer(sdp: &str) -> String {
    let mut out = String::with_capacity(sdp.len() + 64);
    // Attributes come after a section's c= and b= lines (RFC 8866 section 5).
    let mut direction_due = false;
    let mut ssrc_lines = 0;
    for line in sdp
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
    {
        if let Some(media) = line.strip_prefix("m=") {
            let _ = write!(out, "{line}\r\n");
            direction_due = media.starts_with("audio") || media.starts_with("video");
            ssrc_lines = 0;
            continue;
        }
        if line.starts_with("a=") && std::mem::take(&mut direction_due) {
            let _ = out.write_str("a=sendonly\r\n");
        }
        ssrc_lines += usize::from(line.starts_with("a=ssrc"));
        let dropped = matches!(
            line,
            "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive"
        ) || line.starts_with("a=candidate:")
            || line == "a=end-of-candidates"
            || (ssrc_lines > SSRC_LINES_MAX && line.starts_with("a=ssrc"));
        if dropped {
            continue;
        }
        let _ = write!(out, "{line}\r\n");
    }
    out
}

/// The answer as the peer shall see it.
///
/// One MediaStream holds all tracks, so that players keep lips and voice together; Opus is stereo
/// where the offer asked for it (RFC 7587 section 7.1).
pub(crate) fn finish_answer(answer: &str, offer: &Offer) -> String {
    let stereo = offer
        .sections
        .iter()
        .any(|s| s.kind == TrackKind::Audio && s.stereo);
    let opus = answer.lines().find_map(|line| {
        let (pt, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        name.to_ascii_lowercase().starts_with("opus/").then_some(pt)
    });
    let opus_fmtp = opus.map(|pt| format!("a=fmtp:{pt} "));
    let mut out = String::with_capacity(answer.len() + 128);
    for line in answer.lines() {
        if let Some(msid) = line.strip_prefix("a=msid:") {
            let track = msid.split_ascii_whitespace().nth(1).unwrap_or("track");
            let _ = write!(out, "a=msid:lightstick {track}\r\n");
        } else if line.starts_with("a=msid-semantic") {
            out.push_str("a=msid-semantic:WMS lightstick\r\n");
        } else if let Some(start) = opus_fmtp.as_deref().filter(|start| line.starts_with(start)) {
            let kept: Vec<&str> = line[start.len()..]
                .split(';')
                .map(str::trim)
                .filter(|p| !p.starts_with("stereo=") && !p.starts_with("sprop-stereo="))
                .collect();
            let _ = write!(out, "{start}{}", kept.join(";"));
            if stereo {
                out.push_str(";stereo=1;sprop-stereo=1");
            }
            out.push_str("\r\n");
        } else if line.starts_with("a=ssrc:") && line.contains(" msid:") {
            // Superseded by a=msid (RFC 8830), and it would contradict it.
        } else {
            let _ = write!(out, "{line}\r\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use lightstick_sfu_core::offer::{self, Side};

    use super::*;

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1\r\na=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\na=fingerprint:x\r\nm=audio 9 X 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;stereo=1\r\na=candidate:1 1 udp 1 x.local 5 typ host\r\nm=video 9 X 96\r\na=mid:1\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n";

    #[test]
    fn an_offer_is_narrowed() {
        let out = prepare_offer(OFFER);
        assert_eq!(out.matches("a=sendonly\r\n").count(), 2, "{out}");
        assert!(
            !out.contains("sendrecv") && !out.contains("candidate"),
            "{out}"
        );
    }

    #[test]
    fn streams_without_end_are_cut_off() {
        let ssrcs = "a=ssrc:7 cname:c\r\n".repeat(5_000);
        let audio = OFFER.replace("m=video", &format!("{ssrcs}m=video"));
        let out = prepare_offer(&format!("{audio}{ssrcs}"));
        assert_eq!(out.matches("a=ssrc:").count(), 2 * SSRC_LINES_MAX);
        assert!(out.contains("m=video") && out.contains("a=mid:1"));
    }

    #[test]
    fn an_answer_has_one_stream_and_the_stereo_that_was_asked_for() {
        let answer = "v=0\r\na=msid-semantic:WMS a b\r\nm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=msid:a 1\r\na=ssrc:1 msid:a 1\r\na=ssrc:1 cname:c\r\nm=video 9 X 96\r\na=msid:b 2\r\n";
        let offer = offer::read(OFFER, Side::Publisher).unwrap();
        let out = finish_answer(answer, &offer);
        assert!(out.contains("a=msid:lightstick 1\r\n") && out.contains("a=msid:lightstick 2\r\n"));
        assert!(out.contains("a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r\n"));
        assert!(!out.contains(" msid:") && out.contains("cname:c"), "{out}");
    }
}
