//! One WebRTC session on its shard: str0m for the connection, the core for the media.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::demux::{self, Kind};
use lightstick_sfu_core::ice::{Agent, Route};
use lightstick_sfu_core::inflow::Inflow;
use lightstick_sfu_core::meter::Allowance;
use lightstick_sfu_core::parked::Parked;
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::{Bitrate, RoomId, SessionId};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::media::{Mid, Rid};
use str0m::net::DatagramSend;
use str0m::stats::MediaIngressStats;
use str0m::{Event, Input, Output};

use crate::api::{CloseReason, SessionMedia};
use crate::chat::{ChannelEvent, Chat};
use crate::config::MediaConfig;
use crate::connection::Connection;
use crate::dtls::KeyDrop;
use crate::ingress::Ingress;
use crate::stats::{Cell, ShardStats};
use crate::viewer::Seat;

/// Datagrams kept back for an address that has not proven itself yet: a DTLS flight and its
/// repetitions. The oldest goes.
const HELD_MAX: usize = 16;
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
    pub(crate) role: RoleState,
    /// Its part in the room's chat, where it may have one.
    pub(crate) chat: Option<Box<Chat>>,
    pub(crate) connection: Connection,
    pub(crate) ice: Agent,
    /// The agent's route: where a viewer's media goes.
    pub(crate) route: Option<Route>,
    /// SSRCs under which the shard finds this session at another address.
    pub(crate) ssrcs: Vec<u32>,
    /// What the peer may make us verify and decrypt.
    pub(crate) inflow: Inflow,
    pub(crate) waiting: Waiting,
    pub(crate) totals: Totals,
    pub(crate) span: tracing::Span,
}

/// What of a session waits for its turn.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Datagrams of its handshake that came in.
    pub(crate) handshakes: u8,
    /// Datagrams for an address that has not proven itself yet.
    held: VecDeque<DatagramSend>,
    /// It is on the shard's list of sessions with something to send.
    pub(crate) dirty: bool,
}

impl Waiting {
    /// Keeps a datagram back until its address has proven itself.
    pub(crate) fn hold(&mut self, contents: DatagramSend) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(contents);
    }

    /// What was kept back.
    pub(crate) fn take_held(&mut self) -> VecDeque<DatagramSend> {
        std::mem::take(&mut self.held)
    }
}

/// What went over a session's transport, and how well, as far as its shard sees it.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    round_trip: Option<Duration>,
    loss: Option<f32>,
    reported: Vec<Reported>,
}

impl Totals {
    /// Hears how a publisher's stream arrives. How many NACKs were sent since it was heard last.
    fn note(&mut self, stats: &MediaIngressStats) -> u64 {
        self.round_trip = stats.rtt.or(self.round_trip);
        self.loss = stats.loss.or(self.loss);
        let reported = Reported::of(&mut self.reported, stats.mid, stats.rid);
        grown(&mut reported.nacks, stats.nacks)
    }
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
        role: RoleState,
        connection: Connection,
        ice: Agent,
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
            role,
            chat: None,
            connection,
            ice,
            route: None,
            ssrcs: Vec::new(),
            inflow: Inflow::new(media_packets),
            waiting: Waiting::default(),
            totals: Totals::default(),
            span,
        }
    }

    /// Makes sure that str0m knows the stream of a publisher's packet. False: it is of none that was
    /// offered.
    pub(crate) fn admit(&mut self, datagram: &[u8], now: Instant) -> bool {
        let admitted = self.contained(|session| match &mut session.role {
            RoleState::Publisher { ingress, .. } => {
                Ok(ingress.admit(&mut session.connection.rtc, datagram, now))
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
        self.contained(|session| Ok(session.connection.rtc.handle_input(input)?))
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
                match session.connection.rtc.poll_output()? {
                    Output::Timeout(at) => {
                        session.connection.deadline = at;
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
        if self.connection.has_panicked {
            return Err(Failed::Panicked);
        }
        catch_unwind(AssertUnwindSafe(|| work(self))).unwrap_or_else(|_| {
            self.connection.has_panicked = true;
            Err(Failed::Panicked)
        })
    }

    /// Says goodbye: the datagrams of it.
    pub(crate) fn close(&mut self) -> Vec<DatagramSend> {
        let mut ignored = Vec::new();
        let mut goodbye = Vec::new();
        let is_alive = self.connection.rtc.is_alive();
        if is_alive
            && self
                .contained(|session| Ok(session.connection.rtc.close()?))
                .is_ok()
        {
            while let Ok(Some(contents)) = self.poll(&mut ignored) {
                goodbye.push(contents);
            }
        }
        goodbye
    }

    fn on_event(&mut self, event: Event, signals: &mut Vec<Signal>) {
        match event {
            Event::Connected => {
                self.connection.is_connected = true;
                signals.push(Signal::Connected);
            }
            Event::RtpPacket(packet) => {
                self.connection.authentic = true;
                if let RoleState::Publisher { ingress, .. } = &mut self.role {
                    let signal = ingress.place(&mut self.connection.rtc, packet);
                    signals.push(signal.map_or(Signal::Foreign, Signal::Packet));
                }
            }
            Event::MediaIngressStats(stats) => {
                signals.push(Signal::NacksSent(self.totals.note(&stats)));
            }
            Event::ChannelOpen(id, label) => {
                signals.push(Signal::Channel(ChannelEvent::Opened(id, label)));
            }
            Event::ChannelData(data) => signals.push(Signal::Channel(ChannelEvent::Data(data))),
            Event::ChannelClose(id) => signals.push(Signal::Channel(ChannelEvent::Closed(id))),
            Event::ChannelBufferedAmountLow(_) => {
                signals.push(Signal::Channel(ChannelEvent::Drained));
            }
            Event::Closed if self.connection.is_refused() => {
                tracing::info!("the certificate is not the one of the offer");
                signals.push(Signal::Closed(CloseReason::TransportError));
            }
            Event::Closed => signals.push(Signal::Closed(CloseReason::PeerClosed)),
            _ => {}
        }
    }

    /// When the session itself next needs a look: str0m's timers, the agent's, and the limits on
    /// connecting and on consent. Of a viewer, its hop has others.
    pub(crate) fn deadline(&self, config: &MediaConfig) -> Instant {
        let deadline = self.connection.poll_timeout().min(self.limit(config).0);
        let parked = self.parked().and_then(Parked::poll_timeout);
        let others = [self.ice.poll_timeout(), parked].into_iter().flatten();
        others.fold(deadline, Instant::min)
    }

    /// The limit that is running, and what it means.
    pub(crate) fn limit(&self, config: &MediaConfig) -> (Instant, CloseReason) {
        if !self.connection.is_connected {
            let at = self.connection.opened_at + config.connect_timeout;
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
        SessionMedia {
            connected: self.connection.is_connected,
            remote: remote.map(Route::destination),
            transport: match remote {
                Some(Route::Tcp(_)) => "tcp",
                Some(Route::Udp(..)) | None => "udp",
            },
            dtls: self.connection.dtls_version(),
            bytes_received: self.totals.bytes_received,
            bytes_sent: self.totals.bytes_sent,
            streams: Vec::new(),
            round_trip: self.totals.round_trip,
            loss: self.totals.loss,
            estimate: None,
        }
    }
}
