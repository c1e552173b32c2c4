//! What an SDP offer asks for, and whether all of it can be served.
//!
//! An offer is read once, whoever sends it, before anything is allocated for a session: either it
//! becomes an [`Offer`], which can be [answered](Offer::answer), or a [`Refusal`] that says which
//! section is at fault and why. A publisher's offer is served whole or not at all (RFC 9725
//! section 4.2): nobody goes live with half of a show. A viewer's sections are taken or rejected
//! one by one.

mod formats;
mod layers;
mod refusal;

use std::collections::HashSet;

use lightstick_types::{Codec, Layer, Role, TrackId, TrackKind, VIDEO_TRACKS_MAX};

pub use crate::sdp::{Fault, SdpError};
pub(crate) use formats::Chosen;
pub use layers::{layers_of, layers_of_group};
pub use refusal::{OfferError, Reason, Refusal, SectionName};

use crate::fingerprint::Fingerprints;
use crate::sdp::{Direction, Media, Sdp, SsrcGroup, Transport};

const fn tracks_max(kind: TrackKind) -> usize {
    match kind {
        TrackKind::Audio => 1,
        TrackKind::Video => VIDEO_TRACKS_MAX,
    }
}

/// A header extension that we read or write (RFC 8285).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// The section of a stream (RFC 9143 section 15).
    Mid,
    /// Transport-wide sequence number.
    TransportSequence,
    /// `abs-capture-time`.
    CaptureTime,
    /// `playout-delay`, of video.
    PlayoutDelay,
    /// Of audio (RFC 6464).
    AudioLevel,
    /// Of video (3GPP TS 26.114).
    Orientation,
    /// The simulcast id of a stream (RFC 8852 section 3.1).
    Rid,
    /// The simulcast id of the stream that is sent again (RFC 8852 section 3.2).
    RepairedRid,
}

impl Extension {
    const ALL: [Self; 8] = [
        Self::Mid,
        Self::TransportSequence,
        Self::CaptureTime,
        Self::PlayoutDelay,
        Self::AudioLevel,
        Self::Orientation,
        Self::Rid,
        Self::RepairedRid,
    ];

    /// Its URI in SDP.
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::TransportSequence => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::CaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::Orientation => "urn:3gpp:video-orientation",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        }
    }

    fn is_of(self, kind: TrackKind, role: Role) -> bool {
        match self {
            Self::PlayoutDelay | Self::Orientation => kind == TrackKind::Video,
            Self::AudioLevel => kind == TrackKind::Audio,
            Self::Rid | Self::RepairedRid => role == Role::Publisher,
            Self::Mid | Self::TransportSequence | Self::CaptureTime => true,
        }
    }
}

/// An extension under the id that the offerer gave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped {
    pub(crate) extension: Extension,
    pub(crate) id: u8,
    /// It was offered with a direction, and is answered with one.
    pub(crate) directed: bool,
}

/// One stream of a simulcast with rids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    pub rid: Box<str>,
    /// The layer that it is.
    pub layer: Layer,
    /// `pt=96;max-width=1280` of its `a=rid`, as far as it is answered.
    pub(crate) restrictions: Box<str>,
    /// It has an `a=rid` line of its own.
    pub(crate) described: bool,
}

/// A section that is taken.
#[derive(Clone, Debug)]
pub struct Track {
    pub kind: TrackKind,
    pub(crate) line: Line,
    pub(crate) formats: Vec<Chosen>,
    pub(crate) extensions: Vec<Mapped>,
    pub(crate) rtcp_rsize: bool,
    pub(crate) mixed: bool,
    /// The form that the publisher gave its simulcast, best first as it wrote them.
    pub(crate) encodings: Vec<Encoding>,
    pub(crate) has_simulcast: bool,
    /// The streams of a simulcast without rids.
    pub(crate) group: Vec<(u32, Layer)>,
    /// Announced streams, those that send others again left out.
    pub(crate) ssrcs: Vec<u32>,
    /// Announced streams, and which stream each sends again.
    pub(crate) repairs: Vec<(u32, u32)>,
}

