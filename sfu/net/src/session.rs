//! One WebRTC session on its shard: str0m for the connection, the core for the media.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::downtrack::{DownTrack, KeyframeWanted};
use lightstick_sfu_core::layers::LayerSet;
use lightstick_sfu_core::offer::{self, Offer, Side};
use lightstick_sfu_core::packet::MediaPacket;
use lightstick_sfu_core::path::Paths;
use lightstick_sfu_core::replay;
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::{Bitrate, Layer, LayerChoice, RoomId, SessionId, TrackKind};
use str0m::change::SdpOffer;
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::media::{Mid, Rid};
use str0m::net::{Protocol, Transmit};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, Event, Output, Rtc, RtcConfig};

use crate::api::{
    CloseReason, LocalIce, OpenError, OpenSession, RemoteIce, Role, SessionMedia, Unacceptable,
};
use crate::config::MediaConfig;
use crate::egress::{Egress, NotSent};
use crate::ingress::Ingress;
use crate::proof::Challenge;
use crate::sdp;
use crate::stats::{Cell, ShardStats};

/// Datagrams kept back for an address that has not proven itself yet: a DTLS flight, or the media
/// of the moment in which a peer changes its path.
const HELD_MAX: usize = 64;
/// How often str0m reports loss and round-trip time.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// What every session of a process shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<MediaConfig>,
    pub(crate) crypto: Arc<CryptoProvider>,
    pub(crate) certificate: DtlsCert,
}

/// A session and all that hangs on it.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) room: RoomId,
    pub(crate) rtc: Rtc,
    pub(crate) role: RoleState,
    pub(crate) paths: Paths,
    pub(crate) held: VecDeque<Transmit>,
    pub(crate) challenge: Challenge,
    /// The addresses under which the shard finds this session.
    pub(crate) addrs: Vec<(SocketAddr, Protocol)>,
    pub(crate) local_ufrag: String,
    pub(crate) local_password: String,
    pub(crate) remote: Option<(SocketAddr, Protocol)>,
    pub(crate) opened_at: Instant,
    pub(crate) connected: bool,
    /// The last authenticated connectivity check.
    pub(crate) consent_at: Instant,
    /// When str0m wants to be called.
    pub(crate) rtc_deadline: Instant,
    /// On the shard's list of sessions with something to send.
    pub(crate) dirty: bool,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) span: tracing::Span,
    offer_text: String,
    offer: Offer,
    round_trip: Option<Duration>,
    loss: Option<f32>,
    reported: Vec<Reported>,
}

/// What the session is for.
pub(crate) enum RoleState {
    Publisher {
        ingress: Ingress,
        bitrate_max: Bitrate,
    },
    Viewer(Viewer),
}

impl RoleState {
    /// The gauge that counts sessions of this role.
    pub(crate) fn gauge<'a>(&self, stats: &'a ShardStats) -> &'a Cell {
        match self {
            Self::Publisher { .. } => &stats.publishers,
            Self::Viewer(_) => &stats.viewers,
        }
    }
}

/// A viewer's tracks.
pub(crate) struct Viewer {
    tracks: Vec<(DownTrack, Egress)>,
    /// Video that waits for its turn while the viewer catches up from a replay, with the ring gaps
    /// that it follows. Empty: packets go out as they come.
    behind: VecDeque<(Arc<MediaPacket>, u32)>,
    /// When the next of those may leave.
    catch_up_at: Option<Instant>,
}

/// RTP clock of every video format (RFC 7741, RFC 6184, RFC 9628, AV1's payload format).
const VIDEO_CLOCK_RATE: u32 = 90_000;
/// Packets that a viewer who catches up is given at once, and the time between two such bursts:
/// some 50 Mbit/s, which spares the receive buffers of clients.
const CATCH_UP_PACKETS: usize = 24;
const CATCH_UP_EVERY: Duration = Duration::from_millis(4);

/// What a stream's running totals were when they were last counted.
struct Reported {
    mid: Mid,
    rid: Option<Rid>,
    nacks: u64,
    resent: u64,
    lost: u64,
}

