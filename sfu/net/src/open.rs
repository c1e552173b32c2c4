//! Answering: an offer becomes a session, and an ICE restart gives it new credentials.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::answer::{self, Local};
use lightstick_sfu_core::fingerprint::Fingerprints;
use lightstick_sfu_core::ice::{Agent, Credentials, Timing};
use lightstick_sfu_core::offer::{self, Offer, Side};
use lightstick_types::{Bitrate, LayerChoice};
use str0m::change::SdpOffer;
use str0m::config::{DtlsVersion, Fingerprint};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, IceCreds, Rtc, RtcConfig};

use crate::api::{LocalIce, OpenError, OpenSession, RemoteIce, Role, Unacceptable};
use crate::chat::{Chat, UNSENT_BYTES_MAX};
use crate::dtls::{KeyDrop, Peer};
use crate::ingress::Ingress;
use crate::sdp;
use crate::session::{Begins, Handshake, RoleState, Session, Shared};
use crate::viewer::Viewer;

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

/// What an offer has led to.
struct Opened {
    rtc: Rtc,
    role: RoleState,
    answer: String,
    /// Where the handshake is ours to begin.
    begins: Option<Begins>,
}

impl Session {
    /// Answers an offer. The session then waits for the peer's checks.
    pub(crate) fn open(
        request: OpenSession,
        shared: &Shared,
        candidates: &Candidates,
        now: Instant,
    ) -> Result<(Self, String), OpenError> {
        let side = match request.role {
            Role::Publisher { .. } => Side::Publisher,
            Role::Viewer { .. } => Side::Viewer,
        };
        let offer = offer::read(&request.offer, side)?;
        let text = &request.offer;
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret)
            .map_err(|_| Unacceptable::Other("no random numbers are to be had".to_owned()))?;
        let remote = Credentials {
            ufrag: offer.ufrag.clone(),
            password: offer.pwd.clone(),
        };
        let timing = Timing {
            consent: shared.config.consent_timeout,
        };
        let ice = Agent::new(&secret, remote, timing, now);
        let local = ice.local();
        let fingerprints = Fingerprints::read(text);
        if fingerprints.is_empty() {
            return Err(Unacceptable::NoFingerprint.into());
        }
        let (opened, peer) = Peer::while_building(fingerprints, || match request.role {
            Role::Publisher { bitrate_max } => {
                publisher(text, &offer, bitrate_max, shared, local, candidates, now)
            }
            Role::Viewer { choice } => viewer(text, &offer, choice, shared, local, candidates, now),
        });
        let opened = opened?;
        let begins = opened.begins;
        let (id, room) = (request.session, request.room);
        let handshake = Handshake { peer, begins };
        let mut session = Self::new(id, room, opened.rtc, opened.role, ice, handshake, now);
        session.chat = request.member.map(|member| Box::new(Chat::new(member)));
        if let Some(candidate) = candidates.list.first() {
            let attached = session.attach(candidate);
            attached.map_err(|error| Unacceptable::Other(error.to_string()))?;
        }
        Ok((session, opened.answer))
    }

    /// Answers the peer's ICE restart (RFC 8445 section 9). DTLS and media go on.
    pub(crate) fn restart_ice(&mut self, ice: &RemoteIce, candidates: &Candidates) -> LocalIce {
        let local = self.ice.restart(Credentials {
            ufrag: ice.ufrag.clone(),
            password: ice.pwd.clone(),
        });
        LocalIce {
            ufrag: local.ufrag.clone(),
            pwd: local.password.clone(),
            candidates: candidates.text.clone(),
        }
    }
}

