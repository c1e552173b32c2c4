//! A WebRTC client: str0m in RTP mode on a thread and a socket of its own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

/// Between two packets of a publisher.
const PACE: Duration = Duration::from_millis(20);

/// A client that has made its offer.
pub(crate) struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    pending: SdpPendingOffer,
    audio: Mid,
    videos: Vec<Mid>,
    direction: Direction,
    rids: &'static [&'static str],
}

impl Peer {
    pub(crate) fn publisher() -> (Self, String) {
        Self::offer(Direction::SendOnly, 1, &[])
    }

    /// A publisher of simulcast layers, lowest first.
    pub(crate) fn simulcast(rids: &'static [&'static str]) -> (Self, String) {
        Self::offer(Direction::SendOnly, 1, rids)
    }

    /// A publisher of several video tracks.
    pub(crate) fn cameras(videos: usize) -> (Self, String) {
        Self::offer(Direction::SendOnly, videos, &[])
    }

    pub(crate) fn viewer() -> (Self, String) {
        Self::offer(Direction::RecvOnly, 1, &[])
    }

    /// A viewer with several video sections.
    pub(crate) fn screens(videos: usize) -> (Self, String) {
        Self::offer(Direction::RecvOnly, videos, &[])
    }

    fn offer(direction: Direction, videos: usize, rids: &'static [&'static str]) -> (Self, String) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let local = socket.local_addr().expect("an address");
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        let mut api = rtc.sdp_api();
        let stream = Some("live".to_owned());
        let audio = api.add_media(MediaKind::Audio, direction, stream.clone(), None, None);
        let simulcast = (!rids.is_empty()).then(|| {
            let mut simulcast = Simulcast::new();
            for rid in rids {
                simulcast.add_send_layer(SimulcastLayer::new(rid));
            }
            simulcast
        });
        let mut video = || {
            let (stream, simulcast) = (stream.clone(), simulcast.clone());
            api.add_media(MediaKind::Video, direction, stream, None, simulcast)
        };
        let videos = (0..videos).map(|_| video()).collect();
        let (offer, pending) = api.apply().expect("an offer");
        let peer = Self {
            rtc,
            socket,
            local,
            pending,
            audio,
            videos,
            direction,
            rids,
        };
        (peer, offer.to_sdp_string())
    }

    /// It will connect and send nothing.
    pub(crate) fn silent(mut self) -> Self {
        self.direction = Direction::Inactive;
        self
    }

    /// Takes the answer, and connects and sends (or receives) until told otherwise.
    pub(crate) fn run(mut self, answer: &str) -> Running {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer");
        self.rtc
            .sdp_api()
            .accept_answer(self.pending, answer)
            .expect("a fitting answer");
        let (stop, stopped) = channel();
        let runner = Runner {
            rtc: self.rtc,
            socket: self.socket,
            local: self.local,
            audio: self.audio,
            videos: self.videos,
            sends: self.direction == Direction::SendOnly,
            rids: self.rids,
            connected: false,
            sequence: 100,
        };
        let thread = thread::spawn(move || runner.run(&stopped));
        Running {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

/// A client at work. Dropping it makes it vanish without a word.
pub(crate) struct Running {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Closes the connection, as a page does that is closed.
    pub(crate) fn close(mut self) {
        let stop = self.stop.take().unwrap();
        stop.send(()).expect("a running client");
        self.thread.take().unwrap().join().expect("a sound client");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Runner {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    audio: Mid,
    videos: Vec<Mid>,
    sends: bool,
    rids: &'static [&'static str],
    connected: bool,
    sequence: u64,
}

impl Runner {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut next = Instant::now();
        loop {
            match stopped.try_recv() {
                Ok(()) => {
                    self.rtc.close().expect("a session to close");
                    while self.rtc.is_alive() {
                        self.turn(Duration::from_millis(5));
                    }
                    return;
                }
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            if !self.rtc.is_alive() {
                return;
            }
            if self.sends && self.connected && Instant::now() >= next {
                next = Instant::now() + PACE;
                self.send();
            }
            self.turn(Duration::from_millis(5));
        }
    }

    /// One Opus packet, and one VP8 keyframe of one packet of each video stream.
    fn send(&mut self) {
        self.sequence += 1;
        let n = self.sequence;
        let picture = (n & 0x7fff) as u16;
        let mut frame = vec![0x90, 0x80, 0x80 | (picture >> 8) as u8, picture as u8];
        frame.extend_from_slice(&[0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
        frame.resize(700, 0);
        let (opus, vp8) = (self.pt(Codec::Opus), self.pt(Codec::Vp8));
        self.write(self.audio, None, opus, n as u32 * 960, &[0xfc; 60]);
        for video in self.videos.clone() {
            if self.rids.is_empty() {
                self.write(video, None, vp8, n as u32 * 1_800, &frame);
            }
            for rid in self.rids {
                let rid = Some(Rid::from(*rid));
                self.write(video, rid, vp8, n as u32 * 1_800, &frame);
            }
        }
    }

    fn pt(&self, codec: Codec) -> Pt {
        let config = self.rtc.codec_config();
        let found = config.find(|p| p.spec().codec == codec);
        found.expect("a negotiated codec").pt()
    }

    fn write(&mut self, mid: Mid, rid: Option<Rid>, pt: Pt, time: u32, payload: &[u8]) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, rid).expect("a stream");
        let write = RtpWrite::new(pt, self.sequence.into(), time, Instant::now(), payload);
        stream.write_rtp(write.marker(true).nackable(true));
        self.input(Input::Timeout(Instant::now()));
    }

    fn turn(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        loop {
            let deadline = loop {
                match self.rtc.poll_output().expect("a sound session") {
                    Output::Timeout(at) => break at.min(until),
                    Output::Transmit(transmit) => {
                        // The server may be gone already: that is UDP's business.
                        let _ = self
                            .socket
                            .send_to(&transmit.contents, transmit.destination);
                    }
                    Output::Event(Event::Connected) => self.connected = true,
                    Output::Event(_) => {}
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            self.socket
                .set_read_timeout(Some(left.max(Duration::from_micros(100))))
                .expect("a read timeout");
            let mut buffer = [0; 2_000];
            match self.socket.recv_from(&mut buffer) {
                Ok((n, source)) => {
                    let local = self.local;
                    if let Ok(receive) = Receive::new(Protocol::Udp, source, local, &buffer[..n]) {
                        self.input(Input::Receive(Instant::now(), receive));
                    }
                }
                Err(_) => self.input(Input::Timeout(Instant::now())),
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.rtc.handle_input(input).expect("input taken");
    }
}