impl Reported {
    fn of(all: &mut Vec<Self>, mid: Mid, rid: Option<Rid>) -> &mut Self {
        let place = all.iter().position(|r| (r.mid, r.rid) == (mid, rid));
        let place = place.unwrap_or_else(|| {
            all.push(Self {
                mid,
                rid,
                nacks: 0,
                resent: 0,
                lost: 0,
            });
            all.len() - 1
        });
        &mut all[place]
    }
}

/// By how much a running total has grown.
fn grown(before: &mut u64, total: u64) -> u64 {
    let more = total.saturating_sub(*before);
    *before += more;
    more
}

/// What a session's events ask the shard to do.
#[derive(Debug)]
pub(crate) enum Signal {
    Connected,
    Packet(Incoming),
    Keyframe(KeyframeWanted),
    Layer(Layer),
    Closed(CloseReason),
    Nacks(u64),
    NacksSent(u64),
    Resent(u64),
    Lost(u64),
    KeyframeAsked,
    /// A packet of a payload type or layer that we do not forward.
    Foreign,
}

impl Session {
    /// Answers an offer. The session then waits for the peer's checks.
    pub(crate) fn open(
        request: OpenSession,
        shared: &Shared,
        candidates: &[Candidate],
        now: Instant,
    ) -> Result<(Self, String), OpenError> {
        let side = match request.role {
            Role::Publisher { .. } => Side::Publisher,
            Role::Viewer { .. } => Side::Viewer,
        };
        let offer = offer::read(&request.offer, side)?;
        let prepared = sdp::prepare_offer(&request.offer, side, None);
        let parsed = SdpOffer::from_sdp_string(&prepared)
            .map_err(|error| OpenError::Malformed(error.to_string()))?;
        let mut rtc = rtc_config(shared).build(now);
        for candidate in candidates {
            rtc.add_local_candidate(candidate.clone());
        }
        // str0m asserts that payload types do not collide, but the peer wrote them: a refusal of
        // this offer, not a bug that may be met again with the next.
        let answer = catch_unwind(AssertUnwindSafe(|| rtc.sdp_api().accept_offer(parsed)))
            .map_err(|_| Unacceptable::Other("its payload types collide".to_owned()))?
            .map_err(|error| Unacceptable::Other(error.to_string()))?
            .to_sdp_string();
        let answer = sdp::finish_answer(&answer, &offer);
        let local = rtc.direct_api().local_ice_credentials();
        let role = match request.role {
            Role::Publisher { bitrate_max } => {
                let ingress = Ingress::new(&rtc, &offer);
                if !ingress.has_format() {
                    return Err(Unacceptable::NoCodec.into());
                }
                RoleState::Publisher {
                    ingress,
                    bitrate_max,
                }
            }
            Role::Viewer { choice } => RoleState::Viewer(Viewer::new(&rtc, &offer, choice)?),
        };
        let span = tracing::info_span!(
            "media_session",
            session = ?request.session,
            room = request.room.0,
            role = if side == Side::Publisher { "publisher" } else { "viewer" },
        );
        let session = Self {
            id: request.session,
            room: request.room,
            rtc,
            role,
            paths: Paths::default(),
            held: VecDeque::new(),
            challenge: Challenge::default(),
            addrs: Vec::new(),
            local_ufrag: local.ufrag,
            local_password: local.pass,
            remote: None,
            opened_at: now,
            connected: false,
            consent_at: now,
            rtc_deadline: now,
            dirty: false,
            bytes_received: 0,
            bytes_sent: 0,
            span,
            offer_text: request.offer,
            offer,
            round_trip: None,
            loss: None,
            reported: Vec::new(),
        };
        Ok((session, answer))
    }

    /// The peer's user fragment and password.
    pub(crate) fn remote_ice(&self) -> (&str, &str) {
        (&self.offer.ufrag, &self.offer.pwd)
    }

