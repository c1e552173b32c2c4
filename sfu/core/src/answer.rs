//! The SDP answer to a viewer (RFC 8866, RFC 9429 section 5.3).
//!
//! A viewer's offer leaves little to decide: of its formats and extensions the ones that we send,
//! and nothing else. So that a storm of joins costs little, the answer is written straight from
//! the offer's text, without a model of all that SDP can say in between.

use std::collections::HashSet;
use std::fmt::Write as _;

use lightstick_types::{Codec, TrackKind};

use crate::egress::{Accepted, ExtensionIds, StreamConfig};
use crate::offer::OfferError;
use crate::packet::Format;

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
    /// Of audio, of video, and of video that is sent again; different and not 0.
    pub ssrcs: [u32; 3],
    /// Session id of the origin line.
    pub id: u64,
}

/// An answer, and what it agrees on.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its text.
    pub sdp: String,
    /// At most one audio and one video stream.
    pub streams: Vec<StreamConfig>,
    /// A data channel section was accepted.
    pub data: bool,
    /// We begin the DTLS handshake (RFC 8842 section 5.3).
    pub dtls_active: bool,
}

/// Both tracks belong to one MediaStream of this name, so that players keep lips and voice
/// together.
const STREAM: &str = "lightstick";
/// Most formats of a section that are read.
const FORMATS_MAX: usize = 64;
/// Largest message that a data channel takes, in bytes: a few times the longest request of a chat.
pub const MESSAGE_BYTES_MAX: u32 = 16_384;

/// RTCP feedback that we act on, as `a=rtcp-fb` names it.
const FEEDBACK: [&str; 5] = ["transport-cc", "goog-remb", "ccm fir", "nack", "nack pli"];
const TRANSPORT_CC: u8 = 1;

/// Answers the offer of a viewer that [`offer::read`](crate::offer::read) has let pass.
///
/// # Errors
/// [`OfferError::NoCodec`] where no section has a format of ours.
pub fn answer(offer: &str, local: &Local<'_>) -> Result<Answer, OfferError> {
    let clean = |line: &&str| !line.contains(|c: char| c.is_ascii_control() && c != '\t');
    let mut lines = offer.lines().map(str::trim_end).filter(clean).peekable();
    let mut session = Session::default();
    while let Some(line) = lines.next_if(|line| !line.starts_with("m=")) {
        session.read(line);
    }
    let mut sections = Vec::new();
    while let Some(media) = lines.next().and_then(|line| line.strip_prefix("m=")) {
        let mut section = Section::new(media);
        while let Some(line) = lines.next_if(|line| !line.starts_with("m=")) {
            session.read_transport(line);
            section.read(line);
        }
        sections.push(section);
    }
    let dtls_active = session.setup == Some("passive");
    let mut body = String::with_capacity(4_096);
    let mut bundle = String::new();
    let (mut streams, mut data) = (Vec::new(), false);
    let mids: HashSet<&str> = session.bundle.split(' ').collect();
    for section in &sections {
        let bundled = mids.contains(section.mid) || sections.len() == 1;
        let before = body.len();
        let taken = match section.kind {
            _ if !section.is_offered() => false,
            Kind::Rtp(kind) if bundled && streams.iter().all(|s: &StreamConfig| s.kind != kind) => {
                let stream = section.write_stream(kind, local, &mut body);
                let taken = stream.is_some();
                streams.extend(stream);
                taken
            }
            Kind::Data if bundled && !data => {
                data = true;
                section.write_data(&mut body);
                true
            }
            _ => false,
        };
        if taken {
            let _ = write!(bundle, " {}", section.mid);
            write_transport(local, dtls_active, &mut body);
        } else {
            body.truncate(before);
            section.write_rejected(&mut body);
        }
    }
    if streams.is_empty() {
        return Err(OfferError::NoCodec);
    }
    let mixed = match session.mixed {
        true => "a=extmap-allow-mixed\r\n",
        false => "",
    };
    let id = local.id;
    let bundle = match session.bundle {
        "" => String::new(),
        _ => format!("a=group:BUNDLE{bundle}\r\n"),
    };
    Ok(Answer {
        sdp: format!(
            "v=0\r\no=- {id} 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{bundle}{mixed}\
             a=msid-semantic:WMS {STREAM}\r\na=ice-lite\r\n{body}"
        ),
        streams,
        data,
        dtls_active,
    })
}

/// What holds for all sections. With BUNDLE the transport's attributes may stand in any of them.
#[derive(Default)]
struct Session<'a> {
    bundle: &'a str,
    mixed: bool,
    setup: Option<&'a str>,
}

