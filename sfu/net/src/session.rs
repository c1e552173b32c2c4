//! One WebRTC session on its shard: str0m for the connection, the core for the media.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::demux::{self, Kind};
use lightstick_sfu_core::ice::{Agent, Route, stun};
use lightstick_sfu_core::inflow::Inflow;
use lightstick_sfu_core::meter::Allowance;
use lightstick_sfu_core::parked::Parked;
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::{Bitrate, RoomId, SessionId};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::media::{Mid, Rid};
use str0m::net::{DatagramSend, Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::api::{CloseReason, SessionMedia};
use crate::chat::{ChannelEvent, Chat};
use crate::config::MediaConfig;
use crate::dtls::{KeyDrop, Peer};
use crate::ingress::Ingress;
use crate::stats::{Cell, ShardStats};
use crate::viewer::Seat;

/// Datagrams kept back for an address that has not proven itself yet: a DTLS flight and its
/// repetitions. The oldest goes.
const HELD_MAX: usize = 16;
/// A handshake that is ours to begin waits so long for an answer to our check. Clients that send
/// one check alone answer ours before the handshake or not at all, and may drop what comes at once.
const BEGIN_AFTER: Duration = Duration::from_millis(50);

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
    pub(crate) ice: Agent,
    /// What the peer may make us verify and decrypt.
    pub(crate) inflow: Inflow,
    peer: Peer,
    pub(crate) held: VecDeque<DatagramSend>,
    /// The agent's route: where a viewer's media goes.
    pub(crate) route: Option<Route>,
    /// SSRCs under which the shard finds this session at another address.
    pub(crate) ssrcs: Vec<u32>,
    /// What str0m was given last held authentic media.
    pub(crate) authentic: bool,
    pub(crate) opened_at: Instant,
    pub(crate) connected: bool,
    /// When str0m wants to be called.
    pub(crate) rtc_deadline: Instant,
    /// Datagrams of its handshake that wait for their turn.
    pub(crate) handshakes_waiting: u8,
    /// On the shard's list of sessions with something to send.
    pub(crate) dirty: bool,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) span: tracing::Span,
    /// We are the DTLS client, and wait for an address to begin with.
    begins: Option<Begins>,
    /// When it begins at the latest.
    begins_at: Option<Instant>,
    round_trip: Option<Duration>,
    loss: Option<f32>,
    reported: Vec<Reported>,
    has_panicked: bool,
}

/// What the session is for.
pub(crate) enum RoleState {
    Publisher {
        ingress: Box<Ingress>,
        bitrate_max: Bitrate,
        /// Until it is promoted.
        parked: Option<Box<Parked>>,
    },
    Viewer {
        /// Where its keys will be.
        keys: KeyDrop,
        /// There once it was let into its room.
        seat: Option<Seat>,
    },
}

impl RoleState {
    /// The gauge that counts sessions of this role.
    pub(crate) fn gauge<'a>(&self, stats: &'a ShardStats) -> &'a Cell {
        match self {
            Self::Publisher { .. } => &stats.publishers,
            Self::Viewer { .. } => &stats.viewers,
        }
    }
}

/// What a session knows of its handshake before it begins.
pub(crate) struct Handshake {
    pub(crate) peer: Peer,
    /// Where it is ours to begin.
    pub(crate) begins: Option<Begins>,
}

/// A handshake that we begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begins {
    /// SCTP follows.
    pub(crate) data: bool,
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

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Rtc(#[from] str0m::RtcError),
    #[error("its handling panicked")]
    Panicked,
}

impl Failed {
    /// As the control plane hears it.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Rtc(_) => CloseReason::TransportError,
            Self::Panicked => CloseReason::Internal,
        }
    }
}

/// What a session's events ask the shard to do.
#[derive(Debug)]
pub(crate) enum Signal {
    Connected,
    Packet(Incoming),
    Closed(CloseReason),
    NacksSent(u64),
    /// A packet of a payload type or stream that we do not forward.
    Foreign,
    Channel(ChannelEvent),
}