    /// Answers the peer's ICE restart (RFC 8445 section 9). DTLS and media go on.
    pub(crate) fn restart_ice(&mut self, ice: &RemoteIce) -> Result<LocalIce, String> {
        let side = self.side();
        let text = sdp::prepare_offer(&self.offer_text, side, Some((&ice.ufrag, &ice.pwd)));
        let parsed = SdpOffer::from_sdp_string(&text).map_err(|error| error.to_string())?;
        let answer = self
            .rtc
            .sdp_api()
            .accept_offer(parsed)
            .map_err(|error| error.to_string())?
            .to_sdp_string();
        self.offer.ufrag.clone_from(&ice.ufrag);
        self.offer.pwd.clone_from(&ice.pwd);
        let creds = self.rtc.direct_api().local_ice_credentials();
        self.local_ufrag.clone_from(&creds.ufrag);
        self.local_password.clone_from(&creds.pass);
        self.challenge = Challenge::default();
        let candidates = sdp::attributes(&answer, "candidate")
            .map(|value| format!("candidate:{value}"))
            .collect();
        Ok(LocalIce {
            ufrag: creds.ufrag,
            pwd: creds.pass,
            candidates,
        })
    }

    /// Takes str0m's next output: something to transmit, or `None` when it has nothing more.
    /// Events become signals.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        signals: &mut Vec<Signal>,
    ) -> Result<Option<Transmit>, str0m::RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.rtc_deadline = at;
                    return Ok(None);
                }
                Output::Transmit(transmit) => return Ok(Some(transmit)),
                Output::Event(event) => self.on_event(event, now, signals),
            }
        }
    }

    fn on_event(&mut self, event: Event, now: Instant, signals: &mut Vec<Signal>) {
        match event {
            Event::Connected => {
                self.connected = true;
                signals.push(Signal::Connected);
            }
            Event::RtpPacket(packet) => {
                if let RoleState::Publisher { ingress, .. } = &mut self.role {
                    let signal = ingress.place(&mut self.rtc, packet);
                    signals.push(signal.map_or(Signal::Foreign, Signal::Packet));
                }
            }
            Event::KeyframeRequest(_) => {
                signals.push(Signal::KeyframeAsked);
                if let RoleState::Viewer(viewer) = &self.role
                    && let Some(layer) = viewer.layer()
                {
                    signals.push(Signal::Keyframe(KeyframeWanted(layer)));
                }
            }
            Event::MediaEgressStats(stats) => {
                self.round_trip = stats.rtt.or(self.round_trip);
                let sent = match &self.role {
                    RoleState::Viewer(viewer) => viewer.sent(stats.mid),
                    RoleState::Publisher { .. } => 0,
                };
                let reported = Reported::of(&mut self.reported, stats.mid, stats.rid);
                signals.push(Signal::Nacks(grown(&mut reported.nacks, stats.nacks)));
                let resent = stats.packets.saturating_sub(sent);
                signals.push(Signal::Resent(grown(&mut reported.resent, resent)));
                if let Some(remote) = &stats.remote {
                    let lost = grown(&mut reported.lost, remote.packets_lost);
                    signals.push(Signal::Lost(lost));
                }
                if let (Some(loss), RoleState::Viewer(viewer)) = (stats.loss, &mut self.role) {
                    self.loss = Some(loss);
                    signals.extend(viewer.on_report(stats.mid, now, loss).map(Signal::Keyframe));
                }
            }
            Event::MediaIngressStats(stats) => {
                self.round_trip = stats.rtt.or(self.round_trip);
                self.loss = stats.loss.or(self.loss);
                let reported = Reported::of(&mut self.reported, stats.mid, stats.rid);
                signals.push(Signal::NacksSent(grown(&mut reported.nacks, stats.nacks)));
            }
            Event::Closed => signals.push(Signal::Closed(CloseReason::PeerClosed)),
            _ => {}
        }
    }

    /// Gives a viewer one packet of its room. `Ok(true)`: it will be sent.
    pub(crate) fn forward(
        &mut self,
        packet: &Arc<MediaPacket>,
        generation: u32,
        signals: &mut Vec<Signal>,
    ) -> Result<bool, NotSent> {
        if let RoleState::Viewer(viewer) = &mut self.role
            && packet.kind == TrackKind::Video
            && !viewer.behind.is_empty()
        {
            viewer.behind.push_back((Arc::clone(packet), generation));
            return Ok(false);
        }
        self.forward_now(packet, generation, signals)
    }

    /// Gives a viewer who catches up its next packets. The number that will be sent.
    pub(crate) fn catch_up(&mut self, now: Instant, signals: &mut Vec<Signal>) -> u64 {
        let mut sent = 0;
        for _ in 0..CATCH_UP_PACKETS {
            let RoleState::Viewer(viewer) = &mut self.role else {
                return 0;
            };
            let Some((packet, generation)) = viewer.behind.pop_front() else {
                viewer.catch_up_at = None;
                return sent;
            };
            viewer.catch_up_at = Some(now + CATCH_UP_EVERY);
            sent += u64::from(self.forward_now(&packet, generation, signals) == Ok(true));
        }
        sent
    }

    fn forward_now(
        &mut self,
        packet: &MediaPacket,
        generation: u32,
        signals: &mut Vec<Signal>,
    ) -> Result<bool, NotSent> {
        let RoleState::Viewer(viewer) = &mut self.role else {
            return Ok(false);
        };
        let Some((track, egress)) = viewer
            .tracks
            .iter_mut()
            .find(|(_, egress)| egress.kind() == packet.kind)
        else {
            return Ok(false);
        };
        if !self.connected {
            return Ok(false);
        }
        let before = track.layer();
        let Some(rewritten) = track.forward(packet, generation) else {
            return Ok(false);
        };
        if packet.kind == TrackKind::Video && track.layer() != before {
            signals.extend(track.layer().map(Signal::Layer));
        }
        egress.send(&mut self.rtc, packet, rewritten).map(|()| true)
    }

    /// Keeps a datagram back until its address has proven itself.
    pub(crate) fn hold(&mut self, transmit: Transmit) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(transmit);
    }

    /// When the session next needs a look: str0m's own timers, and the limits on connecting and
    /// on consent.
    pub(crate) fn deadline(&self, config: &MediaConfig) -> Instant {
        let deadline = self.rtc_deadline.min(self.limit(config).0);
        self.catch_up_at().map_or(deadline, |at| at.min(deadline))
    }

    /// When a viewer who catches up wants its next packets.
    pub(crate) fn catch_up_at(&self) -> Option<Instant> {
        match &self.role {
            RoleState::Viewer(viewer) => viewer.catch_up_at,
            RoleState::Publisher { .. } => None,
        }
    }

    /// The limit that is running, and what it means.
    pub(crate) fn limit(&self, config: &MediaConfig) -> (Instant, CloseReason) {
        if self.connected {
            (
                self.consent_at + config.consent_timeout,
                CloseReason::ConsentExpired,
            )
        } else {
            (
                self.opened_at + config.connect_timeout,
                CloseReason::ConnectTimeout,
            )
        }
    }

    pub(crate) fn viewer(&mut self) -> Option<&mut Viewer> {
        match &mut self.role {
            RoleState::Viewer(viewer) => Some(viewer),
            RoleState::Publisher { .. } => None,
        }
    }

    /// What the API shows of it.
    pub(crate) fn media(&mut self) -> SessionMedia {
        let dtls = self
            .rtc
            .direct_api()
            .dtls_protocol_version()
            .map(|version| {
                use str0m::crypto::dtls::ProtocolVersion;
                if version == ProtocolVersion::DTLS1_3 {
                    "1.3"
                } else {
                    "1.2"
                }
            });
        SessionMedia {
            connected: self.connected,
            remote: self.remote.map(|(addr, _)| addr),
            transport: match self.remote {
                Some((_, Protocol::Udp)) | None => "udp",
                Some(_) => "tcp",
            },
            dtls: dtls.filter(|_| self.connected),
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            layer: match &self.role {
                RoleState::Viewer(viewer) => viewer.layer(),
                RoleState::Publisher { .. } => None,
            },
            round_trip: self.round_trip,
            loss: self.loss,
        }
    }

    fn side(&self) -> Side {
        match self.role {
            RoleState::Publisher { .. } => Side::Publisher,
            RoleState::Viewer(_) => Side::Viewer,
        }
    }
}