impl<'a> Session<'a> {
    fn read(&mut self, line: &'a str) {
        if let Some(mids) = line.strip_prefix("a=group:BUNDLE ") {
            self.bundle = mids;
        }
        self.mixed |= line == "a=extmap-allow-mixed";
        self.read_transport(line);
    }

    fn read_transport(&mut self, line: &'a str) {
        if let Some(setup) = line.strip_prefix("a=setup:") {
            self.setup = self.setup.or(Some(setup));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rtp(TrackKind),
    Data,
    Other,
}

/// What a section says about one payload type.
#[derive(Clone, Copy, Default)]
struct Described<'a> {
    payload_type: u8,
    /// `VP8/90000`; empty until its line was read.
    name: &'a str,
    parameters: &'a str,
    /// A bit for each of [`FEEDBACK`].
    feedback: u8,
}

impl Described<'_> {
    fn parameter(&self, key: &str) -> Option<&str> {
        let pairs = self.parameters.split(';').map(str::trim);
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(name, value)| name.eq_ignore_ascii_case(key).then_some(value))
    }

    /// The format, if it is one of ours, and whether it is one that others are better than.
    fn format(&self, kind: TrackKind) -> Option<(Format, bool)> {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name);
        let number = |key| self.parameter(key).and_then(|value| value.parse().ok());
        let (codec, profile, worse) = match kind {
            TrackKind::Audio if is("opus/48000/2") => (Codec::Opus, 0, false),
            TrackKind::Video if is("vp8/90000") => (Codec::Vp8, 0, false),
            TrackKind::Video if is("vp9/90000") => {
                (Codec::Vp9, number("profile-id").unwrap_or(0), false)
            }
            TrackKind::Video if is("av1/90000") => {
                (Codec::Av1, number("profile").unwrap_or(0), false)
            }
            TrackKind::Video if is("h264/90000") => {
                let id = self.parameter("profile-level-id");
                let id = id.and_then(|id| u32::from_str_radix(id, 16).ok());
                // Packetization mode 1 carries mode 0's packets too. Of the profile, the level is
                // no reason to refuse.
                let single = self
                    .parameter("packetization-mode")
                    .is_none_or(|mode| mode == "0");
                (Codec::H264, id.unwrap_or(0x0042_e01f) >> 8, single)
            }
            _ => return None,
        };
        Some((Format { codec, profile }, worse))
    }
}

/// One section of the offer.
struct Section<'a> {
    kind: Kind,
    /// `video`, its transport protocol and its formats, as they were offered.
    media: &'a str,
    protocol: &'a str,
    formats: &'a str,
    mid: &'a str,
    port: &'a str,
    bundle_only: bool,
    described: Vec<Described<'a>>,
    /// Feedback for all formats.
    feedback: u8,
    extensions: ExtensionIds,
}

impl<'a> Section<'a> {
    /// Reads `<media> <port> <proto> <fmt> ...`.
    fn new(line: &'a str) -> Self {
        let mut words = line.splitn(4, ' ');
        let (media, port) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (protocol, formats) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let rtp = protocol.ends_with("RTP/SAVPF");
        let kind = match media {
            "audio" if rtp => Kind::Rtp(TrackKind::Audio),
            "video" if rtp => Kind::Rtp(TrackKind::Video),
            "application" if protocol.ends_with("DTLS/SCTP") && formats == "webrtc-datachannel" => {
                Kind::Data
            }
            _ => Kind::Other,
        };
        let payload_types = formats.split(' ').filter_map(|format| format.parse().ok());
        let described = payload_types.filter(|pt| *pt < 128).take(FORMATS_MAX);
        Self {
            kind,
            media,
            protocol,
            formats,
            mid: "",
            port,
            bundle_only: false,
            described: described
                .map(|payload_type| Described {
                    payload_type,
                    ..Described::default()
                })
                .collect(),
            feedback: 0,
            extensions: ExtensionIds::default(),
        }
    }

    /// Port 0 rejects a section (RFC 3264 section 6) that is not for its bundle only (RFC 9143).
    fn is_offered(&self) -> bool {
        self.port != "0" || self.bundle_only
    }

    fn read(&mut self, line: &'a str) {
        self.bundle_only |= line == "a=bundle-only";
        let Some((name, value)) = line.strip_prefix("a=").and_then(|a| a.split_once(':')) else {
            return;
        };
        match name {
            "mid" => self.mid = value,
            "extmap" => self.read_extension(value),
            "rtpmap" | "fmtp" | "rtcp-fb" => {
                let Some((payload_type, rest)) = value.split_once(' ') else {
                    return;
                };
                let bit = || {
                    let at = FEEDBACK.iter().position(|feedback| *feedback == rest);
                    at.map_or(0, |at| 1 << at)
                };
                if payload_type == "*" && name == "rtcp-fb" {
                    self.feedback |= bit();
                }
                let Ok(payload_type) = payload_type.parse::<u8>() else {
                    return;
                };
                let same = |d: &&mut Described<'_>| d.payload_type == payload_type;
                let Some(described) = self.described.iter_mut().find(same) else {
                    return;
                };
                match name {
                    "rtpmap" => described.name = rest,
                    "fmtp" => described.parameters = rest,
                    _ => described.feedback |= bit(),
                }
            }
            _ => {}
        }
    }

