//! One WebRTC session on its shard: str0m for the connection, the core for the media.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::path::Paths;
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::{Bitrate, RoomId, SessionId};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::media::{Mid, Rid};
use str0m::net::{Protocol, Transmit};
use str0m::{Event, IceCreds, Output, Rtc};

use crate::api::{CloseReason, SessionMedia};
use crate::chat::{ChannelEvent, Chat};
use crate::config::MediaConfig;
use crate::ingress::Ingress;
use crate::proof::Challenge;
use crate::sink::Route;
use crate::stats::{Cell, ShardStats};
use crate::viewer::Viewer;

/// Datagrams kept back for an address that has not proven itself yet: a DTLS flight, or the media
/// of the moment in which a peer changes its path.
const HELD_MAX: usize = 64;

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
    /// Its part in the room's chat, where it may have one.
    pub(crate) chat: Option<Box<Chat>>,
    pub(crate) paths: Paths,
    pub(crate) held: VecDeque<Transmit>,
    pub(crate) challenge: Challenge,
    /// The addresses under which the shard finds this session.
    pub(crate) addrs: Vec<(SocketAddr, Protocol)>,
    pub(crate) local_ufrag: String,
    pub(crate) local_password: String,
    pub(crate) remote: Option<(SocketAddr, Protocol)>,
    /// Where a viewer's media goes: proven to be the peer's.
    pub(crate) route: Option<Route>,
    /// Where the peer wants it to go.
    pub(crate) nominated: Option<Route>,
    pub(crate) opened_at: Instant,
    pub(crate) connected: bool,
    /// The last authenticated connectivity check.
    pub(crate) consent_at: Instant,
    /// When str0m wants to be called.
    pub(crate) rtc_deadline: Instant,
    /// Datagrams of its handshake that wait for their turn.
    pub(crate) handshakes_waiting: u8,
    /// On the shard's list of sessions with something to send.
    pub(crate) dirty: bool,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) span: tracing::Span,
    remote_ice: IceCreds,
    round_trip: Option<Duration>,
    loss: Option<f32>,
    reported: Vec<Reported>,
}

