//! What an SDP offer asks for, read line by line before any stack allocates for it.
//!
//! Full SDP parsing is the WebRTC stack's work. This looks only at what decides whether an offer
//! can be served at all, so that a refusal is typed and leaves nothing behind.

use lightstick_types::{Layer, TrackKind};

/// Why an offer is refused before it reaches the WebRTC stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It does not begin like SDP (RFC 8866 section 5).
    #[error("it does not start with v=0")]
    NotSdp,
    /// No audio and no video section.
    #[error("no audio and no video section")]
    NoMedia,
    /// Sections, but none with a codec that we forward.
    #[error("none of our codecs")]
    NoCodec,
    /// No `ice-ufrag` and `ice-pwd`.
    #[error("no ICE credentials")]
    NoIce,
    /// No `fingerprint`.
    #[error("no DTLS fingerprint")]
    NoFingerprint,
    /// Several sections without a BUNDLE group that holds them (RFC 9143).
    #[error("media that is not bundled")]
    NoBundle,
    /// More than one audio or one video section, or two MediaStreams.
    #[error("more than one track of a kind")]
    TooManyTracks,
    /// A publisher that only receives, or a viewer that only sends.
    #[error("the wrong direction")]
    Direction,
}

/// Who sends, as `a=sendrecv` and the like say it (RFC 8866 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// Offerer to answerer.
    SendOnly,
    /// Answerer to offerer.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// What the offerer wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It sends (WHIP).
    Publisher,
    /// It receives (WHEP).
    Viewer,
}

/// One audio or video section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Which kind.
    pub kind: TrackKind,
    /// `a=mid`.
    pub mid: String,
    /// Its direction as offered.
    pub direction: Direction,
    /// Simulcast ids that the offerer would send, in its order, at most [`RIDS_MAX`].
    pub rids: Vec<String>,
    /// Whether the Opus format line asks for stereo.
    pub stereo: bool,
}

/// An offer that may go to the WebRTC stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The sections with media, at most one of each kind.
    pub sections: Vec<Section>,
    /// `a=ice-ufrag` of the first section or the session.
    pub ufrag: String,
    /// `a=ice-pwd`, likewise.
    pub pwd: String,
}

/// Simulcast ids that are read; more than three have no layer anyhow. An offer is as long as its
/// sender likes, and a shard reads it beside its media.
pub const RIDS_MAX: usize = 8;

const CODECS: [&str; 5] = ["h264/", "vp8/", "vp9/", "av1/", "opus/"];

