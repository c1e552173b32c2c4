//! Which formats of a section can be forwarded.
use super::refusal::{Reason, shown};
use crate::egress::Accepted;
use crate::packet::Format;
use crate::sdp::{Described, Media, parameter};
use lightstick_types::{Codec, Role, TrackKind};

/// A format of a section that is taken, with what the answer says of it.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) accepted: Accepted,
    /// `VP8/90000`, as it was offered.
    pub(crate) name: Box<str>,
    pub(crate) parameters: Box<str>,
    /// A bit for each of [`FEEDBACK`](crate::sdp::FEEDBACK).
    pub(crate) feedback: u8,
}

impl Chosen {
    /// A parameter of its `a=fmtp`.
    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        parameter(&self.parameters, key)
    }
}

/// What a format is to us.
enum Judged {
    /// `worse`: others are better, where there are any.
    Ours {
        format: Format,
        worse: bool,
    },
    /// It helps others and carries no media of its own: RTX, FEC, comfort noise.
    Helper,
    Foreign(Reason),
}

/// The supported formats in the offerer's order, those that others are better than last.
///
/// # Errors
/// Why there is none.
pub(super) fn choose(
    media: &Media<'_>,
    kind: TrackKind,
    role: Role,
) -> Result<Vec<Chosen>, Reason> {
    let (mut chosen, mut worse) = (Vec::new(), Vec::new());
    let mut why = None;
    let mut foreign: Vec<&str> = Vec::new();
    for described in &media.described {
        let (format, is_worse) = match judge(described, kind, role) {
            Judged::Ours { format, worse } => (format, worse),
            Judged::Helper => continue,
            Judged::Foreign(Reason::Codec { .. }) => {
                let name = name_of(described);
                if !name.is_empty() && foreign.len() < 4 && !foreign.contains(&name) {
                    foreign.push(name);
                }
                continue;
            }
            Judged::Foreign(reason) => {
                why = why.or(Some(reason));
                continue;
            }
        };
        let accepted = Accepted {
            format,
            payload_type: described.payload_type,
            resend_payload_type: resend_of(media, described.payload_type, kind),
        };
        let list = if is_worse { &mut worse } else { &mut chosen };
        list.push(taken(media, described, accepted));
    }
    chosen.append(&mut worse);
    if chosen.is_empty() {
        return Err(why.unwrap_or_else(|| codecs(kind, &foreign)));
    }
    if let Some(redundant) = redundant(media, kind, chosen[0].accepted.payload_type) {
        // Browsers send redundant audio only where it is preferred.
        let at = match role {
            Role::Publisher => 0,
            Role::Viewer => chosen.len(),
        };
        chosen.insert(at, redundant);
    }
    Ok(chosen)
}

fn taken(media: &Media<'_>, described: &Described<'_>, accepted: Accepted) -> Chosen {
    Chosen {
        accepted,
        name: described.name.into(),
        parameters: described.parameters.into(),
        feedback: described.feedback | media.feedback,
    }
}

fn judge(described: &Described<'_>, kind: TrackKind, role: Role) -> Judged {
    let name = name_of(described);
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if [
        "rtx",
        "red",
        "ulpfec",
        "flexfec",
        "flexfec-03",
        "parityfec",
        "CN",
        "telephone-event",
    ]
    .into_iter()
    .any(is)
    {
        return Judged::Helper;
    }
    let foreign = || Judged::Foreign(codecs(kind, &[]));
    let number = |key| {
        described
            .parameter(key)
            .and_then(|value| value.parse().ok())
    };
    let clock = described.name.split_once('/').map_or("", |(_, rest)| rest);
    let (codec, profile) = match (kind, clock) {
        // RFC 7587 section 7 wants two channels written, whatever is sent. What comes is the same
        // Opus either way, and goes on as it is.
        (TrackKind::Audio, "48000/2" | "48000" | "48000/1") if is("opus") => (Codec::Opus, 0),
        (TrackKind::Video, "90000") if is("VP8") => (Codec::Vp8, 0),
        (TrackKind::Video, "90000") if is("VP9") => (Codec::Vp9, number("profile-id").unwrap_or(0)),
        (TrackKind::Video, "90000") if is("AV1") => (Codec::Av1, number("profile").unwrap_or(0)),
        (TrackKind::Video, "90000") if is("H264") => match h264(described, role) {
            Ok(profile) => (Codec::H264, profile),
            Err(reason) => return Judged::Foreign(reason),
        },
        _ => return foreign(),
    };
    if (64..=95).contains(&described.payload_type) {
        return Judged::Foreign(Reason::PayloadType(described.payload_type));
    }
    // Packetization mode 1 carries mode 0's packets too.
    let single = || {
        let mode = described.parameter("packetization-mode");
        mode.is_none_or(|mode| mode == "0")
    };
    Judged::Ours {
        format: Format { codec, profile },
        worse: codec == Codec::H264 && single(),
    }
}