impl Session {
    /// A session whose offer was answered. It waits for the peer's checks.
    pub(crate) fn new(
        id: SessionId,
        room: RoomId,
        rtc: Rtc,
        role: RoleState,
        ice: Agent,
        handshake: Handshake,
        now: Instant,
    ) -> Self {
        let (role_name, media_packets) = match role {
            // What is repaired comes on top.
            RoleState::Publisher { bitrate_max, .. } => {
                ("publisher", Allowance::packets(bitrate_max) * 2)
            }
            RoleState::Viewer { .. } => ("viewer", 1),
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
            chat: None,
            ice,
            inflow: Inflow::new(media_packets),
            peer: handshake.peer,
            held: VecDeque::new(),
            route: None,
            ssrcs: Vec::new(),
            authentic: false,
            opened_at: now,
            connected: false,
            rtc_deadline: now,
            handshakes_waiting: 0,
            dirty: false,
            bytes_received: 0,
            bytes_sent: 0,
            span,
            begins: handshake.begins,
            begins_at: None,
            round_trip: None,
            loss: None,
            reported: Vec::new(),
            has_panicked: false,
        }
    }

    /// Lets str0m believe that its peer is reached, so that it hands out what it has to send. Its
    /// own ICE has no part in where that goes.
    pub(crate) fn attach(&mut self, candidate: &Candidate) -> Result<(), str0m::RtcError> {
        let local = self.rtc.direct_api().local_ice_credentials();
        let username = format!("{}:{}", local.ufrag, self.ice.credentials().remote.ufrag);
        let check = stun::nomination([0; 12], &username, &local.pass);
        let (address, now) = (candidate.addr(), self.opened_at);
        if let Ok(receive) = Receive::new(Protocol::Udp, address, address, &check) {
            self.rtc.handle_input(Input::Receive(now, receive))?;
        }
        Ok(())
    }

    /// There is an address to begin the handshake with. It waits until that has answered our check,
    /// or for [`BEGIN_AFTER`].
    pub(crate) fn prepare_to_begin(&mut self, now: Instant) {
        if self.begins.is_some() {
            self.begins_at.get_or_insert(now + BEGIN_AFTER);
        }
    }

    /// Whether the handshake has waited for long enough.
    pub(crate) fn is_to_begin(&self, now: Instant) -> bool {
        self.begins_at.is_some_and(|at| at <= now)
    }

    /// Begins the handshake: its first flight leaves with the next timeout. False: it is not ours to
    /// begin, or has begun.
    pub(crate) fn begin(&mut self) -> bool {
        let Some(begins) = self.begins.take() else {
            return false;
        };
        self.begins_at = None;
        let mut api = self.rtc.direct_api();
        if let Err(error) = api.start_dtls(true) {
            tracing::debug!(%error, "DTLS does not start");
        }
        if begins.data {
            api.start_sctp(true);
        }
        true
    }

    /// Makes sure that str0m knows the stream of a publisher's packet. False: it is of none that was
    /// offered.
    pub(crate) fn admit(&mut self, datagram: &[u8], now: Instant) -> bool {
        let admitted = self.contained(|session| match &mut session.role {
            RoleState::Publisher { ingress, .. } => {
                Ok(ingress.admit(&mut session.rtc, datagram, now))
            }
            RoleState::Viewer { .. } => Ok(true),
        });
        // Whoever polls next hears of a panic.
        admitted.unwrap_or(true)
    }

    /// Gives str0m something to handle.
    ///
    /// # Errors
    /// Why it did not. The next [`poll`](Self::poll) says whether the session can go on.
    pub(crate) fn handle_input(&mut self, input: Input<'_>) -> Result<(), Failed> {
        self.contained(|session| Ok(session.rtc.handle_input(input)?))
    }

    /// Takes str0m's next output: a datagram to transmit, or `None` when it has nothing more.
    /// Events become signals. What its own ICE has to say is dropped.
    ///
    /// # Errors
    /// The session cannot go on.
    pub(crate) fn poll(
        &mut self,
        signals: &mut Vec<Signal>,
    ) -> Result<Option<DatagramSend>, Failed> {
        self.contained(|session| {
            loop {
                match session.rtc.poll_output()? {
                    Output::Timeout(at) => {
                        session.rtc_deadline = at;
                        return Ok(None);
                    }
                    Output::Transmit(transmit) => {
                        if demux::classify(&transmit.contents) != Kind::Stun {
                            return Ok(Some(transmit.contents));
                        }
                    }
                    Output::Event(event) => session.on_event(event, signals),
                }
            }
        })
    }

