//! The SDP answer (RFC 8866, RFC 9429 section 5.3), section by section as the offer has them.
//!
//! An offer leaves little to decide: of its formats and extensions the ones that we forward, and
//! nothing else. So the answer is written straight from what was taken.

use lightstick_types::{Codec, Role, TrackKind};
use std::fmt::Write as _;

use crate::egress::{ExtensionIds, StreamConfig};
use crate::offer::{Chosen, Extension, Offer, Section, Track};
use crate::sdp::FEEDBACK;

/// What our side puts into an answer.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// `a=ice-ufrag`.
    pub ufrag: &'a str,
    /// `a=ice-pwd`.
    pub password: &'a str,
    /// `a=fingerprint`, with the name of its hash.
    pub fingerprint: &'a str,
    /// Candidates, each as it follows `a=`.
    pub candidates: &'a [String],
    /// What a viewer is sent, as [`Offer::streams`] has it. A publisher is sent nothing.
    pub streams: &'a [StreamConfig],
    /// Session id of the origin line.
    pub id: u64,
}

/// All tracks belong to one MediaStream of this name, so that players keep lips and voice
/// together.
const STREAM: &str = "lightstick";
/// Largest message that a data channel takes, in bytes: a few times the longest request of a chat.
pub const MESSAGE_BYTES_MAX: u32 = 16_384;

/// Feedback that is agreed on, a bit for each of [`FEEDBACK`]: of audio transport-wide sequence
/// numbers only, of a publisher's video all but REMB, which it is never sent.
const AUDIO_FEEDBACK: u8 = 1;
const PUBLISHED_FEEDBACK: u8 = !0b10;
/// What browsers offer of it.
const BROWSER_FEEDBACK: u8 = 0b11;

/// The rate that libwebrtc starts with. Of its own it takes 300 kbit/s, audio included: too little
/// for the picture, which then starts at a quarter of its size and takes half a minute to grow,
/// whatever its link carries. Its estimator corrects this one within a second.
const START_KBPS: u32 = 1_500;

impl Offer {
    /// The answer to it.
    #[must_use]
    pub fn answer(&self, local: &Local<'_>) -> String {
        let mut out = String::with_capacity(4_096);
        let _ = write!(
            out,
            "v=0\r\no=- {} 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
            local.id
        );
        if let Some(mids) = &self.bundle {
            let _ = write!(out, "a=group:BUNDLE{mids}\r\n");
        }
        if self.mixed {
            out.push_str("a=extmap-allow-mixed\r\n");
        }
        let _ = write!(out, "a=msid-semantic:WMS {STREAM}\r\na=ice-lite\r\n");
        let (mut streams, mut videos) = (local.streams.iter(), 0);
        for section in &self.sections {
            match section {
                Section::Taken(track) => {
                    let direction = match self.role() {
                        Role::Publisher => "recvonly",
                        Role::Viewer => "sendonly",
                    };
                    self.write_track(track, direction, &mut out);
                    if let Some(stream) = streams.next() {
                        write_stream(stream, videos, &mut out);
                        videos += usize::from(stream.kind == TrackKind::Video);
                    }
                }
                Section::Inactive(track) => self.write_track(track, "inactive", &mut out),
                Section::Data(line) => {
                    // RFC 8841 section 11.
                    let _ = write!(
                        out,
                        "m={} 9 {} {}\r\nc=IN IP4 0.0.0.0\r\n",
                        line.media, line.protocol, line.formats
                    );
                    write_mid(line.mid.as_deref(), &mut out);
                    let _ = write!(
                        out,
                        "a=sctp-port:5000\r\na=max-message-size:{MESSAGE_BYTES_MAX}\r\n"
                    );
                }
                Section::Rejected(line) => {
                    // RFC 9429 section 5.3.1: a port of zero.
                    let _ = write!(
                        out,
                        "m={} 0 {} {}\r\nc=IN IP4 0.0.0.0\r\n",
                        line.media, line.protocol, line.formats
                    );
                    write_mid(line.mid.as_deref(), &mut out);
                    out.push_str("a=inactive\r\n");
                    continue;
                }
            }
            self.write_transport(local, &mut out);
        }
        out
    }