    /// Reads `<id>[/<direction>] <uri>` (RFC 8285 section 5).
    fn read_extension(&mut self, value: &str) {
        let mut words = value.split(' ');
        let (id, uri) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let (id, direction) = id.split_once('/').unwrap_or((id, "sendrecv"));
        let receives = matches!(direction, "sendrecv" | "recvonly");
        let id = id
            .parse()
            .ok()
            .filter(|id| (1..15).contains(id) && receives);
        if let (Some(place), Some(id)) = (extension(&mut self.extensions, uri, self.kind), id) {
            *place = Some(id);
        }
    }

    /// Writes what we send in this section. `None`: it has no format of ours.
    fn write_stream(
        &self,
        kind: TrackKind,
        local: &Local<'_>,
        out: &mut String,
    ) -> Option<StreamConfig> {
        let chosen = self.choose(kind);
        if chosen.is_empty() {
            return None;
        }
        let _ = write!(out, "m={} 9 {}", self.media, self.protocol);
        for (_, accepted) in &chosen {
            let _ = write!(out, " {}", accepted.payload_type);
            if let Some(resend) = accepted.resend_payload_type {
                let _ = write!(out, " {resend}");
            }
        }
        let track = self.media;
        let _ = write!(
            out,
            "\r\nc=IN IP4 0.0.0.0\r\n{}a=sendonly\r\na=msid:{STREAM} {track}\r\n\
             a=rtcp-mux\r\na=rtcp-mux-only\r\na=rtcp-rsize\r\n",
            self.mid_line()
        );
        let mut ids = self.extensions;
        for uri in EXTENSIONS {
            if let Some(Some(id)) = extension(&mut ids, uri, self.kind) {
                let _ = write!(out, "a=extmap:{id} {uri}\r\n");
            }
        }
        for (described, accepted) in &chosen {
            self.write_format(described, accepted, out);
        }
        let [audio, video, again] = local.ssrcs;
        let resends = chosen
            .iter()
            .any(|(_, accepted)| accepted.resend_payload_type.is_some());
        let (ssrc, resend_ssrc) = match kind {
            TrackKind::Audio => (audio, None),
            TrackKind::Video => (video, Some(again).filter(|_| resends)),
        };
        if let Some(again) = resend_ssrc {
            let _ = write!(out, "a=ssrc-group:FID {ssrc} {again}\r\n");
        }
        for ssrc in [Some(ssrc), resend_ssrc].into_iter().flatten() {
            let _ = write!(out, "a=ssrc:{ssrc} cname:{STREAM}\r\n");
        }
        Some(StreamConfig {
            kind,
            mid: self.mid.to_owned(),
            cname: STREAM.to_owned(),
            ssrc,
            resend_ssrc,
            clock_rate: match kind {
                TrackKind::Audio => 48_000,
                TrackKind::Video => 90_000,
            },
            accepted: chosen.into_iter().map(|(_, accepted)| accepted).collect(),
            extensions: self.extensions,
        })
    }

    /// The formats of ours in the viewer's order, those that others are better than last.
    fn choose(&self, kind: TrackKind) -> Vec<(Described<'a>, Accepted)> {
        let mut chosen = Vec::with_capacity(self.described.len());
        let mut worse = Vec::new();
        for described in &self.described {
            let Some((format, is_worse)) = described.format(kind) else {
                continue;
            };
            let accepted = Accepted {
                format,
                payload_type: described.payload_type,
                resend_payload_type: self.resend_of(described.payload_type, kind),
            };
            let list = if is_worse { &mut worse } else { &mut chosen };
            list.push((*described, accepted));
        }
        // Redundant Opus (RFC 2198), where it is made of the Opus that was chosen.
        let opus = chosen.first().map(|(opus, _)| opus.payload_type);
        let red = self.described.iter().find(|d| {
            let of = d
                .parameters
                .split('/')
                .next()
                .and_then(|of| of.parse().ok());
            kind == TrackKind::Audio
                && d.name.eq_ignore_ascii_case("red/48000/2")
                && of.is_some()
                && of == opus
        });
        chosen.append(&mut worse);
        chosen.extend(red.map(|red| {
            let format = Format {
                codec: Codec::Red,
                profile: 0,
            };
            let accepted = Accepted {
                format,
                payload_type: red.payload_type,
                resend_payload_type: None,
            };
            (*red, accepted)
        }));
        chosen
    }

