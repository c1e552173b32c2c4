//! A WebRTC client for tests: str0m in RTP mode on a socket of its own, driven by the test.

#![allow(dead_code)] // Each test file uses its part.

pub(crate) mod fan;
pub(crate) mod plane;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::SockRef;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelData, ChannelId};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Pt, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// How long a test waits for what must happen, on a machine that may have much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// More than a replay that a viewer starts from, as the kernel counts it. Some systems allow less.
const UNREAD_MAX: usize = 4 << 20;

/// What a client has seen since it was last asked.
#[derive(Debug)]
pub(crate) enum Seen {
    Connected,
    Packet(Box<RtpPacket>),
    KeyframeRequest(Option<Rid>, KeyframeRequestKind),
    Opened(ChannelId),
    Data(ChannelData),
    ChannelClosed(ChannelId),
    Closed,
}

pub(crate) struct Client {
    pub(crate) rtc: Rtc,
    socket: UdpSocket,
    /// What was taken from the socket, and waits for its turn.
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    pub(crate) audio: Mid,
    pub(crate) video: Mid,
    pub(crate) seen: Vec<Seen>,
    /// Loses each n-th media packet on its way out or in; 0 loses none.
    pub(crate) lose_every: u32,
    /// Loses all DTLS that comes in: its data channels hear nothing.
    pub(crate) deaf: bool,
    /// Sends no check of its own any more, as clients with one-shot ICE.
    pub(crate) checks_no_more: bool,
    media_packets: u32,
    /// The channels that stood in its offer.
    pub(crate) channels: Vec<ChannelId>,
}

impl Client {
    /// A client, and its offer to publish or to view.
    pub(crate) fn offer(direction: Direction) -> (Self, String) {
        Self::offer_with(direction, &[])
    }

    /// The same with data channels.
    pub(crate) fn offer_with(direction: Direction, channels: &[ChannelConfig]) -> (Self, String) {
        Self::offer_of(Rtc::builder(), direction, channels)
    }

    /// The same from a client that is configured otherwise.
    pub(crate) fn offer_of(
        config: RtcConfig,
        direction: Direction,
        channels: &[ChannelConfig],
    ) -> (Self, String) {
        let socket = bind();
        let local = socket.local_addr().expect("an address");
        let mut rtc = config.set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        let mut api = rtc.sdp_api();
        let stream = Some("live".to_owned());
        let audio = api.add_media(MediaKind::Audio, direction, stream.clone(), None, None);
        let video = api.add_media(MediaKind::Video, direction, stream, None, None);
        let channels = channels
            .iter()
            .map(|config| api.add_channel_with_config(config.clone()))
            .collect();
        let (offer, pending) = api.apply().expect("an offer");
        let client = Self {
            rtc,
            socket,
            inbox: VecDeque::new(),
            local,
            pending: Some(pending),
            audio,
            video,
            seen: Vec::new(),
            lose_every: 0,
            deaf: false,
            checks_no_more: false,
            media_packets: 0,
            channels,
        };
        (client, offer.to_sdp_string())
    }

    /// Takes the server's answer.
    pub(crate) fn answer(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer");
        let pending = self.pending.take().expect("an offer that waits");
        self.rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .expect("a fitting answer");
    }

    /// The payload type of a codec's first format.
    pub(crate) fn pt(&self, codec: str0m::format::Codec) -> Pt {
        let config = self.rtc.codec_config();
        config
            .find(|p| p.spec().codec == codec)
            .expect("a negotiated codec")
            .pt()
    }

