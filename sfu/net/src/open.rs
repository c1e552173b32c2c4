//! Opening: an offer that was read becomes a session with an answer, and an ICE restart gives it
//! new credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::answer::{Local, MESSAGE_BYTES_MAX};
use lightstick_sfu_core::ice::{Agent, Credentials, Timing};
use lightstick_sfu_core::offer::{Extension, Offer, credentials_fit};
use lightstick_sfu_core::parked::Parked;
use lightstick_sfu_core::room::Viewer;
use lightstick_types::{Bitrate, Codec};
use str0m::config::{DtlsVersion, Fingerprint};
use str0m::format::{Codec as RtcCodec, CodecConfig, FormatParams};
use str0m::media::Frequency;
use str0m::rtp::{Extension as RtcExtension, ExtensionMap};
use str0m::{Candidate, IceCreds, Rtc, RtcConfig};

use crate::api::{CommandError, LocalIce, OpenError, RemoteIce, RoleConfig};
use crate::chat::{Chat, UNSENT_BYTES_MAX};
use crate::command::Opening;
use crate::connection::{Begins, Connection};
use crate::dtls::{KeyDrop, Peer};
use crate::ingress::{Ingress, kind_of, mid_of};
use crate::session::{RoleState, Session, Shared};

/// How often str0m reports a publisher's loss and round-trip time.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// A shard's own candidates, as str0m takes them and as they stand in SDP.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    list: Vec<Candidate>,
    text: Vec<String>,
}

impl FromIterator<Candidate> for Candidates {
    fn from_iter<I: IntoIterator<Item = Candidate>>(candidates: I) -> Self {
        let list: Vec<Candidate> = candidates.into_iter().collect();
        let text = list.iter().map(Candidate::to_sdp_string).collect();
        Self { list, text }
    }
}

impl Session {
    /// Answers an offer. The session then waits for the peer's checks; a viewer is to be let into its
    /// room. `key` is the session's on its shard.
    pub(crate) fn open(
        opening: Opening,
        key: u32,
        shared: &Shared,
        candidates: &Candidates,
        now: Instant,
    ) -> Result<(Self, Option<Box<Viewer>>, String), OpenError> {
        let Opening {
            session,
            room,
            role,
            member,
            offer,
        } = opening;
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret)
            .map_err(|_| OpenError::Stack("no random numbers are to be had".to_owned()))?;
        let remote = Credentials {
            ufrag: offer.ufrag.clone(),
            password: offer.password.clone(),
        };
        let timing = Timing {
            consent: shared.config.consent_timeout,
        };
        let ice = Agent::new(&secret, remote, timing, now);
        let fingerprints = offer.fingerprints.clone();
        let ((mut rtc, keys), peer) = Peer::while_building(fingerprints, || match role {
            RoleConfig::Publisher { .. } => (publisher_rtc(&offer, shared, now), None),
            RoleConfig::Viewer { .. } => {
                let (rtc, keys) = KeyDrop::while_building(|| viewer_rtc(shared, now));
                (rtc, Some(keys))
            }
        });
        for candidate in &candidates.list {
            rtc.add_local_candidate(candidate.clone());
        }
        let failed = |error: str0m::RtcError| OpenError::Stack(error.to_string());
        let mut api = rtc.direct_api();
        let streams = match role {
            RoleConfig::Publisher { .. } => Vec::new(),
            RoleConfig::Viewer { .. } => offer.streams(distinct(|| *api.new_ssrc())),
        };
        let answer = offer.answer(&Local {
            ufrag: &ice.credentials().local.ufrag,
            password: &ice.credentials().local.password,
            fingerprint: &api.local_dtls_fingerprint().to_string(),
            candidates: &candidates.text,
            streams: &streams,
            id: (*api.new_ssrc()).into(),
        });
        api.set_remote_ice_credentials(IceCreds {
            ufrag: offer.ufrag.clone(),
            pass: offer.password.clone(),
        });
        // It wants one; `Peer` knows them all.
        api.set_remote_fingerprint(Fingerprint {
            hash_func: "sha-256".to_owned(),
            bytes: Vec::new(),
        });
        api.set_ice_controlling(false);
        let data = offer.data;
        // Its time runs from the first flight, which has to wait for the peer's address.
        let begins = offer.dtls_active.then_some(Begins { data });
        if begins.is_none() {
            api.start_dtls(false).map_err(failed)?;
            if data {
                api.start_sctp(false);
            }
        }
        let (role, viewer) = match (role, keys) {
            (RoleConfig::Viewer { choice }, Some(keys)) => {
                let packets = shared.config.rtx_packets;
                let viewer = Viewer::new(key, streams, choice, packets, now);
                let role = RoleState::Viewer { keys, seat: None };
                (role, Some(Box::new(viewer)))
            }
            (RoleConfig::Viewer { .. }, None) => unreachable!("made with its keys above"),
            (RoleConfig::Publisher { bitrate_max }, _) => {
                (publisher(&offer, &mut rtc, bitrate_max), None)
            }
        };
        let mut connection = Connection::new(rtc, peer, begins, now);
        if let Some(candidate) = candidates.list.first() {
            connection.attach(candidate, &offer.ufrag).map_err(failed)?;
        }
        let mut session = Self::new(session, room, role, connection, ice);
        session.chat = member.map(|member| Box::new(Chat::new(member)));
        Ok((session, viewer, answer))
    }

    /// Answers the peer's ICE restart (RFC 8445 section 9). DTLS and media go on.
    pub(crate) fn restart_ice(
        &mut self,
        ice: &RemoteIce,
        candidates: &Candidates,
    ) -> Result<LocalIce, CommandError> {
        if !credentials_fit(&ice.ufrag, &ice.pwd) {
            let why = "ice-ufrag has 4 to 256 characters, ice-pwd 22 to 256";
            return Err(CommandError::Refused(why.to_owned()));
        }
        let local = self.ice.restart(Credentials {
            ufrag: ice.ufrag.clone(),
            password: ice.pwd.clone(),
        });
        Ok(LocalIce {
            ufrag: local.ufrag.clone(),
            pwd: local.password.clone(),
            candidates: candidates.text.clone(),
        })
    }
}