impl Viewer {
    fn new(rtc: &Rtc, offer: &Offer, choice: LayerChoice) -> Result<Self, OpenError> {
        let tracks: Vec<(DownTrack, Egress)> = offer
            .sections
            .iter()
            .filter_map(|section| {
                let egress = Egress::new(rtc, Mid::from(section.mid.as_str()), section.kind);
                let clock_rate = match section.kind {
                    TrackKind::Audio => 48_000,
                    TrackKind::Video => VIDEO_CLOCK_RATE,
                };
                let track = DownTrack::new(section.kind, clock_rate, choice);
                egress.has_format().then_some((track, egress))
            })
            .collect();
        if tracks.is_empty() {
            return Err(Unacceptable::NoCodec.into());
        }
        Ok(Self {
            tracks,
            behind: VecDeque::new(),
            catch_up_at: None,
        })
    }

    /// The video layer that it gets, or waits for.
    pub(crate) fn layer(&self) -> Option<Layer> {
        let (video, _) = self.video()?;
        video.layer().or(video.wanted().map(|wanted| wanted.0))
    }

    /// The keyframe that it waits for.
    pub(crate) fn wanted(&self) -> Option<KeyframeWanted> {
        self.video().and_then(|(track, _)| track.wanted())
    }

    pub(crate) fn choose(&mut self, choice: LayerChoice) -> Option<KeyframeWanted> {
        self.tracks
            .iter_mut()
            .find_map(|(track, _)| track.choose(choice))
    }

