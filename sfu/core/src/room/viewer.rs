//! A viewer's tracks: what it gets, when, and under which numbers.

mod probing;
mod section;

use std::time::{Duration, Instant, SystemTime};

use lightstick_types::rate::{Bucket, Limit};
use lightstick_types::{Bitrate, LayerChoice, StreamId, TrackId, TrackKind, VIDEO_TRACKS_MAX};

use super::buffer::{BatchedPacket, Buffer};
use super::rates::RoomRates;
use super::{Outlet, Turn};
use crate::downtrack::DownTrack;
use crate::egress::{Egress, Fit, Heard, NotSent, Place, StreamConfig};
use crate::history::History;
use crate::ice::Route;
use crate::paced::Step;
use crate::packet::MediaPacket;
use crate::rewrite::Rewritten;
use crate::srtp::{RtcpOpener, Sealer};
use crate::streams::StreamSet;
use probing::Probing;
use section::VideoSections;

/// A viewer that has reported nothing for this long is judged by that: a link that has fallen
/// silent carries nothing.
const UNHEARD: Duration = Duration::from_millis(500);
/// Lost packets that are looked for: those of a large keyframe at once, and those of a bad link.
const LOST: Limit = Limit {
    every: Duration::from_millis(1),
    burst: 1_024,
};

/// A viewer of a room.
#[derive(Debug)]
pub struct Viewer {
    /// The number that its owner knows it by.
    owner: u32,
    /// Where its datagrams go. Nothing is sent without.
    route: Option<Route>,
    audio: Option<DownTrack>,
    pub(super) video: VideoSections,
    sending: Sending,
    probe: Option<Probing>,
    /// When its estimate is looked at, though it has reported nothing.
    estimate_at: Option<Instant>,
    lost: Bucket,
    bytes_sent: u64,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all viewers are connected, and what they send is read for every frame"
)]
#[derive(Debug)]
enum Sending {
    /// What was negotiated, until there are keys.
    Negotiated {
        streams: Vec<StreamConfig>,
        resend_packets: usize,
    },
    Connected(Egress),
}

impl Sending {
    fn egress(&self) -> Option<&Egress> {
        match self {
            Self::Negotiated { .. } => None,
            Self::Connected(egress) => Some(egress),
        }
    }

    fn egress_mut(&mut self) -> Option<&mut Egress> {
        match self {
            Self::Negotiated { .. } => None,
            Self::Connected(egress) => Some(egress),
        }
    }
}

/// What the API shows of a viewer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViewerMedia {
    /// The stream that each of its video sections carries, or waits for.
    pub streams: [Option<StreamId>; VIDEO_TRACKS_MAX],
    /// The last round trip seen.
    pub round_trip: Option<Duration>,
    /// Loss that it reported last, 0 to 1.
    pub loss: Option<f32>,
    /// What its link is estimated to carry.
    pub estimate: Option<Bitrate>,
    /// Media and repairs, in bytes.
    pub bytes_sent: u64,
}

/// What is to be done for a viewer after something has happened to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Demand {
    /// Its report was authentic.
    pub(super) authentic: bool,
    /// Keyframes that are to be asked for.
    pub(super) keyframes: StreamSet,
    /// Streams that it watches from now on.
    pub(super) watched: StreamSet,
    /// It is to start, or to start anew, because what it was to start from has not come.
    pub(super) starts: bool,
    /// It has fallen behind.
    pub(super) is_behind: bool,
}

impl Viewer {
    /// A viewer of the streams that were negotiated, whose keys will come. Of each video stream the
    /// last `resend_packets` can be sent again.
    #[must_use]
    pub fn new(
        owner: u32,
        streams: Vec<StreamConfig>,
        choice: LayerChoice,
        resend_packets: usize,
        now: Instant,
    ) -> Self {
        let of = |kind| move |stream: &&StreamConfig| stream.kind == kind;
        let audio = streams.iter().find(of(TrackKind::Audio));
        let video = streams.iter().filter(of(TrackKind::Video));
        Self {
            owner,
            route: None,
            audio: audio.map(|audio| DownTrack::new(TrackId::AUDIO, audio.clock_rate, choice)),
            video: VideoSections::new(video, choice, now),
            sending: Sending::Negotiated {
                streams,
                resend_packets,
            },
            probe: None,
            estimate_at: None,
            lost: Bucket::default(),
            bytes_sent: 0,
        }
    }

