//! Answering: an offer becomes a session, and an ICE restart gives it new credentials.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::answer::{self, Local};
use lightstick_sfu_core::offer::{self, Offer, Side};
use lightstick_types::{Bitrate, LayerChoice};
use str0m::change::SdpOffer;
use str0m::config::{DtlsVersion, Fingerprint};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, IceCreds, Rtc, RtcConfig};

use crate::api::{LocalIce, OpenError, OpenSession, RemoteIce, Role, Unacceptable};
use crate::chat::{Chat, UNSENT_BYTES_MAX};
use crate::dtls::KeyDrop;
use crate::ingress::Ingress;
use crate::sdp;
use crate::session::{RoleState, Session, Shared};
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
        let (rtc, role, answer) = match request.role {
            Role::Publisher { bitrate_max } => {
                publisher(text, &offer, bitrate_max, shared, candidates, now)?
            }
            Role::Viewer { choice } => viewer(text, &offer, choice, shared, candidates, now)?,
        };
        let remote_ice = IceCreds {
            ufrag: offer.ufrag,
            pass: offer.pwd,
        };
        let chat = request.member.map(|member| Box::new(Chat::new(member)));
        let (id, room) = (request.session, request.room);
        let session = Self::new(id, room, rtc, role, chat, remote_ice, now);
        Ok((session, answer))
    }

    /// Answers the peer's ICE restart (RFC 8445 section 9). DTLS and media go on.
    pub(crate) fn restart_ice(
        &mut self,
        ice: &RemoteIce,
        candidates: &Candidates,
    ) -> Result<LocalIce, String> {
        let remote = credentials(&ice.ufrag, &ice.pwd);
        match &self.role {
            RoleState::Publisher { offer, .. } => {
                let ice = Some((&*ice.ufrag, &*ice.pwd));
                let text = sdp::prepare_offer(offer, ice);
                let parsed = SdpOffer::from_sdp_string(&text).map_err(|error| error.to_string())?;
                let answered = self.rtc.sdp_api().accept_offer(parsed);
                answered.map_err(|error| error.to_string())?;
            }
            // An agent that is lite keeps no checklist that would have to begin anew.
            RoleState::Viewer(_) => {
                let mut api = self.rtc.direct_api();
                api.set_local_ice_credentials(IceCreds::new());
                api.set_remote_ice_credentials(remote.clone());
            }
        }
        self.follow_restart(remote);
        Ok(LocalIce {
            ufrag: self.local_ufrag.clone(),
            pwd: self.local_password.clone(),
            candidates: candidates.text.clone(),
        })
    }
}

/// str0m reads what a publisher offers, answers it, and opens what comes in.
fn publisher(
    text: &str,
    offer: &Offer,
    bitrate_max: Bitrate,
    shared: &Shared,
    candidates: &Candidates,
    now: Instant,
) -> Result<(Rtc, RoleState, String), OpenError> {
    let prepared = sdp::prepare_offer(text, None);
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
        offer: text.into(),
    };
    Ok((rtc, role, answer))
}

/// Of a viewer's session str0m has ICE, DTLS and SCTP only: what it is sent is our egress's.
fn viewer(
    text: &str,
    offer: &Offer,
    choice: LayerChoice,
    shared: &Shared,
    candidates: &Candidates,
    now: Instant,
) -> Result<(Rtc, RoleState, String), OpenError> {
    let mut config = rtc_config(shared);
    if !shared.config.viewer_dtls13 {
        config = config.set_dtls_version(DtlsVersion::Dtls12);
    }
    let (mut rtc, keys) = KeyDrop::while_building(|| config.build(now));
    for candidate in &candidates.list {
        rtc.add_local_candidate(candidate.clone());
    }
    let mut api = rtc.direct_api();
    let local = api.local_ice_credentials();
    let answer = answer::answer(
        text,
        &Local {
            ufrag: &local.ufrag,
            password: &local.pass,
            fingerprint: &api.local_dtls_fingerprint().to_string(),
            candidates: &candidates.text,
            ssrcs: distinct(|| *api.new_ssrc()),
            id: (*api.new_ssrc()).into(),
        },
    )?;
    api.set_remote_ice_credentials(credentials(&offer.ufrag, &offer.pwd));
    api.set_remote_fingerprint(Fingerprint {
        hash_func: "sha-256".to_owned(),
        bytes: answer.fingerprint.to_vec(),
    });
    api.set_ice_controlling(false);
    let active = answer.dtls_active;
    let failed = |error: str0m::RtcError| Unacceptable::Other(error.to_string());
    api.start_dtls(active).map_err(failed)?;
    if answer.data {
        api.start_sctp(active);
    }
    let packets = shared.config.rtx_packets;
    let role = RoleState::Viewer(Viewer::new(answer.streams, keys, choice, packets, now));
    Ok((rtc, role, answer.sdp))
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