    /// Lets `work` change this session, and nothing else. A panic in it has broken nothing but the
    /// session, which cannot go on: see docs/decisions/0024-panics.md.
    pub(crate) fn contained<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        if self.has_panicked {
            return Err(Failed::Panicked);
        }
        catch_unwind(AssertUnwindSafe(|| work(self))).unwrap_or_else(|_| {
            self.has_panicked = true;
            Err(Failed::Panicked)
        })
    }

    /// Says goodbye: the datagrams of it.
    pub(crate) fn close(&mut self) -> Vec<DatagramSend> {
        let mut ignored = Vec::new();
        let mut goodbye = Vec::new();
        let is_alive = self.rtc.is_alive();
        if is_alive && self.contained(|session| Ok(session.rtc.close()?)).is_ok() {
            while let Ok(Some(contents)) = self.poll(&mut ignored) {
                goodbye.push(contents);
            }
        }
        goodbye
    }

    fn on_event(&mut self, event: Event, signals: &mut Vec<Signal>) {
        match event {
            Event::Connected => {
                self.connected = true;
                signals.push(Signal::Connected);
            }
            Event::RtpPacket(packet) => {
                self.authentic = true;
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
            Event::Closed if self.peer.is_refused() => {
                tracing::info!("the certificate is not the one of the offer");
                signals.push(Signal::Closed(CloseReason::TransportError));
            }
            Event::Closed => signals.push(Signal::Closed(CloseReason::PeerClosed)),
            _ => {}
        }
    }

    /// Keeps a datagram back until its address has proven itself.
    pub(crate) fn hold(&mut self, contents: DatagramSend) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(contents);
    }

    /// When the session itself next needs a look: str0m's timers, the agent's, and the limits on
    /// connecting and on consent. Of a viewer, its hop has others.
    pub(crate) fn deadline(&self, config: &MediaConfig) -> Instant {
        let deadline = self.rtc_deadline.min(self.limit(config).0);
        let deadline = self.begins_at.map_or(deadline, |at| at.min(deadline));
        self.ice
            .poll_timeout()
            .map_or(deadline, |at| at.min(deadline))
    }

    /// The limit that is running, and what it means.
    pub(crate) fn limit(&self, config: &MediaConfig) -> (Instant, CloseReason) {
        if !self.connected {
            let at = self.opened_at + config.connect_timeout;
            return (at, CloseReason::ConnectTimeout);
        }
        let consent = (self.ice.expires_at(), CloseReason::ConsentExpired);
        match self.parked().and_then(Parked::connected_at) {
            Some(at) if at + config.first_media_timeout < consent.0 => {
                (at + config.first_media_timeout, CloseReason::NoMedia)
            }
            _ => consent,
        }
    }

    fn parked(&self) -> Option<&Parked> {
        match &self.role {
            RoleState::Publisher { parked, .. } => parked.as_deref(),
            RoleState::Viewer { .. } => None,
        }
    }

    pub(crate) fn parked_mut(&mut self) -> Option<&mut Parked> {
        match &mut self.role {
            RoleState::Publisher { parked, .. } => parked.as_deref_mut(),
            RoleState::Viewer { .. } => None,
        }
    }

    /// A viewer's place in its room.
    pub(crate) fn seat(&self) -> Option<Seat> {
        match &self.role {
            RoleState::Viewer { seat, .. } => *seat,
            RoleState::Publisher { .. } => None,
        }
    }

    /// What the API shows of it, but for what a viewer's hop knows.
    pub(crate) fn media(&mut self) -> SessionMedia {
        let remote = self.ice.destination();
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
            remote: remote.map(Route::destination),
            transport: match remote {
                Some(Route::Tcp(_)) => "tcp",
                Some(Route::Udp(..)) | None => "udp",
            },
            dtls: dtls.filter(|_| self.connected),
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            streams: Vec::new(),
            round_trip: self.round_trip,
            loss: self.loss,
            estimate: None,
        }
    }
}