impl Track {
    /// Its `a=mid`, if it has one.
    #[must_use]
    pub fn mid(&self) -> Option<&str> {
        self.line.mid.as_deref()
    }

    /// The simulcast streams with a name. None: no simulcast, or one without rids.
    #[must_use]
    pub fn encodings(&self) -> &[Encoding] {
        &self.encodings
    }

    /// The id of an extension.
    #[must_use]
    pub fn id_of(&self, extension: Extension) -> Option<u8> {
        let mapped = self.extensions.iter();
        let mut found = mapped.filter(|mapped| mapped.extension == extension);
        found.next().map(|mapped| mapped.id)
    }

    /// Its extensions under their ids.
    pub fn extensions(&self) -> impl Iterator<Item = (u8, Extension)> {
        self.extensions.iter().map(|m| (m.id, m.extension))
    }

    /// Its formats under their payload types, the preferred first.
    pub fn accepted(&self) -> impl Iterator<Item = crate::egress::Accepted> {
        self.formats.iter().map(|chosen| chosen.accepted)
    }

    /// Whether a format of it has this RTCP feedback, as `a=rtcp-fb` names it.
    #[must_use]
    pub fn has_feedback(&self, name: &str) -> bool {
        let bit = crate::sdp::FEEDBACK.iter().position(|known| *known == name);
        let has = |chosen: &Chosen| bit.is_some_and(|bit| chosen.feedback >> bit & 1 == 1);
        self.formats.iter().any(has)
    }

    /// The values of a parameter, such as `sprop-parameter-sets`, in all of its formats.
    pub fn parameters<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.formats
            .iter()
            .filter_map(move |chosen| chosen.parameter(key))
    }

    /// Whether its Opus is written with one channel. RFC 7587 section 7: it is always two, whatever
    /// is in them.
    #[must_use]
    pub fn is_labelled_mono(&self) -> bool {
        let mut formats = self.formats.iter();
        formats.any(|c| c.accepted.format.codec == Codec::Opus && !c.name.ends_with("/2"))
    }
}

/// What an answer repeats of a section's first lines.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) media: Box<str>,
    pub(crate) protocol: Box<str>,
    pub(crate) formats: Box<str>,
    pub(crate) mid: Option<Box<str>>,
}

impl Line {
    fn of(media: &Media<'_>) -> Self {
        Self {
            media: media.kind.into(),
            protocol: media.protocol.into(),
            formats: media.formats.into(),
            mid: media.mid.map(Into::into),
        }
    }
}

/// What becomes of a section.
#[derive(Clone, Debug)]
pub(crate) enum Section {
    Taken(Box<Track>),
    /// It may carry media, but in no direction now.
    Inactive(Box<Track>),
    Data(Line),
    Rejected(Line),
}

/// An offer that can be answered.
#[derive(Clone, Debug)]
pub struct Offer {
    role: Role,
    /// The peer's ICE user fragment.
    pub ufrag: String,
    /// The peer's ICE password.
    pub password: String,
    /// The peer's certificate.
    pub fingerprints: Fingerprints,
    /// We begin the DTLS handshake (RFC 8842 section 5.3).
    pub dtls_active: bool,
    /// A data channel section is accepted.
    pub data: bool,
    pub(crate) mixed: bool,
    /// The mids of the answer's BUNDLE group; `None` where none was offered.
    pub(crate) bundle: Option<String>,
    pub(crate) sections: Vec<Section>,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`OfferError`], the first fault that is found.
    pub fn read(text: &str, role: Role) -> Result<Self, OfferError> {
        let sdp = Sdp::parse(text)?;
        let fingerprints = Fingerprints::read(text);
        Ok(Reading::new(&sdp, role, fingerprints)?.decide()?)
    }

    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What is sent, in the order of the sections: at most one audio track and
    /// [`VIDEO_TRACKS_MAX`] of video.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.sections.iter().filter_map(|section| match section {
            Section::Taken(track) => Some(&**track),
            Section::Inactive(_) | Section::Data(_) | Section::Rejected(_) => None,
        })
    }
}