/// What the session is for.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all sessions are viewers, and theirs is read for every frame"
)]
pub(crate) enum RoleState {
    Publisher {
        ingress: Ingress,
        bitrate_max: Bitrate,
        /// Its offer: str0m wants it again for an ICE restart.
        offer: Box<str>,
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

/// What a stream's running totals were when they were last counted.
struct Reported {
    mid: Mid,
    rid: Option<Rid>,
    nacks: u64,
}

impl Reported {
    fn of(all: &mut Vec<Self>, mid: Mid, rid: Option<Rid>) -> &mut Self {
        let place = all.iter().position(|r| (r.mid, r.rid) == (mid, rid));
        let place = place.unwrap_or_else(|| {
            all.push(Self { mid, rid, nacks: 0 });
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
    Closed(CloseReason),
    NacksSent(u64),
    /// A packet of a payload type or layer that we do not forward.
    Foreign,
    Channel(ChannelEvent),
}

impl Session {
    /// A session whose offer was answered. It waits for the peer's checks.
    pub(crate) fn new(
        id: SessionId,
        room: RoomId,
        mut rtc: Rtc,
        role: RoleState,
        chat: Option<Box<Chat>>,
        remote_ice: IceCreds,
        now: Instant,
    ) -> Self {
        let local = rtc.direct_api().local_ice_credentials();
        let role_name = match role {
            RoleState::Publisher { .. } => "publisher",
            RoleState::Viewer(_) => "viewer",
        };
        let span = tracing::info_span!(
            "media_session",
            session = ?id,
            room = room.0,
            role = role_name,
        );
        Self {
            id,
            room,
            rtc,
            role,
            chat,
            paths: Paths::default(),
            held: VecDeque::new(),
            challenge: Challenge::default(),
            addrs: Vec::new(),
            local_ufrag: local.ufrag,
            local_password: local.pass,
            remote: None,
            route: None,
            nominated: None,
            opened_at: now,
            connected: false,
            consent_at: now,
            rtc_deadline: now,
            handshakes_waiting: 0,
            dirty: false,
            bytes_received: 0,
            bytes_sent: 0,
            span,
            remote_ice,
            round_trip: None,
            loss: None,
            reported: Vec::new(),
        }
    }

    /// The peer's user fragment and password.
    pub(crate) fn remote_ice(&self) -> (&str, &str) {
        (&self.remote_ice.ufrag, &self.remote_ice.pass)
    }

    /// Both sides have new credentials.
    pub(crate) fn follow_restart(&mut self, remote: IceCreds) {
        let local = self.rtc.direct_api().local_ice_credentials();
        (self.local_ufrag, self.local_password) = (local.ufrag, local.pass);
        self.remote_ice = remote;
        self.challenge = Challenge::default();
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
                if let RoleState::Viewer(viewer) = &mut self.role
                    && !viewer.connected(now)
                {
                    tracing::info!("the handshake agreed on no media keys");
                    signals.push(Signal::Closed(CloseReason::TransportError));
                    return;
                }
                self.connected = true;
                signals.push(Signal::Connected);
            }
            Event::RtpPacket(packet) => {
                if let RoleState::Publisher { ingress, .. } = &mut self.role {
                    let signal = ingress.place(&mut self.rtc, packet);
                    signals.push(signal.map_or(Signal::Foreign, Signal::Packet));
                }
            }
            Event::MediaIngressStats(stats) => {
                self.round_trip = stats.rtt.or(self.round_trip);
                self.loss = stats.loss.or(self.loss);
                let reported = Reported::of(&mut self.reported, stats.mid, stats.rid);
                signals.push(Signal::NacksSent(grown(&mut reported.nacks, stats.nacks)));
            }
            Event::ChannelOpen(id, label) => {
                signals.push(Signal::Channel(ChannelEvent::Opened(id, label)));
            }
            Event::ChannelData(data) => signals.push(Signal::Channel(ChannelEvent::Data(data))),
            Event::ChannelClose(id) => signals.push(Signal::Channel(ChannelEvent::Closed(id))),
            Event::ChannelBufferedAmountLow(_) => {
                signals.push(Signal::Channel(ChannelEvent::Drained));
            }
            Event::Closed => signals.push(Signal::Closed(CloseReason::PeerClosed)),
            _ => {}
        }
    }

    /// Media goes where the peer wants it, once that address has proven itself.
    pub(crate) fn follow_nominated(&mut self) {
        self.route = self
            .nominated
            .filter(|route| self.paths.is_proven(route.destination()))
            .or(self.route);
    }

    /// Keeps a datagram back until its address has proven itself.
    pub(crate) fn hold(&mut self, transmit: Transmit) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(transmit);
    }

    /// When the session next needs a look: str0m's own timers, a viewer's, and the limits on
    /// connecting and on consent.
    pub(crate) fn deadline(&self, config: &MediaConfig) -> Instant {
        let deadline = self.rtc_deadline.min(self.limit(config).0);
        match &self.role {
            // Nothing of it can be done before there is a way to send it.
            RoleState::Viewer(viewer) if self.route.is_some() => {
                viewer.deadline().map_or(deadline, |at| at.min(deadline))
            }
            _ => deadline,
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
            round_trip: match &self.role {
                RoleState::Viewer(viewer) => viewer.egress.as_ref().and_then(|e| e.round_trip()),
                RoleState::Publisher { .. } => self.round_trip,
            },
            loss: match &self.role {
                RoleState::Viewer(viewer) => viewer.egress.as_ref().and_then(|e| e.loss()),
                RoleState::Publisher { .. } => self.loss,
            },
            estimate: match &self.role {
                RoleState::Viewer(viewer) => viewer.egress.as_ref().and_then(|e| e.estimate()),
                RoleState::Publisher { .. } => None,
            },
        }
    }
}