/// Profile and constraints of H.264. The level is no reason to refuse: what is received is
/// forwarded as it is (RFC 6184 section 8.2.2 lets the answer repeat it).
fn h264(described: &Described<'_>, role: Role) -> Result<u32, Reason> {
    // What a browser takes a missing one for; RFC 6184 section 8.1 says Baseline.
    const DEFAULT: u32 = 0x0042_e01f;
    let id = described.parameter("profile-level-id");
    let id = id.and_then(|id| u32::from_str_radix(id, 16).ok());
    let profile = (id.unwrap_or(DEFAULT) >> 8) & 0xffff;
    let constraints = profile & 0xff;
    let unseen = |name: &str| {
        Err(Reason::Profile {
            codec: "H264",
            profile: name.into(),
        })
    };
    match profile >> 8 {
        // Baseline, Main and High, with any constraints.
        0x42 | 0x4d | 0x64 => Ok(profile),
        // A viewer says what it can play, and knows best.
        _ if role == Role::Viewer => Ok(profile),
        // Extended that is Constrained Baseline as well (RFC 6184 table 5).
        0x58 if constraints & 0xc0 == 0xc0 => Ok(profile),
        0x58 => unseen("Extended"),
        0x6e => unseen("High 10"),
        0x7a => unseen("High 4:2:2"),
        0xf4 => unseen("High 4:4:4 Predictive"),
        0x90 => unseen("High 4:4:4"),
        0x2c => unseen("CAVLC 4:4:4 Intra"),
        0x53 | 0x56 => unseen("Scalable"),
        0x76 | 0x80 => unseen("Multiview"),
        other => unseen(&format!("profile {other}")),
    }
}

/// The name of its codec, as it was offered.
fn name_of<'a>(described: &Described<'a>) -> &'a str {
    let name = described.name.split('/').next().unwrap_or("");
    if !name.is_empty() {
        return name;
    }
    // RFC 3551 section 6: those that need no a=rtpmap.
    match described.payload_type {
        0 => "PCMU",
        3 => "GSM",
        8 => "PCMA",
        9 => "G722",
        13 => "CN",
        18 => "G729",
        26 => "JPEG",
        31 => "H261",
        32 => "MPV",
        33 => "MP2T",
        34 => "H263",
        _ => "",
    }
}

fn codecs(kind: TrackKind, names: &[&str]) -> Reason {
    let names: Vec<String> = names.iter().map(|name| shown(name)).collect();
    let offered = match &names[..] {
        [] => "a section without a codec is".to_owned(),
        [one] => format!("{one} is"),
        [others @ .., last] => format!("{} and {last} are", others.join(", ")),
    };
    Reason::Codec {
        kind,
        offered: offered.into(),
    }
}

/// The payload type under which `of` is sent again (RFC 4588 section 8.1). Audio is not.
fn resend_of(media: &Media<'_>, of: u8, kind: TrackKind) -> Option<u8> {
    if kind == TrackKind::Audio {
        return None;
    }
    let apt = |d: &Described<'_>| d.parameter("apt").and_then(|apt| apt.parse().ok());
    let resend = media.described.iter().find(|d| {
        d.name.eq_ignore_ascii_case("rtx/90000")
            && apt(d) == Some(of)
            && !(64..=95).contains(&d.payload_type)
    });
    resend.map(|resend| resend.payload_type)
}

/// Redundant Opus (RFC 2198), where it is made of the Opus that was chosen.
fn redundant(media: &Media<'_>, kind: TrackKind, opus: u8) -> Option<Chosen> {
    let of = |d: &Described<'_>| d.parameters.split('/').next()?.trim().parse().ok();
    let red = media.described.iter().find(|d| {
        kind == TrackKind::Audio
            && d.name.eq_ignore_ascii_case("red/48000/2")
            && of(d) == Some(opus)
            && !(64..=95).contains(&d.payload_type)
    })?;
    let accepted = Accepted {
        format: Format {
            codec: Codec::Red,
            profile: 0,
        },
        payload_type: red.payload_type,
        resend_payload_type: None,
    };
    Some(taken(media, red, accepted))
}