    /// The payload type under which `of` is sent again (RFC 4588 section 8.1). Audio is not.
    fn resend_of(&self, of: u8, kind: TrackKind) -> Option<u8> {
        if kind == TrackKind::Audio {
            return None;
        }
        let apt = |d: &Described<'_>| d.parameter("apt").and_then(|apt| apt.parse().ok());
        let mut resends = self.described.iter();
        resends
            .find(|d| d.name.eq_ignore_ascii_case("rtx/90000") && apt(d) == Some(of))
            .map(|resend| resend.payload_type)
    }

    fn write_format(&self, described: &Described<'_>, accepted: &Accepted, out: &mut String) {
        let (payload_type, name) = (described.payload_type, described.name);
        let _ = write!(out, "a=rtpmap:{payload_type} {name}\r\n");
        let acted_on = match accepted.format.codec.kind() {
            TrackKind::Audio => TRANSPORT_CC,
            TrackKind::Video => u8::MAX,
        };
        let feedback = (described.feedback | self.feedback) & acted_on;
        for (bit, name) in FEEDBACK.iter().enumerate() {
            if feedback >> bit & 1 == 1 {
                let _ = write!(out, "a=rtcp-fb:{payload_type} {name}\r\n");
            }
        }
        if accepted.format.codec == Codec::Opus {
            // Stereo where the viewer would play it (RFC 7587 section 7.1).
            let stereo = matches!(described.parameter("stereo"), Some("1"))
                || matches!(described.parameter("sprop-stereo"), Some("1"));
            let stereo = if stereo {
                ";stereo=1;sprop-stereo=1"
            } else {
                ""
            };
            let _ = write!(
                out,
                "a=fmtp:{payload_type} minptime=10;useinbandfec=1{stereo}\r\n"
            );
        } else if !described.parameters.is_empty() {
            let _ = write!(out, "a=fmtp:{payload_type} {}\r\n", described.parameters);
        }
        if let Some(resend) = accepted.resend_payload_type {
            let _ = write!(
                out,
                "a=rtpmap:{resend} rtx/90000\r\na=fmtp:{resend} apt={payload_type}\r\n"
            );
        }
    }

    /// RFC 8841 section 11.
    fn write_data(&self, out: &mut String) {
        let _ = write!(
            out,
            "m={} 9 {} {}\r\nc=IN IP4 0.0.0.0\r\n{}a=sctp-port:5000\r\n\
             a=max-message-size:{MESSAGE_BYTES_MAX}\r\n",
            self.media,
            self.protocol,
            self.formats,
            self.mid_line()
        );
    }

    /// RFC 9429 section 5.3.1: a port of zero.
    fn write_rejected(&self, out: &mut String) {
        let _ = write!(
            out,
            "m={} 0 {} {}\r\nc=IN IP4 0.0.0.0\r\n{}a=inactive\r\n",
            self.media,
            self.protocol,
            self.formats,
            self.mid_line()
        );
    }

    fn mid_line(&self) -> String {
        match self.mid {
            "" => String::new(),
            mid => format!("a=mid:{mid}\r\n"),
        }
    }
}

/// Extensions that we write (RFC 8285).
const EXTENSIONS: [&str; 6] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "urn:3gpp:video-orientation",
];

/// The place of an extension that we write in sections of this kind.
fn extension<'a>(ids: &'a mut ExtensionIds, uri: &str, kind: Kind) -> Option<&'a mut Option<u8>> {
    let at = EXTENSIONS.iter().position(|known| *known == uri)?;
    let video = kind == Kind::Rtp(TrackKind::Video);
    match at {
        0 => Some(&mut ids.mid),
        1 => Some(&mut ids.transport_sequence),
        2 => Some(&mut ids.capture_time),
        3 if video => Some(&mut ids.playout_delay),
        4 if !video => Some(&mut ids.audio_level),
        5 if video => Some(&mut ids.orientation),
        _ => None,
    }
}

/// The same in each section: with BUNDLE once would do (RFC 9143 section 7), but peers that gather
/// for a section of their own choice look for it there.
fn write_transport(local: &Local<'_>, active: bool, out: &mut String) {
    let setup = if active { "active" } else { "passive" };
    let _ = write!(
        out,
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle ice2\r\na=fingerprint:{}\r\n\
         a=setup:{setup}\r\n",
        local.ufrag, local.password, local.fingerprint
    );
    for candidate in local.candidates {
        let _ = write!(out, "a={candidate}\r\n");
    }
    // An agent that is lite gathers nothing later (RFC 8840 section 4.1).
    out.push_str("a=end-of-candidates\r\n");
}

#[cfg(test)]
mod tests;