/// Reads an offer.
///
/// # Errors
/// [`OfferError`], the first that applies.
pub fn read(sdp: &str, side: Side) -> Result<Offer, OfferError> {
    let mut lines = sdp.lines().map(str::trim_end);
    if lines.next() != Some("v=0") {
        return Err(OfferError::NotSdp);
    }
    let mut session_direction = Direction::SendRecv;
    let mut bundle: Vec<&str> = Vec::new();
    let (mut ufrag, mut pwd, mut fingerprint) = (None, None, false);
    let mut streams: Vec<&str> = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    let mut codecs = 0_usize;
    let mut rejected = 0_usize;
    // Before the first m-line; in a section with media; in another or a rejected one.
    let mut place = Place::Session;
    for line in lines {
        if let Some(media) = line.strip_prefix("m=") {
            place = Place::of(media);
            match place {
                Place::Media(kind) => sections.push(Section {
                    kind,
                    mid: String::new(),
                    direction: session_direction,
                    rids: Vec::new(),
                    stereo: false,
                }),
                Place::Elsewhere => rejected += 1,
                Place::Session => {}
            }
            continue;
        }
        let Some(attribute) = line.strip_prefix("a=") else {
            continue;
        };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "ice-ufrag" => ufrag = ufrag.or(Some(value)),
            "ice-pwd" => pwd = pwd.or(Some(value)),
            "fingerprint" => fingerprint = true,
            "group" => {
                if let Some(mids) = value.strip_prefix("BUNDLE ") {
                    bundle = mids.split_ascii_whitespace().collect();
                }
            }
            _ => {}
        }
        let direction = direction(name);
        match place {
            Place::Session => session_direction = direction.unwrap_or(session_direction),
            Place::Elsewhere => {}
            Place::Media(_) => {
                let Some(section) = sections.last_mut() else {
                    continue;
                };
                if let Some(direction) = direction {
                    section.direction = direction;
                }
                match name {
                    "mid" => value.clone_into(&mut section.mid),
                    "rtpmap" => codecs += usize::from(is_ours(value)),
                    "fmtp" => section.stereo |= asks_stereo(value),
                    "simulcast" => section.rids = simulcast_ids(value),
                    "msid" => {
                        let stream = value.split_ascii_whitespace().next().unwrap_or("-");
                        // A second one is one too many: no need to know them all.
                        if stream != "-" && streams.len() < 2 && !streams.contains(&stream) {
                            streams.push(stream);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    check(&sections, side, codecs, &bundle, streams.len(), rejected)?;
    let (Some(ufrag), Some(pwd)) = (ufrag, pwd) else {
        return Err(OfferError::NoIce);
    };
    if !fingerprint {
        return Err(OfferError::NoFingerprint);
    }
    Ok(Offer {
        sections,
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
    })
}

#[derive(Clone, Copy)]
enum Place {
    Session,
    Media(TrackKind),
    Elsewhere,
}

impl Place {
    /// Reads `<media> <port> <proto> <fmt> ...`.
    fn of(media: &str) -> Self {
        let mut words = media.split_ascii_whitespace();
        match words.next() {
            Some("audio") => Self::Media(TrackKind::Audio),
            Some("video") => Self::Media(TrackKind::Video),
            _ => Self::Elsewhere,
        }
    }
}

fn check(
    sections: &[Section],
    side: Side,
    codecs: usize,
    bundle: &[&str],
    streams: usize,
    others: usize,
) -> Result<(), OfferError> {
    if sections.is_empty() {
        return Err(OfferError::NoMedia);
    }
    let count = |kind| sections.iter().filter(|s| s.kind == kind).count();
    if count(TrackKind::Audio) > 1 || count(TrackKind::Video) > 1 {
        return Err(OfferError::TooManyTracks);
    }
    // RFC 9725 section 4.4.2: one MediaStream. A viewer's offer names none of its own.
    if side == Side::Publisher && streams > 1 {
        return Err(OfferError::TooManyTracks);
    }
    if codecs == 0 {
        return Err(OfferError::NoCodec);
    }
    let fits = |section: &Section| match side {
        Side::Publisher => matches!(section.direction, Direction::SendOnly | Direction::SendRecv),
        Side::Viewer => matches!(section.direction, Direction::RecvOnly | Direction::SendRecv),
    };
    if !sections.iter().all(fits) {
        return Err(OfferError::Direction);
    }
    if sections.len() + others > 1 && !sections.iter().all(|s| bundle.contains(&s.mid.as_str())) {
        return Err(OfferError::NoBundle);
    }
    Ok(())
}

fn direction(name: &str) -> Option<Direction> {
    match name {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// `111 opus/48000/2`
fn is_ours(rtpmap: &str) -> bool {
    let name = rtpmap
        .split_ascii_whitespace()
        .nth(1)
        .unwrap_or("")
        .to_ascii_lowercase();
    CODECS.iter().any(|codec| name.starts_with(codec))
}

/// `111 minptime=10;stereo=1` (RFC 7587 section 7)
fn asks_stereo(fmtp: &str) -> bool {
    let parameters = fmtp.split_once(' ').map_or("", |(_, rest)| rest);
    parameters
        .split(';')
        .map(str::trim)
        .any(|p| p == "stereo=1" || p == "sprop-stereo=1")
}

/// `send l;m;h` or `recv x send a,b;~c` (RFC 8853 section 5.1). Of alternatives the first counts.
fn simulcast_ids(value: &str) -> Vec<String> {
    let mut words = value.split_ascii_whitespace();
    while let Some(word) = words.next() {
        if word == "send" {
            let list = words.next().unwrap_or("");
            return list
                .split(';')
                .filter_map(|alternatives| alternatives.split(',').next())
                .map(|id| id.trim_start_matches('~').to_owned())
                .filter(|id| !id.is_empty())
                .take(RIDS_MAX)
                .collect();
        }
    }
    Vec::new()
}

/// Which layer each simulcast id stands for.
///
/// The usual names speak for themselves, whatever their order; other names are in order of
/// preference, best first (RFC 8853 section 5.2). More than three: the rest have no layer.
#[must_use]
pub fn layers_of(rids: &[String]) -> Vec<Option<Layer>> {
    let by_name: Vec<Option<u8>> = rids.iter().map(|rid| rank(rid, rids)).collect();
    let ranked = by_name.iter().all(Option::is_some)
        && (0..rids.len()).all(|i| (0..i).all(|j| by_name[i] != by_name[j]));
    let mut order: Vec<usize> = (0..rids.len()).collect();
    if ranked {
        order.sort_by_key(|&i| std::cmp::Reverse(by_name[i]));
    }
    let ladder: &[Layer] = match rids.len() {
        0 | 1 => &[Layer::High],
        2 => &[Layer::High, Layer::Low],
        _ => &[Layer::High, Layer::Medium, Layer::Low],
    };
    let mut layers = vec![None; rids.len()];
    for (place, &i) in order.iter().enumerate() {
        layers[i] = ladder.get(place).copied();
    }
    layers
}

fn rank(rid: &str, all: &[String]) -> Option<u8> {
    let has = |name: &str| all.iter().any(|rid| rid.eq_ignore_ascii_case(name));
    match rid.to_ascii_lowercase().as_str() {
        "q" | "l" | "lo" | "low" | "quarter" => Some(0),
        "h" if has("f") || has("q") => Some(1),
        "half" | "m" | "mid" | "medium" => Some(1),
        "f" | "full" | "h" | "hi" | "high" => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    const ICE: &str =
        "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA\r\n";
    const AUDIO: &str =
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n";
    const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";

    fn check(body: &str, side: Side, want: Result<usize, OfferError>) {
        let got = read(&format!("{HEAD}{body}"), side).map(|offer| offer.sections.len());
        assert_eq!(got, want, "{body}");
    }

    #[test]
    fn offers() {
        use OfferError as E;
        use Side::{Publisher, Viewer};
        let bundle = "a=group:BUNDLE 0 1\r\n";
        check(&format!("{bundle}{ICE}{AUDIO}{VIDEO}"), Publisher, Ok(2));
        check(&format!("{ICE}{VIDEO}a=sendonly\r\n"), Publisher, Ok(1));
        check(
            &format!("{ICE}{VIDEO}a=sendonly\r\n"),
            Viewer,
            Err(E::Direction),
        );
        check(
            &format!("{ICE}{VIDEO}a=recvonly\r\n"),
            Publisher,
            Err(E::Direction),
        );
        check(
            &format!("a=inactive\r\n{ICE}{VIDEO}"),
            Viewer,
            Err(E::Direction),
        );
        check(&format!("{ICE}{AUDIO}{VIDEO}"), Viewer, Err(E::NoBundle));
        check(
            &format!("{bundle}{ICE}{VIDEO}{VIDEO}"),
            Publisher,
            Err(E::TooManyTracks),
        );
        check(
            &format!("{ICE}{VIDEO}").replace("VP8", "theora"),
            Viewer,
            Err(E::NoCodec),
        );
        check(VIDEO, Viewer, Err(E::NoIce));
        check(
            &format!("{}{VIDEO}", ICE.replace("fingerprint", "thumb")),
            Viewer,
            Err(E::NoFingerprint),
        );
        check(ICE, Viewer, Err(E::NoMedia));
        assert_eq!(read("hello", Viewer), Err(E::NotSdp));
        assert_eq!(read("", Viewer), Err(E::NotSdp));
        let two_streams = format!("{bundle}{ICE}{AUDIO}a=msid:a 1\r\n{VIDEO}a=msid:b 2\r\n");
        check(&two_streams, Publisher, Err(E::TooManyTracks));
    }

    #[test]
    fn details() {
        let sdp = format!(
            "{HEAD}a=group:BUNDLE 0 1\r\n{ICE}{AUDIO}a=fmtp:111 minptime=10; stereo=1\r\n{VIDEO}a=simulcast:send l;~m,x;h\r\n"
        );
        let offer = read(&sdp, Side::Publisher).unwrap();
        assert_eq!(
            (offer.ufrag.as_str(), offer.sections[0].stereo),
            ("abcd", true)
        );
        assert_eq!(offer.sections[1].rids, ["l", "m", "h"]);
        let many = sdp.replace("l;~m,x;h", &"h;".repeat(30_000));
        let offer = read(&many, Side::Publisher).unwrap();
        assert_eq!(offer.sections[1].rids.len(), RIDS_MAX);
    }

    #[test]
    fn layers_by_name_and_by_order() {
        use Layer::{High, Low, Medium};
        let check = |rids: &[&str], want: &[Option<Layer>]| {
            let rids: Vec<String> = rids.iter().map(ToString::to_string).collect();
            assert_eq!(layers_of(&rids), want, "{rids:?}");
        };
        check(&["l", "m", "h"], &[Some(Low), Some(Medium), Some(High)]);
        check(&["f", "h", "q"], &[Some(High), Some(Medium), Some(Low)]);
        check(&["q", "h", "f"], &[Some(Low), Some(Medium), Some(High)]);
        check(&["h", "l"], &[Some(High), Some(Low)]);
        check(&["0", "1", "2"], &[Some(High), Some(Medium), Some(Low)]);
        check(
            &["0", "1", "2", "3"],
            &[Some(High), Some(Medium), Some(Low), None],
        );
        check(&["x"], &[Some(High)]);
        check(&[], &[]);
    }
}