    pub(crate) fn set_live(&mut self, live: LayerSet) -> Option<KeyframeWanted> {
        let video = self
            .tracks
            .iter_mut()
            .find(|(_, e)| e.kind() == TrackKind::Video)?;
        video.0.set_live(live)
    }

    fn on_report(&mut self, mid: Mid, now: Instant, loss: f32) -> Option<KeyframeWanted> {
        let (track, egress) = self.tracks.iter_mut().find(|(_, e)| e.mid() == mid)?;
        (egress.kind() == TrackKind::Video)
            .then(|| track.on_report(now, loss))
            .flatten()
    }

    /// Whether the viewer has seen no picture yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.video().is_some_and(|(track, _)| track.is_fresh()) && self.behind.is_empty()
    }

    /// Lets the viewer start from `packets` of one layer, which begin with a keyframe.
    ///
    /// The first leave a moment after `now`: nothing may overtake the end of the handshake, and
    /// there are stacks that drop what they read together with it.
    pub(crate) fn start_from(
        &mut self,
        packets: &[Arc<MediaPacket>],
        generation: u32,
        now: Instant,
    ) {
        // Frames in the order of their first packets: a late one belongs to where it was missing.
        let mut frames: Vec<u32> = Vec::new();
        for packet in packets {
            if frames.last() != Some(&packet.timestamp) && !frames.contains(&packet.timestamp) {
                frames.push(packet.timestamp);
            }
        }
        let Some(&last) = frames.last() else {
            return;
        };
        for packet in packets {
            let place = frames.iter().position(|frame| *frame == packet.timestamp);
            let after = place.map_or(0, |place| frames.len() - 1 - place) as u32;
            let mut packet = MediaPacket::clone(packet);
            packet.timestamp = replay::squeezed(last, after, VIDEO_CLOCK_RATE);
            self.behind.push_back((Arc::new(packet), generation));
        }
        self.catch_up_at = Some(now + CATCH_UP_EVERY);
    }

    /// How many packets of ours `mid` was given, without what was sent again.
    fn sent(&self, mid: Mid) -> u64 {
        let track = self.tracks.iter().find(|(_, e)| e.mid() == mid);
        track.map_or(0, |(_, egress)| egress.sent())
    }

    fn video(&self) -> Option<&(DownTrack, Egress)> {
        self.tracks
            .iter()
            .find(|(_, egress)| egress.kind() == TrackKind::Video)
    }
}

fn rtc_config(shared: &Shared) -> RtcConfig {
    Rtc::builder()
        .set_crypto_provider(Arc::clone(&shared.crypto))
        .set_dtls_cert(shared.certificate.clone())
        .set_dtls_version(DtlsVersion::Auto)
        .set_ice_lite(true)
        .set_rtp_mode(true)
        .set_stats_interval(Some(STATS_EVERY))
        .set_send_buffer_video(shared.config.rtx_packets)
        .clear_codecs()
        .enable_opus(true, true)
        .enable_h264(true)
        .enable_vp8(true)
        .enable_vp9(true)
        .enable_av1(true)
        .set_extension_map(extension_map())
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