/// str0m opens what a publisher sends: it knows its payload types and header extensions, but of
/// the offer's names nothing. Which stream is which, [`Ingress`] tells.
fn publisher_rtc(offer: &Offer, shared: &Shared, now: Instant) -> Rtc {
    let mut config = rtc_config(shared)
        .set_stats_interval(Some(STATS_EVERY))
        .set_extension_map(extension_map(offer));
    set_codecs(offer, config.codec_config());
    config.build(now)
}

fn publisher(offer: &Offer, rtc: &mut Rtc, bitrate_max: Bitrate) -> RoleState {
    let mut api = rtc.direct_api();
    for (id, track) in offer.numbered() {
        api.declare_media(mid_of(id), kind_of(track.kind));
        let counts = track.id_of(Extension::TransportSequence).is_some();
        if counts && track.has_feedback("transport-cc") {
            api.enable_twcc_feedback();
        }
    }
    let ingress = Box::new(Ingress::new(offer));
    let parked = Parked::new(ingress.promise());
    RoleState::Publisher {
        ingress,
        bitrate_max,
        parked: Some(Box::new(parked)),
    }
}

/// Of a viewer's session str0m has DTLS and SCTP only: what it is sent is our egress's.
fn viewer_rtc(shared: &Shared, now: Instant) -> Rtc {
    let mut config = rtc_config(shared);
    if !shared.config.viewer_dtls13 {
        config = config.set_dtls_version(DtlsVersion::Dtls12);
    }
    config.build(now)
}

/// Numbers that are different and not 0.
fn distinct(mut random: impl FnMut() -> u32) -> impl FnMut() -> u32 {
    let mut given = vec![0];
    move || {
        let mut number = 0;
        while given.contains(&number) {
            number = random();
        }
        given.push(number);
        number
    }
}

fn rtc_config(shared: &Shared) -> RtcConfig {
    Rtc::builder()
        .set_crypto_provider(Arc::clone(&shared.crypto))
        .set_dtls_cert(shared.certificate.clone())
        .set_fingerprint_verification(false)
        .set_ice_lite(true)
        .set_rtp_mode(true)
        .set_sctp_max_buffered_amount(UNSENT_BYTES_MAX)
        .set_sctp_max_message_size(MESSAGE_BYTES_MAX)
        .clear_codecs()
}

/// One entry a payload type, of media and of redundant media (RFC 2198), which goes on unopened.
/// Where two sections share a payload type they share the entry: str0m takes no more from it than
/// the clock of its jitter.
fn set_codecs(offer: &Offer, codecs: &mut CodecConfig) {
    let mut known = Vec::new();
    for accepted in offer.tracks().flat_map(|track| track.accepted()) {
        if known.contains(&accepted.payload_type) {
            continue;
        }
        known.push(accepted.payload_type);
        let (codec, clock, channels) = match accepted.format.codec {
            Codec::H264 => (RtcCodec::H264, Frequency::NINETY_KHZ, None),
            Codec::Vp8 => (RtcCodec::Vp8, Frequency::NINETY_KHZ, None),
            Codec::Vp9 => (RtcCodec::Vp9, Frequency::NINETY_KHZ, None),
            Codec::Av1 => (RtcCodec::Av1, Frequency::NINETY_KHZ, None),
            Codec::Opus | Codec::Red => (RtcCodec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2)),
        };
        codecs.add_config(
            accepted.payload_type.into(),
            accepted.resend_payload_type.map(Into::into),
            codec,
            clock,
            channels,
            FormatParams::default(),
        );
    }
}

/// The extensions that str0m reads. What tells the stream is read before it.
fn extension_map(offer: &Offer) -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    for (id, extension) in offer.tracks().flat_map(|track| track.extensions()) {
        let extension = match extension {
            Extension::Mid | Extension::Rid | Extension::RepairedRid => continue,
            Extension::TransportSequence => RtcExtension::TransportSequenceNumber,
            Extension::CaptureTime => RtcExtension::AbsoluteCaptureTime,
            Extension::PlayoutDelay => RtcExtension::PlayoutDelay,
            Extension::AudioLevel => RtcExtension::AudioLevel,
            Extension::Orientation => RtcExtension::VideoOrientation,
        };
        map.set(id, extension);
    }
    map
}