    /// Queues an RTP packet.
    pub(crate) fn write(
        &mut self,
        mid: Mid,
        pt: Pt,
        seq: u64,
        time: u32,
        marker: bool,
        payload: &[u8],
    ) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).expect("a stream");
        let write = RtpWrite::new(pt, seq.into(), time, Instant::now(), payload);
        stream.write_rtp(write.marker(marker).nackable(true));
        self.rtc
            .handle_input(Input::Timeout(Instant::now()))
            .expect("time moves on");
    }

    /// Sends what is due and receives for at most `wait`.
    pub(crate) fn turn(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        loop {
            let deadline = loop {
                match self.rtc.poll_output().expect("a sound session") {
                    Output::Timeout(at) => break at.min(until),
                    Output::Transmit(t) if self.loses(&t.contents) => {}
                    // A binding request (RFC 8489 section 5).
                    Output::Transmit(t) if self.checks_no_more && t.contents[..2] == [0, 1] => {}
                    Output::Transmit(t) => {
                        self.socket
                            .send_to(&t.contents, t.destination)
                            .expect("a sent datagram");
                    }
                    Output::Event(event) => self.see(event),
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let received = self.receive(left);
            let input = match &received {
                Some((_, datagram)) if self.loses(datagram) => continue,
                // RFC 7983 section 7 tells DTLS from the rest.
                Some((_, datagram)) if self.deaf && matches!(datagram.first(), Some(20..=63)) => {
                    continue;
                }
                Some((source, datagram)) => {
                    match Receive::new(Protocol::Udp, *source, self.local, datagram) {
                        Ok(receive) => Input::Receive(Instant::now(), receive),
                        Err(_) => continue,
                    }
                }
                None => Input::Timeout(Instant::now()),
            };
            self.rtc.handle_input(input).expect("input taken");
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// The next datagram, waited for no longer than `wait`. Reading a packet takes a test longer
    /// than sending it takes a server: all that has come is taken first, or the kernel drops it.
    fn receive(&mut self, wait: Duration) -> Option<(SocketAddr, Vec<u8>)> {
        let mut buffer = [0; 2_000];
        let mut take = |socket: &UdpSocket, inbox: &mut VecDeque<_>| {
            let taken = socket.recv_from(&mut buffer);
            taken.map(|(n, source)| inbox.push_back((source, buffer[..n].to_vec())))
        };
        self.socket.set_nonblocking(true).expect("a socket");
        while take(&self.socket, &mut self.inbox).is_ok() {}
        self.socket.set_nonblocking(false).expect("a socket");
        if self.inbox.is_empty() {
            self.socket
                .set_read_timeout(Some(wait.max(Duration::from_micros(100))))
                .expect("a read timeout");
            // An error is the end of the wait.
            let _ = take(&self.socket, &mut self.inbox);
        }
        self.inbox.pop_front()
    }

    /// Whether the network loses this datagram: RTP only (RFC 5761 section 4 tells it from RTCP).
    fn loses(&mut self, datagram: &[u8]) -> bool {
        let rtp = datagram.len() > 100
            && datagram[0] >> 6 == 2
            && !(64..=95).contains(&(datagram[1] & 0x7f));
        if !rtp || self.lose_every == 0 {
            return false;
        }
        self.media_packets += 1;
        self.media_packets.is_multiple_of(self.lose_every)
    }

    fn see(&mut self, event: Event) {
        let seen = match event {
            Event::Connected => Seen::Connected,
            Event::RtpPacket(packet) => Seen::Packet(Box::new(packet)),
            Event::KeyframeRequest(request) => Seen::KeyframeRequest(request.rid, request.kind),
            Event::ChannelOpen(id, _) => Seen::Opened(id),
            Event::ChannelData(data) => Seen::Data(data),
            Event::ChannelClose(id) => Seen::ChannelClosed(id),
            Event::Closed => Seen::Closed,
            _ => return,
        };
        self.seen.push(seen);
    }

    /// Turns until `done`, or fails.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain for {what}: {:?}",
                self.seen
            );
            self.turn(Duration::from_millis(5));
        }
    }

    pub(crate) fn until_connected(&mut self) {
        self.until("a connection", |client| {
            client
                .seen
                .iter()
                .any(|seen| matches!(seen, Seen::Connected))
        });
    }

    /// Takes the packets of `mid` that were seen.
    pub(crate) fn packets(&mut self, pt: Pt) -> Vec<RtpPacket> {
        let (packets, rest) = std::mem::take(&mut self.seen)
            .into_iter()
            .partition(|s| matches!(s, Seen::Packet(p) if p.header.payload_type == pt));
        self.seen = rest;
        let packets: Vec<Seen> = packets;
        packets
            .into_iter()
            .filter_map(|seen| {
                if let Seen::Packet(packet) = seen {
                    Some(*packet)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Its NAT gives it another port: what comes to the old one is lost, and it does not know.
    pub(crate) fn rebind(&mut self) {
        self.socket = bind();
        self.inbox.clear();
    }

    /// Where it is seen.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// Sends bytes as they are, from the session's own address.
    pub(crate) fn send_raw(&self, to: SocketAddr, bytes: &[u8]) {
        self.socket.send_to(bytes, to).expect("a sent datagram");
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    SockRef::from(&socket)
        .set_recv_buffer_size(UNREAD_MAX)
        .expect("a receive buffer");
    socket
}

/// A VP8 packet's payload (RFC 7741): the first or a later packet of a frame.
pub(crate) fn vp8(first: bool, key: bool, picture: u16, filler: u8) -> Vec<u8> {
    let mut payload = vec![
        if first { 0x90 } else { 0x80 },
        0x80,
        0x80 | (picture >> 8) as u8,
        picture as u8,
    ];
    payload.push(u8::from(!key));
    payload.extend_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    payload.resize(900, filler);
    payload
}