impl Offer {
    /// What a publisher sends, each under the id that it has in its room: video tracks are numbered
    /// in the order of their sections.
    pub fn numbered(&self) -> impl Iterator<Item = (TrackId, &Track)> {
        let mut videos = TrackId::videos();
        self.tracks().filter_map(move |track| match track.kind {
            TrackKind::Audio => Some((TrackId::AUDIO, track)),
            TrackKind::Video => Some((videos.next()?, track)),
        })
    }
}

/// An offer between its text and the decision.
struct Reading<'s, 'a> {
    sdp: &'s Sdp<'a>,
    role: Role,
    /// The bundle that the media is in, in its order.
    bundle: Vec<&'a str>,
    /// Whether each section goes the way that this side goes.
    active: Vec<bool>,
    fingerprints: Fingerprints,
}

impl<'s, 'a> Reading<'s, 'a> {
    fn new(sdp: &'s Sdp<'a>, role: Role, fingerprints: Fingerprints) -> Result<Self, Refusal> {
        let mut seen = HashSet::new();
        for (index, media) in sdp.media.iter().enumerate() {
            if media.mid.is_some_and(|mid| !seen.insert(mid)) {
                return Err(refused(index, media, Reason::SameMid));
            }
        }
        let goes = |direction: Direction| match role {
            Role::Publisher => direction.sends(),
            Role::Viewer => direction.receives(),
        };
        let active = sdp.media.iter();
        let active = active.map(|m| kind_of(m).is_some() && m.is_offered() && goes(m.direction));
        let active: Vec<bool> = active.collect();
        let first = active.iter().position(|active| *active);
        let first = first.and_then(|index| sdp.media[index].mid);
        // Of several groups (RFC 9143 section 7.2) the one with the media.
        let has_first = |group: &&&str| first.is_some_and(|mid| mids(group).any(|m| m == mid));
        let group = sdp.bundles.iter().find(has_first).or(sdp.bundles.first());
        Ok(Self {
            sdp,
            role,
            bundle: group.map_or_else(Vec::new, |group| mids(group).collect()),
            active,
            fingerprints,
        })
    }

    fn decide(self) -> Result<Offer, Refusal> {
        if self.sdp.ice_lite {
            return Err(Reason::IceLite.into());
        }
        self.check_directions()?;
        let mut sections = Vec::with_capacity(self.sdp.media.len());
        for (index, media) in self.sdp.media.iter().enumerate() {
            sections.push(self.section(index, media, &sections)?);
        }
        let taken = |section: &Section| matches!(section, Section::Taken(_));
        if !sections.iter().any(taken) {
            return Err(self.nothing_taken());
        }
        separate(&mut sections);
        let transport = self.transport(&sections);
        let (ufrag, password) = credentials(&transport)?;
        let fingerprints = self.fingerprints.clone();
        if fingerprints.is_empty() {
            return Err(match transport.fingerprint {
                true => Reason::FingerprintHash.into(),
                false => Reason::NoFingerprint.into(),
            });
        }
        Ok(Offer {
            role: self.role,
            ufrag: ufrag.to_owned(),
            password: password.to_owned(),
            fingerprints,
            dtls_active: transport.setup == Some("passive"),
            data: sections.iter().any(|s| matches!(s, Section::Data(_))),
            mixed: self.sdp.mixed,
            bundle: (!self.sdp.bundles.is_empty()).then(|| self.answered_bundle(&sections)),
            sections,
        })
    }