    /// Takes the keys of the handshake. Media can be sent from now on.
    pub fn connect(&mut self, keys: (Sealer, RtcpOpener), now: Instant, wall_now: SystemTime) {
        if let Sending::Negotiated {
            streams,
            resend_packets,
        } = &mut self.sending
        {
            let streams = std::mem::take(streams);
            let egress = Egress::new(keys, streams, *resend_packets, now, wall_now);
            self.sending = Sending::Connected(egress);
            self.estimate_at = Some(now + UNHEARD);
        }
    }

    /// The number that its owner gave it.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Its datagrams go there from now on.
    pub fn set_route(&mut self, route: Option<Route>) {
        self.route = route;
    }

    /// The same for one that may be connected. What was sent while it moved is lost, and some stacks
    /// ask for a keyframe late or never: it is as if it had asked.
    pub(super) fn move_to(&mut self, route: Option<Route>, now: Instant) -> StreamSet {
        let before = std::mem::replace(&mut self.route, route);
        let moves = route.is_some() && route != before && self.is_connected();
        self.video.request([moves; VIDEO_TRACKS_MAX], now)
    }

    /// When it wants a look: for packets that it is behind with, the next of a probe, a report, or
    /// because it has not reported, asked too often, or what it was to start from has not come.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Nothing of it can be done before there is a way to send it.
        self.route?;
        let report_at = self.sending.egress().map(Egress::report_at);
        let probe_at = self.probe.as_ref().map(Probing::at);
        [
            report_at,
            probe_at,
            self.video.poll_timeout(),
            self.estimate_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the API shows of it.
    #[must_use]
    pub fn media(&self) -> ViewerMedia {
        let egress = self.sending.egress();
        ViewerMedia {
            streams: self.video.streams(),
            round_trip: egress.and_then(Egress::round_trip),
            loss: egress.and_then(Egress::loss),
            estimate: egress.and_then(Egress::estimate),
            bytes_sent: self.bytes_sent,
        }
    }

    /// The streams that the publisher must send for this viewer.
    #[must_use]
    pub fn watched(&self) -> StreamSet {
        self.video.watched()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.sending.egress().is_some()
    }

    /// Gives it what it gets of a batch. `longest` is the longest payload of each stream's packets,
    /// and `given` counts who gets each packet.
    pub(super) fn forward<O: Outlet>(
        &mut self,
        batch: &[BatchedPacket],
        longest: &[usize; StreamId::COUNT],
        given: &mut [u64],
        turn: &mut Turn<'_, O>,
    ) -> Demand {
        // A track that can send nothing yet stays as it is.
        if self.route.is_none() || !self.is_connected() {
            return Demand::default();
        }
        let was_behind = self.video.behind_until().is_some();
        let now = turn.now;
        for (batched, given) in batch.iter().zip(given) {
            let BatchedPacket {
                packet,
                generation,
                is_late,
                is_past,
            } = batched;
            let longest = longest[packet.stream.index()];
            match packet.kind() {
                // A viewer begins with the next packet: what it sees of a replay goes by as if it
                // were the present, and past audio would be late by all of its length.
                TrackKind::Audio if *is_past => {}
                TrackKind::Audio => {
                    let audio = self.audio.as_mut();
                    let rewritten = audio.and_then(|audio| audio.forward(packet, *generation));
                    if let Some(rewritten) = rewritten {
                        *given += self.give(Place::Audio, packet, &rewritten, longest, turn);
                    }
                }
                // While two tracks change places, one stream is of two sections.
                TrackKind::Video => {
                    for place in 0.. {
                        let Some(section) = self.video.get_mut(place) else {
                            break;
                        };
                        let rewritten = section.track.live(packet, *generation, *is_late, now);
                        if let Some(rewritten) = rewritten {
                            let place = Place::Video(place);
                            *given += self.give(place, packet, &rewritten, longest, turn);
                        }
                    }
                }
            }
        }
        Demand {
            is_behind: !was_behind && self.video.behind_until().is_some(),
            ..Demand::default()
        }
    }

    /// Sends a packet of a batch. How many were sent, 0 or 1.
    #[inline]
    fn give<O: Outlet>(
        &mut self,
        place: Place,
        packet: &MediaPacket,
        rewritten: &Rewritten,
        longest: usize,
        turn: &mut Turn<'_, O>,
    ) -> u64 {
        match self.send(place, packet, rewritten, longest, turn) {
            Ok(()) => return 1,
            // No drop: it had this one already, out of the history, before the batch left.
            Err(NotSent::Number) => {}
            Err(_) => turn.tally.drop_media += 1,
        }
        0
    }

    #[inline]
    fn send<O: Outlet>(
        &mut self,
        place: Place,
        packet: &MediaPacket,
        rewritten: &Rewritten,
        longest: usize,
        turn: &mut Turn<'_, O>,
    ) -> Result<(), NotSent> {
        let (Some(egress), Some(route)) = (self.sending.egress_mut(), self.route) else {
            return Err(NotSent::Stream);
        };
        let now = turn.now;
        let bytes = turn.outlet.datagram(route, |out, segment| {
            let fit = match segment {
                0 => Fit::Payload(longest),
                length => Fit::Datagram(length),
            };
            egress.media(place, packet, rewritten, fit, now, out)
        })? as u64;
        self.bytes_sent += bytes;
        if place != Place::Audio {
            self.pay(now, bytes);
        }
        Ok(())
    }

    /// Counts bytes that video makes room for.
    fn pay(&mut self, now: Instant, bytes: u64) {
        for section in self.video.iter_mut() {
            section.track.sent(now, bytes);
        }
    }

    /// Reads a datagram of SRTCP, which is opened in place, and sends again what is missing.
    pub(super) fn handle_report<O: Outlet>(
        &mut self,
        report: &mut [u8],
        buffer: &mut Buffer,
        heard: &mut Heard,
        turn: &mut Turn<'_, O>,
    ) -> Demand {
        let now = turn.now;
        let Some(egress) = self.sending.egress_mut() else {
            turn.tally.drop_refused += 1;
            return Demand::default();
        };
        // What a compound says before it breaks off counts.
        let authentic = egress.hear(report, now, heard).is_ok();
        let tally = &mut *turn.tally;
        tally.drop_refused += u64::from(!authentic) + heard.broken;
        tally.rtp_out_lost += heard.newly_lost;
        tally.keyframe_requests_in += heard.keyframe_requests;
        tally.nacks_in += heard.lost.len() as u64;
        let lost = u32::try_from(heard.lost.len()).unwrap_or(u32::MAX);
        let sought = self.lost.take_up_to(lost, now, LOST);
        tally.drop_flood += u64::from(lost - sought);
        heard.lost.truncate(sought as usize);

        if heard.newly_lost > 0 || !heard.lost.is_empty() {
            self.video.lost();
        }
        let mut keyframes = self.video.request(heard.undecodable, now);
        self.resend(&heard.lost, &buffer.history, turn);
        if heard.estimated {
            keyframes = keyframes.or(self.on_estimate(now, buffer.rates.read(now)));
        }
        Demand {
            authentic,
            keyframes,
            ..Demand::default()
        }
    }

    fn resend<O: Outlet>(&mut self, lost: &[(u8, u16)], history: &History, turn: &mut Turn<'_, O>) {
        let (Some(egress), Some(route)) = (self.sending.egress_mut(), self.route) else {
            return;
        };
        let now = turn.now;
        let mut sent = 0;
        for &lost in lost {
            let write = |out: &mut Vec<u8>, _| egress.resend(lost, history, now, out);
            if let Ok(bytes) = turn.outlet.datagram(route, write) {
                turn.tally.rtx_out += 1;
                sent += bytes as u64;
            }
        }
        self.bytes_sent += sent;
        self.pay(now, sent);
    }

    /// Holds a new estimate of its link against what its room's tracks take: perhaps it wants other
    /// layers, perhaps a probe. To be called with each report, which is when either can change, and
    /// where none comes.
    fn on_estimate(&mut self, now: Instant, rates: &RoomRates) -> StreamSet {
        self.estimate_at = Some(now + UNHEARD);
        let Some(egress) = self.sending.egress_mut() else {
            return StreamSet::default();
        };
        let Some(link) = egress.estimate() else {
            return StreamSet::default();
        };
        let audio = rates.audio.bps();
        let link = Bitrate(link.bps().saturating_sub(audio));
        let (wanted, better) = self.video.on_estimate(now, link, rates);
        let all = better.map(|better| Bitrate(better.bps() + audio));
        if let Some(probe) = egress.poll_probe(now, all) {
            self.probe = Some(Probing::new(probe, now));
        }
        wanted
    }

    /// Does what is due: packets that it is behind with, the next of a probe, a report, another
    /// start.
    pub(super) fn handle_timeout<O: Outlet>(
        &mut self,
        buffer: &mut Buffer,
        turn: &mut Turn<'_, O>,
    ) -> Demand {
        let now = turn.now;
        if self.route.is_none() {
            return Demand::default();
        }
        let history = &buffer.history;
        let mut keyframes = self.video.held_requests(now, history);
        let starts = self.video.has_waited(now);
        let is_lost = self.catch_up(history, turn);
        self.send_probe(history, turn);
        self.send_report(turn);
        if self.estimate_at.is_some_and(|at| at <= now) {
            keyframes = keyframes.or(self.on_estimate(now, buffer.rates.read(now)));
        }
        if is_lost {
            keyframes = keyframes.or(self.video.wanted());
        }
        Demand {
            keyframes,
            starts,
            ..Demand::default()
        }
    }

    /// Gives each section its next packets where it is behind and they are due. True: what was next
    /// is not kept any more.
    fn catch_up<O: Outlet>(&mut self, history: &History, turn: &mut Turn<'_, O>) -> bool {
        let mut is_lost = false;
        for place in 0..VIDEO_TRACKS_MAX {
            is_lost |= self.catch_up_at(place, history, turn);
        }
        is_lost
    }

    fn catch_up_at<O: Outlet>(
        &mut self,
        place: usize,
        history: &History,
        turn: &mut Turn<'_, O>,
    ) -> bool {
        let now = turn.now;
        let Some(section) = self.video.get_mut(place) else {
            return false;
        };
        if !section.track.begin_run(now, history) {
            return false;
        }
        let longest = section.track.longest(history);
        while let Some(section) = self.video.get_mut(place) {
            match section.track.next(now, history) {
                Step::Packet(packet, rewritten) => {
                    let place = Place::Video(place);
                    let sent = self.give(place, packet, &rewritten, longest, turn);
                    turn.tally.rtp_out += sent;
                    turn.tally.paced_out += sent;
                }
                Step::Wait | Step::Head => return false,
                Step::Lost => {
                    turn.tally.drop_behind += 1;
                    return true;
                }
            }
        }
        false
    }

    fn send_report<O: Outlet>(&mut self, turn: &mut Turn<'_, O>) {
        let (Some(egress), Some(route)) = (self.sending.egress_mut(), self.route) else {
            return;
        };
        if egress.report_at() > turn.now {
            return;
        }
        let now = turn.now;
        let sent = turn.outlet.datagram(route, |out, _| {
            // Nothing to report is no failure.
            egress.report(now, out).then_some(()).ok_or(())
        });
        self.bytes_sent += sent.unwrap_or(0) as u64;
    }
}
