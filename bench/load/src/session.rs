//! One WebRTC peer: its str0m state, its socket, its counters.

mod attack;
mod chat;
mod link;
mod payloads;
mod publish;
mod receive;
mod side;
mod text;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use lightstick_types::Codec;
use mio::net::UdpSocket;
use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

pub use self::attack::Attack;
pub(crate) use self::attack::harm;
use self::chat::Chat;
pub use self::chat::ChatConfig;
pub(crate) use self::chat::{count as count_part, unix_ms};
use self::link::Link;
pub use self::link::LinkConfig;
use self::payloads::PayloadTypes;
use self::publish::Publisher;
pub use self::publish::PublisherTally;
use self::receive::without_feedback;
pub use self::receive::{LIGHT_READS_EVERY, ReceiveBuffers};
use self::side::Side;
pub(crate) use self::text::text as chat_text;
pub use crate::depth::Depth;
use crate::source::SourceConfig;
use crate::stamp;
use crate::tally::{ChatTally, Times, ViewerTally, Window, WireLog};

/// Asked of the kernel for each socket, in bytes; it may give less.
const RECEIVE_BUFFER: usize = 1 << 20;

#[derive(Clone, Copy, Debug)]
pub enum SessionKind {
    Publish(SourceConfig),
    View(Depth),
}

/// What sessions of one thread share.
#[derive(Debug, Default)]
pub struct Gauges {
    /// What is being measured.
    pub window: Window,
    /// From a packet's sending to its arrival in this machine's kernel.
    pub transit: Times,
    /// From there until this process saw it, less what a light viewer waits on purpose: large
    /// values mean that the generator is overloaded.
    pub lag: Times,
    /// What came to full viewers within the window.
    pub wire: WireLog,
    /// Of viewers that take part in the chat.
    pub chat: ChatTally,
    /// Datagrams that the kernel did not take.
    pub send_blocked: u64,
    /// Datagrams that str0m refused.
    pub refused: u64,
}

/// A session whose offer is not answered yet.
pub struct Offered {
    session: Session,
    pending: SdpPendingOffer,
    pub offer: String,
}

pub struct Session {
    rtc: Rtc,
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// When str0m or the source has something to do.
    due: Instant,
    /// When a light viewer reads its socket again; none while it is woken for every datagram.
    reads_at: Option<Instant>,
    ended: Option<Instant>,
    light: bool,
    /// None: nothing is lost or delayed but by the machine itself.
    link: Option<Box<Link>>,
    chat: Option<Box<Chat>>,
    payloads: PayloadTypes,
    side: Side,
}

impl Offered {
    /// Takes the server's answer.
    ///
    /// # Errors
    /// When it is no SDP or does not fit the offer.
    pub fn accept(mut self, answer: &str) -> Result<Session> {
        let answer = SdpAnswer::from_sdp_string(answer).context("the answer is no SDP")?;
        self.session
            .rtc
            .sdp_api()
            .accept_answer(self.pending, answer)
            .context("the answer does not fit")?;
        self.session.payloads = PayloadTypes::of(&self.session.rtc);
        Ok(self.session)
    }
}