    /// Something has to go the right way; a publisher has one MediaStream, and no more tracks of a
    /// kind than can be served.
    fn check_directions(&self) -> Result<(), Refusal> {
        let media = || self.sdp.media.iter().enumerate();
        let active = || media().filter(|(index, _)| self.active[*index]);
        if active().next().is_none() {
            let offered = |media: &Media<'_>| kind_of(media).is_some() && media.is_offered();
            return match media().find(|(_, media)| offered(media)) {
                Some((index, media)) => Err(refused(index, media, Reason::Direction)),
                None => Err(Reason::NoMedia.into()),
            };
        }
        let several = active().count() > 1;
        let (mut kinds, mut stream) = (Vec::new(), None);
        for (index, media) in active() {
            let Some(kind) = kind_of(media) else {
                continue;
            };
            let fail = |reason| Err(refused(index, media, reason));
            if several && !self.is_bundled(media) {
                return fail(Reason::NotBundled);
            }
            if self.role == Role::Viewer {
                continue;
            }
            kinds.push(kind);
            let tracks = kinds.iter().filter(|known| **known == kind).count();
            if tracks > tracks_max(kind) {
                return fail(match kind {
                    TrackKind::Audio => Reason::SecondAudio,
                    TrackKind::Video => Reason::VideoTracks,
                });
            }
            for named in media.streams.into_iter().flatten() {
                if *stream.get_or_insert(named) != named {
                    return fail(Reason::SecondStream);
                }
            }
        }
        // With BUNDLE it may be said of any section (RFC 9143 section 9.3).
        if !active().any(|(_, media)| media.rtcp_mux) {
            let (index, media) = active().next().expect("there is one");
            return Err(refused(index, media, Reason::RtcpMux));
        }
        Ok(())
    }

    fn section(
        &self,
        index: usize,
        media: &Media<'_>,
        before: &[Section],
    ) -> Result<Section, Refusal> {
        let rejected = || Ok(Section::Rejected(Line::of(media)));
        if !media.is_offered() {
            return rejected();
        }
        let Some(kind) = kind_of(media) else {
            let known = before.iter().any(|s| matches!(s, Section::Data(_)));
            return match is_data(media) && self.is_bundled(media) && !known {
                true => Ok(Section::Data(Line::of(media))),
                false => rejected(),
            };
        };
        let taken = |s: &&Section| matches!(s, Section::Taken(track) if track.kind == kind);
        let is_free = before.iter().filter(taken).count() < tracks_max(kind);
        match self.track(media, kind) {
            Ok(track) if self.active[index] && is_free => Ok(Section::Taken(Box::new(track))),
            Ok(track) if !self.active[index] && self.is_bundled(media) => {
                Ok(Section::Inactive(Box::new(track)))
            }
            Err(reason) if self.active[index] && self.role == Role::Publisher => {
                Err(refused(index, media, reason))
            }
            _ => rejected(),
        }
    }

    fn track(&self, media: &Media<'_>, kind: TrackKind) -> Result<Track, Reason> {
        if !media.is_rtp() {
            return Err(Reason::Protocol(refusal::shown(media.protocol).into()));
        }
        let formats = formats::choose(media, kind, self.role)?;
        let (encodings, group) = match self.role {
            Role::Publisher => simulcast(media, &formats)?,
            Role::Viewer => (Vec::new(), Vec::new()),
        };
        let repairs: Vec<(u32, u32)> = media
            .groups
            .iter()
            .filter_map(|group| match group {
                SsrcGroup::Repair { media, repair } => Some((*repair, *media)),
                SsrcGroup::Simulcast(_) => None,
            })
            .collect();
        let is_repair = |ssrc: &u32| repairs.iter().any(|(repair, _)| repair == ssrc);
        let ssrcs = media.ssrcs.iter().copied();
        Ok(Track {
            kind,
            line: Line::of(media),
            formats,
            extensions: self.extensions(media, kind),
            rtcp_rsize: media.rtcp_rsize,
            mixed: media.mixed,
            has_simulcast: media.simulcast.is_some(),
            encodings,
            group,
            ssrcs: ssrcs.filter(|ssrc| !is_repair(ssrc)).collect(),
            repairs,
        })
    }

    /// Ids of one byte's headers (RFC 8285 section 4.2), which each of our headers has; what the
    /// offerer would not send a publisher's way, or not take, is left out.
    fn extensions(&self, media: &Media<'_>, kind: TrackKind) -> Vec<Mapped> {
        let mut mapped: Vec<Mapped> = Vec::new();
        for offered in &media.extensions {
            let known = Extension::ALL.into_iter();
            let mut known = known.filter(|known| known.is_of(kind, self.role));
            let Some(extension) = known.find(|known| known.uri() == offered.uri) else {
                continue;
            };
            let direction = offered.direction.unwrap_or_default();
            let goes = match self.role {
                Role::Publisher => direction.sends(),
                Role::Viewer => direction.receives(),
            };
            let Some(id) = u8::try_from(offered.id)
                .ok()
                .filter(|id| goes && (1..15).contains(id))
            else {
                continue;
            };
            if mapped
                .iter()
                .all(|m| m.extension != extension && m.id != id)
            {
                mapped.push(Mapped {
                    extension,
                    id,
                    directed: offered.direction.is_some(),
                });
            }
        }
        mapped
    }