    /// What a viewer is sent: a stream of each of its [tracks](Self::tracks). `ssrc` gives numbers
    /// that are different and not 0.
    pub fn streams(&self, mut ssrc: impl FnMut() -> u32) -> Vec<StreamConfig> {
        let config = |track: &Track| {
            let mut accepted = track.accepted();
            let resends = accepted.any(|accepted| accepted.resend_payload_type.is_some());
            StreamConfig {
                kind: track.kind,
                mid: track.mid().unwrap_or("").to_owned(),
                cname: STREAM.to_owned(),
                ssrc: ssrc(),
                resend_ssrc: (resends && track.kind == TrackKind::Video).then(&mut ssrc),
                clock_rate: match track.kind {
                    TrackKind::Audio => 48_000,
                    TrackKind::Video => 90_000,
                },
                accepted: track.accepted().collect(),
                extensions: ExtensionIds {
                    mid: track.id_of(Extension::Mid),
                    transport_sequence: track.id_of(Extension::TransportSequence),
                    capture_time: track.id_of(Extension::CaptureTime),
                    playout_delay: track.id_of(Extension::PlayoutDelay),
                    audio_level: track.id_of(Extension::AudioLevel),
                    orientation: track.id_of(Extension::Orientation),
                },
            }
        };
        self.tracks().map(config).collect()
    }

    fn write_track(&self, track: &Track, direction: &str, out: &mut String) {
        let line = &track.line;
        let _ = write!(out, "m={} 9 {}", line.media, line.protocol);
        for accepted in track.accepted() {
            let _ = write!(out, " {}", accepted.payload_type);
            if let Some(resend) = accepted.resend_payload_type {
                let _ = write!(out, " {resend}");
            }
        }
        out.push_str("\r\nc=IN IP4 0.0.0.0\r\n");
        write_mid(track.mid(), out);
        // RFC 9725 section 4.4.1 has both sides say that they do nothing but multiplex.
        let _ = write!(out, "a={direction}\r\na=rtcp-mux\r\na=rtcp-mux-only\r\n");
        if track.rtcp_rsize {
            out.push_str("a=rtcp-rsize\r\n");
        }
        if track.mixed {
            out.push_str("a=extmap-allow-mixed\r\n");
        }
        for mapped in &track.extensions {
            // RFC 8285 section 6: a direction is answered with its reverse.
            let direction = match (mapped.directed, self.role()) {
                (false, _) => "",
                (true, Role::Publisher) => "/recvonly",
                (true, Role::Viewer) => "/sendonly",
            };
            let (id, uri) = (mapped.id, mapped.extension.uri());
            let _ = write!(out, "a=extmap:{id}{direction} {uri}\r\n");
        }
        for chosen in &track.formats {
            self.write_format(chosen, out);
        }
        write_simulcast(track, out);
    }

    fn write_format(&self, chosen: &Chosen, out: &mut String) {
        let payload_type = chosen.accepted.payload_type;
        let _ = write!(out, "a=rtpmap:{payload_type} {}\r\n", chosen.name);
        let acted_on = match (chosen.accepted.format.codec.kind(), self.role()) {
            (TrackKind::Audio, _) => AUDIO_FEEDBACK,
            (TrackKind::Video, Role::Publisher) => PUBLISHED_FEEDBACK,
            (TrackKind::Video, Role::Viewer) => u8::MAX,
        };
        for (bit, name) in FEEDBACK.iter().enumerate() {
            if (chosen.feedback & acted_on) >> bit & 1 == 1 {
                let _ = write!(out, "a=rtcp-fb:{payload_type} {name}\r\n");
            }
        }
        if chosen.accepted.format.codec == Codec::Opus {
            // Stereo where it was asked for (RFC 7587 section 7.1).
            let is_set = |key| chosen.parameter(key) == Some("1");
            let stereo = match is_set("stereo") || is_set("sprop-stereo") {
                true => ";stereo=1;sprop-stereo=1",
                false => "",
            };
            let _ = write!(
                out,
                "a=fmtp:{payload_type} minptime=10;useinbandfec=1{stereo}\r\n"
            );
        } else {
            // Nobody else needs to understand it.
            let starts = self.role() == Role::Publisher
                && chosen.accepted.format.codec.kind() == TrackKind::Video
                && chosen.feedback & BROWSER_FEEDBACK == BROWSER_FEEDBACK;
            let start = starts.then(|| format!("x-google-start-bitrate={START_KBPS}"));
            write_parameters(chosen, start.as_deref(), out);
        }
        if let Some(resend) = chosen.accepted.resend_payload_type {
            let _ = write!(
                out,
                "a=rtpmap:{resend} rtx/90000\r\na=fmtp:{resend} apt={payload_type}\r\n"
            );
        }
    }