impl Session {
    /// A session with a socket on `bind` and an offer to send.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn offer(role: SessionKind, bind: IpAddr) -> Result<Offered> {
        Self::offer_with(role, None, bind)
    }

    /// The same, with data channels if it takes part in the chat.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn offer_with(
        role: SessionKind,
        chat: Option<ChatConfig>,
        bind: IpAddr,
    ) -> Result<Offered> {
        let mut session = Self::new(role, bind)?;
        let mut changes = session.rtc.sdp_api();
        let direction = match role {
            SessionKind::Publish(_) => Direction::SendOnly,
            SessionKind::View(_) => Direction::RecvOnly,
        };
        let audio = changes.add_media(MediaKind::Audio, direction, stream(), None, None);
        let video = changes.add_media(MediaKind::Video, direction, stream(), None, None);
        let seed = session.local.port();
        let chat = chat.map(|config| Box::new(Chat::offer(&mut changes, config, seed)));
        let (offer, pending) = changes.apply().context("an offer with two tracks")?;
        session.chat = chat;
        if let Side::Publish(publisher) = &mut session.side {
            (publisher.audio, publisher.video) = (audio, video);
        }
        Ok(Offered {
            session,
            pending,
            offer: offer.to_sdp_string(),
        })
    }

    /// A session that answers another peer directly, with no server between them. The offer must
    /// have audio first (`a=mid:0`) and then video (`a=mid:1`).
    ///
    /// # Errors
    /// When the offer is no SDP or cannot be answered, or there is no socket to be had.
    pub fn answer(role: SessionKind, offer: &str, bind: IpAddr) -> Result<(Self, String)> {
        let mut session = Self::new(role, bind)?;
        let offer = SdpOffer::from_sdp_string(offer).context("the offer is no SDP")?;
        let answer = session.rtc.sdp_api().accept_offer(offer)?;
        session.payloads = PayloadTypes::of(&session.rtc);
        Ok((session, answer.to_sdp_string()))
    }

    /// Times a viewer from `asked` on, when it asked for the offer that it answers.
    #[must_use]
    pub fn asked(mut self, asked: Instant) -> Self {
        if let Side::View(tally) = &mut self.side {
            tally.started = asked;
        }
        self
    }

    /// Puts a session that nobody has driven yet behind a link.
    #[must_use]
    pub fn behind(mut self, config: LinkConfig) -> Self {
        let seed = self.local.port().into();
        self.link = Some(Box::new(Link::new(config, seed)));
        self
    }

    fn new(role: SessionKind, bind: IpAddr) -> Result<Self> {
        let started = Instant::now();
        let domain = Domain::for_address((bind, 0).into());
        let socket = Socket::new(domain, Type::DGRAM, Some(SocketProtocol::UDP))
            .context("no socket; see ulimit -n")?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(&SocketAddr::from((bind, 0)).into())?;
        let socket = UdpSocket::from_std(socket.into());
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let local = socket.local_addr()?;

        let mut config = RtcConfig::new()
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false);
        config = match role {
            SessionKind::Publish(source) => match source.codec {
                Codec::H264 => config.enable_h264(true),
                Codec::Vp8 => config.enable_vp8(true),
                other => return Err(anyhow!("no synthetic {other:?}")),
            },
            SessionKind::View(_) => config
                .enable_h264(true)
                .enable_vp8(true)
                .enable_vp9(true)
                .enable_av1(true),
        };
        let light = matches!(role, SessionKind::View(Depth::Light));
        if light {
            config = without_feedback(config);
        }
        let mut rtc = config.build(started);
        rtc.add_local_candidate(Candidate::host(local, "udp")?);

        let side = match role {
            SessionKind::View(_) => Side::View(Box::new(ViewerTally::new(started, light))),
            SessionKind::Publish(config) => Side::Publish(Box::new(Publisher::new(config))),
        };
        Ok(Self {
            rtc,
            socket,
            state,
            local,
            due: started,
            reads_at: None,
            ended: None,
            light,
            link: None,
            chat: None,
            payloads: PayloadTypes::default(),
            side,
        })
    }

    /// The socket, for the poller.
    pub fn socket(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// Whether the peer is gone; nothing more comes of the session then.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The counters, of a viewer that wanted to leave from `left` on: a connection that ended
    /// before was lost.
    #[must_use]
    pub fn viewer(&self, left: Instant) -> Option<ViewerTally> {
        self.side.viewer(self.ended.is_some_and(|at| at < left))
    }

    /// The counters, of a publisher that wanted to leave from `left` on.
    #[must_use]
    pub fn publisher(&self, left: Instant) -> Option<PublisherTally> {
        self.side.publisher(self.ended.is_some_and(|at| at < left))
    }

    /// Starts to count for another window.
    pub fn begin_window(&mut self) {
        self.side.begin_window();
    }

    /// Whether media flows: a viewer has its first keyframe, a publisher is connected.
    #[must_use]
    pub fn flows(&self) -> bool {
        self.side.flows()
    }

    /// Whether ICE and DTLS are done.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.side.connected()
    }

    /// When [`Self::wake`] must be called, at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let link = self.link.as_ref().and_then(|link| link.due());
        let chat = self.chat.as_ref().and_then(|chat| chat.due);
        [self.reads_at, link, chat]
            .into_iter()
            .flatten()
            .fold(self.due, Instant::min)
    }

    /// Whether the session reads its socket by the clock, and no poller need watch it.
    #[must_use]
    pub fn reads_by_clock(&self) -> bool {
        self.reads_at.is_some()
    }

    /// Does what is due at `now`.
    pub fn wake(&mut self, now: Instant, buffers: &mut ReceiveBuffers, gauges: &mut Gauges) {
        if let Some(at) = self.reads_at.filter(|at| *at <= now) {
            self.receive(buffers, gauges);
            self.reads_at = Some((at + LIGHT_READS_EVERY).max(now));
        }
        self.pass_link(now, gauges);
        let chat_is_due = |chat: &Chat| chat.due.is_some_and(|at| at <= now);
        let chats = self.chat.as_deref().is_some_and(chat_is_due);
        if self.ended.is_some() || self.due > now && !chats {
            return;
        }
        if let Some(chat) = &mut self.chat {
            let within = gauges.window.holds(stamp::now_us());
            chat.write_due(now, within, &mut self.rtc, &mut gauges.chat);
        }
        if let Side::Publish(publisher) = &mut self.side {
            publisher.send_due(&mut self.rtc, now, gauges);
        }
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            self.end();
            return;
        }
        self.pump(now, stamp::now_us(), gauges);
    }

    /// Takes and sends what is through the link.
    fn pass_link(&mut self, now: Instant, gauges: &mut Gauges) {
        while self.ended.is_none()
            && let Some(sent) = self.link.as_mut().and_then(|link| link.coming.pop(now))
        {
            self.datagram(&sent.bytes, sent.peer, now, sent.due_us, gauges);
        }
        while let Some(sent) = self.link.as_mut().and_then(|link| link.going.pop(now)) {
            if self.socket.send_to(&sent.bytes, sent.peer).is_err() {
                gauges.send_blocked += 1;
            }
        }
    }

    /// Everything that str0m has to say, until it names the next deadline.
    fn pump(&mut self, now: Instant, at_us: u64, gauges: &mut Gauges) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(deadline)) => {
                    self.due = deadline;
                    break;
                }
                Ok(Output::Transmit(out)) => {
                    if let Some(link) = &mut self.link {
                        link.go(&out.contents, out.destination, now);
                    } else if self.socket.send_to(&out.contents, out.destination).is_err() {
                        gauges.send_blocked += 1;
                    }
                }
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    let codec = self.payloads.codec(*packet.header.payload_type);
                    self.side.packet(codec, &packet, now, at_us, gauges);
                }
                Ok(Output::Event(Event::ChannelOpen(id, _))) => {
                    if let Some(chat) = &mut self.chat {
                        chat.opened(id, now, &mut self.rtc);
                    }
                }
                Ok(Output::Event(Event::ChannelData(data))) => {
                    let within = gauges.window.holds(at_us);
                    if let Some(chat) = &mut self.chat {
                        chat.data(&data, now, within, &mut gauges.chat);
                    }
                }
                Ok(Output::Event(event)) => self.event(&event, now, gauges.window.holds(at_us)),
                Err(_) => {
                    self.end();
                    return;
                }
            }
        }
        if !self.rtc.is_alive() {
            self.end();
        }
        if let Side::Publish(publisher) = &self.side
            && let Some(sending) = &publisher.sending
        {
            self.due = self.due.min(sending.source.next_due());
        }
    }

    fn event(&mut self, event: &Event, now: Instant, within: bool) {
        match (event, &mut self.side) {
            (Event::Connected, Side::View(tally)) => {
                tally.connected.get_or_insert(now - tally.started);
            }
            (Event::Connected, Side::Publish(publisher)) => publisher.begin(&self.rtc, now),
            (Event::KeyframeRequest(_), Side::Publish(publisher)) => {
                publisher.keyframe_asked(now, within);
            }
            (Event::Closed, _) => self.end(),
            _ => {}
        }
    }

    fn end(&mut self) {
        self.ended.get_or_insert_with(Instant::now);
    }
}

/// One MediaStream for both tracks (RFC 9725 section 4.4.2).
fn stream() -> Option<String> {
    Some("lightstick-bench".to_owned())
}