    fn is_bundled(&self, media: &Media<'_>) -> bool {
        media.mid.is_some_and(|mid| self.bundle.contains(&mid))
    }

    /// No section of a viewer could be taken: why its first one was not.
    fn nothing_taken(&self) -> Refusal {
        for (index, media) in self.sdp.media.iter().enumerate() {
            if let Some(kind) = kind_of(media).filter(|_| self.active[index])
                && let Err(reason) = self.track(media, kind)
            {
                return refused(index, media, reason);
            }
        }
        Reason::NoMedia.into()
    }

    /// ICE and DTLS of the offer. With BUNDLE the first section of the group that is accepted
    /// speaks for all (RFC 9143 section 7.3.1); what it does not say may stand elsewhere.
    fn transport(&self, sections: &[Section]) -> Transport<'a> {
        let accepted = |index: usize| !matches!(sections[index], Section::Rejected(_));
        let media = self.sdp.media.iter().enumerate();
        let place = |media: &Media<'_>| {
            let place = media
                .mid
                .and_then(|mid| self.bundle.iter().position(|m| *m == mid));
            place.unwrap_or(usize::MAX)
        };
        let mut order: Vec<(bool, usize, usize)> = media
            .map(|(index, media)| (!accepted(index), place(media), index))
            .collect();
        order.sort_unstable();
        let mut levels = order
            .iter()
            .map(|(_, _, index)| &self.sdp.media[*index].transport);
        let first = levels.next().copied().unwrap_or_default();
        levels.fold(first.or(&self.sdp.transport), |found, level| {
            found.or(level)
        })
    }

    /// The accepted mids in the order of the offer's group: the first one keeps its place
    /// (RFC 9143 section 7.3.1).
    fn answered_bundle(&self, sections: &[Section]) -> String {
        let accepted: HashSet<&str> = sections
            .iter()
            .filter_map(|section| match section {
                Section::Taken(track) | Section::Inactive(track) => track.mid(),
                Section::Data(line) => line.mid.as_deref(),
                Section::Rejected(_) => None,
            })
            .collect();
        let mut answered = String::new();
        for mid in self.bundle.iter().filter(|mid| accepted.contains(*mid)) {
            answered.push(' ');
            answered.push_str(mid);
        }
        answered
    }
}

fn refused(index: usize, media: &Media<'_>, reason: Reason) -> Refusal {
    Refusal {
        section: Some(SectionName::of(index, media)),
        reason,
    }
}

fn mids<'a>(group: &&'a str) -> impl Iterator<Item = &'a str> + use<'a> {
    group.split_ascii_whitespace()
}

fn kind_of(media: &Media<'_>) -> Option<TrackKind> {
    match media.kind {
        "audio" => Some(TrackKind::Audio),
        "video" => Some(TrackKind::Video),
        _ => None,
    }
}

/// RFC 8841 section 4.1.
fn is_data(media: &Media<'_>) -> bool {
    media.kind == "application"
        && media.protocol.ends_with("DTLS/SCTP")
        && media.formats == "webrtc-datachannel"
}

/// Whether a user fragment and a password are as long as they have to be (RFC 8839 section 5.4).
/// Of the characters only those are refused that would break a check's user name.
#[must_use]
pub fn credentials_fit(ufrag: &str, password: &str) -> bool {
    let fits = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    (4..=256).contains(&ufrag.len())
        && (22..=256).contains(&password.len())
        && fits(ufrag)
        && fits(password)
}

fn credentials<'a>(transport: &Transport<'a>) -> Result<(&'a str, &'a str), Reason> {
    let (Some(ufrag), Some(password)) = (transport.ufrag, transport.password) else {
        return Err(Reason::NoIce);
    };
    match credentials_fit(ufrag, password) {
        true => Ok((ufrag, password)),
        false => Err(Reason::IceLength),
    }
}