/// str0m reads what a publisher offers, answers it, and opens what comes in.
fn publisher(
    text: &str,
    offer: &Offer,
    bitrate_max: Bitrate,
    shared: &Shared,
    local: &Credentials,
    candidates: &Candidates,
    now: Instant,
) -> Result<Opened, OpenError> {
    let prepared = sdp::prepare_offer(text);
    let parsed = SdpOffer::from_sdp_string(&prepared)
        .map_err(|error| OpenError::Malformed(error.to_string()))?;
    let mut rtc = rtc_config(shared)
        .set_stats_interval(Some(STATS_EVERY))
        .enable_opus(true, true)
        .enable_h264(true)
        .enable_vp8(true)
        .enable_vp9(true)
        .enable_av1(true)
        .set_extension_map(extension_map())
        .build(now);
    let mut api = rtc.direct_api();
    api.set_local_ice_credentials(credentials(&local.ufrag, &local.password));
    for candidate in &candidates.list {
        rtc.add_local_candidate(candidate.clone());
    }
    // str0m asserts that payload types do not collide, but the peer wrote them: a refusal of
    // this offer, not a bug that may be met again with the next.
    let answer = catch_unwind(AssertUnwindSafe(|| rtc.sdp_api().accept_offer(parsed)))
        .map_err(|_| Unacceptable::Other("its payload types collide".to_owned()))?
        .map_err(|error| Unacceptable::Other(error.to_string()))?
        .to_sdp_string();
    let answer = sdp::finish_answer(&answer, offer);
    let ingress = Ingress::new(&rtc, offer, text);
    if !ingress.has_format() {
        return Err(Unacceptable::NoCodec.into());
    }
    let role = RoleState::Publisher {
        ingress,
        bitrate_max,
    };
    Ok(Opened {
        rtc,
        role,
        answer,
        begins: None,
    })
}

/// Of a viewer's session str0m has DTLS and SCTP only: what it is sent is our egress's.
fn viewer(
    text: &str,
    offer: &Offer,
    choice: LayerChoice,
    shared: &Shared,
    local: &Credentials,
    candidates: &Candidates,
    now: Instant,
) -> Result<Opened, OpenError> {
    let mut config = rtc_config(shared);
    if !shared.config.viewer_dtls13 {
        config = config.set_dtls_version(DtlsVersion::Dtls12);
    }
    let (mut rtc, keys) = KeyDrop::while_building(|| config.build(now));
    for candidate in &candidates.list {
        rtc.add_local_candidate(candidate.clone());
    }
    let mut api = rtc.direct_api();
    let answer = answer::answer(
        text,
        &Local {
            ufrag: &local.ufrag,
            password: &local.password,
            fingerprint: &api.local_dtls_fingerprint().to_string(),
            candidates: &candidates.text,
            ssrcs: distinct(|| *api.new_ssrc()),
            id: (*api.new_ssrc()).into(),
        },
    )?;
    api.set_remote_ice_credentials(credentials(&offer.ufrag, &offer.pwd));
    // It wants one; `Peer` knows them all.
    api.set_remote_fingerprint(Fingerprint {
        hash_func: "sha-256".to_owned(),
        bytes: Vec::new(),
    });
    api.set_ice_controlling(false);
    let data = answer.data;
    // Its time runs from the first flight, which has to wait for the peer's address.
    let begins = answer.dtls_active.then_some(Begins { data });
    if begins.is_none() {
        let failed = |error: str0m::RtcError| Unacceptable::Other(error.to_string());
        api.start_dtls(false).map_err(failed)?;
        if data {
            api.start_sctp(false);
        }
    }
    let packets = shared.config.rtx_packets;
    let role = RoleState::Viewer(Viewer::new(answer.streams, keys, choice, packets, now));
    Ok(Opened {
        rtc,
        role,
        answer: answer.sdp,
        begins,
    })
}

/// Three numbers that are different and not 0.
fn distinct(mut random: impl FnMut() -> u32) -> [u32; 3] {
    let mut numbers = [0; 3];
    for at in 0..numbers.len() {
        while numbers[at] == 0 || numbers[..at].contains(&numbers[at]) {
            numbers[at] = random();
        }
    }
    numbers
}

fn credentials(ufrag: &str, password: &str) -> IceCreds {
    IceCreds {
        ufrag: ufrag.to_owned(),
        pass: password.to_owned(),
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
        .set_sctp_max_message_size(answer::MESSAGE_BYTES_MAX)
        .clear_codecs()
}

fn extension_map() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    for (id, extension) in [
        (1, Extension::AudioLevel),
        (2, Extension::AbsoluteSendTime),
        (3, Extension::TransportSequenceNumber),
        (4, Extension::RtpMid),
        (5, Extension::PlayoutDelay),
        (6, Extension::AbsoluteCaptureTime),
        (10, Extension::RtpStreamId),
        (11, Extension::RepairedRtpStreamId),
        (13, Extension::VideoOrientation),
    ] {
        map.set(id, extension);
    }
    map
}