    fn write_transport(&self, local: &Local<'_>, out: &mut String) {
        let setup = match self.dtls_active {
            true => "active",
            false => "passive",
        };
        let _ = write!(
            out,
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle ice2\r\na=fingerprint:{}\r\n\
             a=setup:{setup}\r\n",
            local.ufrag, local.password, local.fingerprint
        );
        // With BUNDLE once would do (RFC 9143 section 7), but peers that gather for a section of their
        // own choice look for it there.
        for candidate in local.candidates {
            let _ = write!(out, "a={candidate}\r\n");
        }
        // An agent that is lite gathers nothing later (RFC 8840 section 4.1).
        out.push_str("a=end-of-candidates\r\n");
    }
}

/// The parameters as they were offered, without those that describe the offerer's own stream, and
/// one more.
fn write_parameters(chosen: &Chosen, more: Option<&str>, out: &mut String) {
    let pairs = chosen.parameters.split(';').map(str::trim);
    let kept = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("sprop-"));
    for (at, pair) in kept.chain(more).enumerate() {
        let _ = match at {
            0 => write!(out, "a=fmtp:{} {pair}", chosen.accepted.payload_type),
            _ => write!(out, ";{pair}"),
        };
    }
    if out.ends_with('\n') {
        return;
    }
    out.push_str("\r\n");
}

/// RFC 8853 section 5.3: what the offerer sends, we receive.
fn write_simulcast(track: &Track, out: &mut String) {
    for encoding in track.encodings.iter().filter(|e| e.described) {
        let _ = write!(out, "a=rid:{} recv", encoding.rid);
        if !encoding.restrictions.is_empty() {
            let _ = write!(out, " {}", encoding.restrictions);
        }
        out.push_str("\r\n");
    }
    if track.has_simulcast && !track.encodings.is_empty() {
        for (at, encoding) in track.encodings.iter().enumerate() {
            let before = if at == 0 { "a=simulcast:recv " } else { ";" };
            let _ = write!(out, "{before}{}", encoding.rid);
        }
        out.push_str("\r\n");
    }
}

fn write_mid(mid: Option<&str>, out: &mut String) {
    if let Some(mid) = mid {
        let _ = write!(out, "a=mid:{mid}\r\n");
    }
}

/// Each section is a track of its own to a browser: one without a name of its own would be the
/// same as its neighbour (RFC 8830). `videos` are the video sections before it.
fn write_stream(stream: &StreamConfig, videos: usize, out: &mut String) {
    let _ = match (stream.kind, videos) {
        (TrackKind::Audio, _) => write!(out, "a=msid:{STREAM} audio\r\n"),
        (TrackKind::Video, 0) => write!(out, "a=msid:{STREAM} video\r\n"),
        (TrackKind::Video, before) => write!(out, "a=msid:{STREAM} beside-{before}\r\n"),
    };
    let (ssrc, resend) = (stream.ssrc, stream.resend_ssrc);
    if let Some(resend) = resend {
        let _ = write!(out, "a=ssrc-group:FID {ssrc} {resend}\r\n");
    }
    for ssrc in [Some(ssrc), resend].into_iter().flatten() {
        let _ = write!(out, "a=ssrc:{ssrc} cname:{STREAM}\r\n");
    }
}

#[cfg(test)]
mod tests;