type Simulcast = (Vec<Encoding>, Vec<(u32, Layer)>);

/// The streams of a publisher's section, by rid or by group of SSRCs.
fn simulcast(media: &Media<'_>, formats: &[Chosen]) -> Result<Simulcast, Reason> {
    let mut rids = media.sent_rids().ok_or(Reason::Simulcast)?;
    let restrictions = |rid: &str| {
        let found = media.rids.iter().find(|known| known.id == rid);
        found.map(|known| known.restrictions)
    };
    rids.retain(|rid| restrictions(rid).is_none_or(|r| has_format(r, formats)));
    let layers = layers_of(&rids).into_iter();
    let encodings: Vec<Encoding> = rids
        .iter()
        .zip(layers)
        .filter_map(|(rid, layer)| {
            Some(Encoding {
                rid: (*rid).into(),
                layer: layer?,
                restrictions: answered_restrictions(restrictions(rid).unwrap_or(""), formats)
                    .into(),
                described: restrictions(rid).is_some(),
            })
        })
        .collect();
    let mut groups = media.groups.iter();
    let group = groups.find_map(|group| match group {
        SsrcGroup::Simulcast(ssrcs) if encodings.is_empty() => Some(layers_of_group(ssrcs)),
        _ => None,
    });
    Ok((encodings, group.unwrap_or_default()))
}

/// The payload types that a rid is restricted to; none: it is not.
fn restricted(restrictions: &str) -> Option<&str> {
    let mut pairs = restrictions.split(';').map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix("pt="))
}

/// Whether a rid's stream may have a format that is taken (RFC 8851 section 5).
fn has_format(restrictions: &str, formats: &[Chosen]) -> bool {
    let Some(payload_types) = restricted(restrictions) else {
        return true;
    };
    payload_types.split(',').any(|pt| is_taken(pt, formats))
}

fn is_taken(payload_type: &str, formats: &[Chosen]) -> bool {
    let payload_type = payload_type.trim().parse();
    let taken = |chosen: &Chosen| Ok(chosen.accepted.payload_type) == payload_type;
    formats.iter().any(taken)
}

/// The restrictions without the payload types that are not taken.
fn answered_restrictions(restrictions: &str, formats: &[Chosen]) -> String {
    let pairs = restrictions.split(';').map(str::trim);
    let answered = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let Some(payload_types) = pair.strip_prefix("pt=") else {
            return pair.to_owned();
        };
        let kept: Vec<&str> = payload_types
            .split(',')
            .filter(|pt| is_taken(pt, formats))
            .collect();
        format!("pt={}", kept.join(","))
    });
    answered.collect::<Vec<_>>().join(";")
}

/// All media shares one transport, where a payload type must tell what a packet is (RFC 9143
/// section 9.1). The same number for media of two sections is told apart by other means; one that
/// sends media again and means something else in another section is not taken. Ids of extensions
/// mean the same everywhere (RFC 9143 section 9.4): the first section's meaning counts.
fn separate(sections: &mut [Section]) {
    let mut media: Vec<u8> = Vec::new();
    let mut resends: Vec<(u8, u8)> = Vec::new();
    let mut mapped: Vec<(u8, Extension)> = Vec::new();
    for section in &mut *sections {
        if let Section::Taken(track) | Section::Inactive(track) = section {
            media.extend(track.accepted().map(|accepted| accepted.payload_type));
            let clashes = |m: &Mapped| {
                mapped
                    .iter()
                    .any(|(id, e)| *id == m.id && *e != m.extension)
            };
            track.extensions.retain(|m| !clashes(m));
            mapped.extend(track.extensions());
        }
    }
    for section in sections {
        if let Section::Taken(track) | Section::Inactive(track) = section {
            for chosen in &mut track.formats {
                let of = chosen.accepted.payload_type;
                let resend = &mut chosen.accepted.resend_payload_type;
                let clashes = |resend: u8| {
                    let mut others = resends.iter();
                    media.contains(&resend)
                        || others.any(|known| known.0 == resend && known.1 != of)
                };
                *resend = resend.filter(|resend| !clashes(*resend));
                resends.extend(resend.map(|resend| (resend, of)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
