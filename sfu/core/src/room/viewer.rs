//! A viewer's tracks: what it gets, when, and under which numbers.

mod probing;

use std::time::{Duration, Instant, SystemTime};

use lightstick_types::{Bitrate, Layer, LayerChoice, TrackKind};

use super::buffer::{BatchedPacket, Buffer};
use super::{Outlet, Turn};
use crate::bucket::{Bucket, Limit};
use crate::downtrack::{DownTrack, KeyframeWanted};
use crate::egress::{Egress, Fit, Heard, NotSent, StreamConfig};
use crate::history::{History, Start};
use crate::ice::Route;
use crate::keyframe::RequestPace;
use crate::layers::{LayerRates, LayerSet};
use crate::paced::{PacedTrack, Step};
use crate::packet::MediaPacket;
use crate::rewrite::Rewritten;
use crate::srtp::{RtcpOpener, Sealer};
use crate::watched::Supply;
use probing::Probing;

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
    video: Option<PacedTrack>,
    sending: Sending,
    /// Until when a newcomer waits for the keyframe that it is to start from.
    patient_until: Option<Instant>,
    /// How often its requests for keyframes are passed on.
    requests: RequestPace,
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
    /// The layer that it gets, or waits for.
    pub layer: Option<Layer>,
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
    pub(super) keyframes: LayerSet,
    /// Layers that it watches from now on.
    pub(super) watched: LayerSet,
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
        let of = |kind| streams.iter().find(|stream| stream.kind == kind);
        let track = |config: &StreamConfig| DownTrack::new(config.kind, config.clock_rate, choice);
        // SSRCs are random: as good a number as any to tell viewers apart.
        let paced = |config: &StreamConfig| {
            PacedTrack::new(track(config), config.clock_rate, config.ssrc, now)
        };
        Self {
            owner,
            route: None,
            audio: of(TrackKind::Audio).map(track),
            video: of(TrackKind::Video).map(paced),
            sending: Sending::Negotiated {
                streams,
                resend_packets,
            },
            patient_until: None,
            requests: RequestPace::default(),
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
    pub(super) fn move_to(&mut self, route: Option<Route>, now: Instant) -> Option<Layer> {
        let before = std::mem::replace(&mut self.route, route);
        let moves = route.is_some() && route != before && self.is_connected();
        let asks = moves && self.requests.request(now);
        self.layer().filter(|_| asks)
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
            self.behind_until(),
            self.requests.deadline(),
            self.patient_until,
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
            layer: self.layer(),
            round_trip: egress.and_then(Egress::round_trip),
            loss: egress.and_then(Egress::loss),
            estimate: egress.and_then(Egress::estimate),
            bytes_sent: self.bytes_sent,
        }
    }

    /// The layers that the publisher must send for this viewer.
    #[must_use]
    pub fn watched(&self) -> LayerSet {
        self.track().map(DownTrack::watched).unwrap_or_default()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.sending.egress().is_some()
    }

    /// Whether it has seen no picture yet, and none is on its way.
    pub(super) fn is_fresh(&self) -> bool {
        self.video.as_ref().is_some_and(PacedTrack::is_fresh)
    }

    /// What it may be sent in a second.
    pub(super) fn rate(&self) -> Bitrate {
        self.video.as_ref().map_or(Bitrate(0), PacedTrack::rate)
    }

    /// The video layer that it gets.
    pub(super) fn layer_sent(&self) -> Option<Layer> {
        self.track().and_then(DownTrack::layer)
    }

    /// The keyframe that it waits for. What a newcomer waits for patiently is on its way.
    pub(super) fn wanted(&self) -> Option<Layer> {
        Some(self.track()?.wanted()?.0)
    }

    pub(super) fn is_patient(&self, now: Instant) -> bool {
        self.patient_until.is_some_and(|at| now < at)
    }

    pub(super) fn choose(&mut self, choice: LayerChoice) -> Option<Layer> {
        let wanted = self.video.as_mut()?.track_mut().choose(choice);
        wanted.map(|wanted| wanted.0)
    }

    pub(super) fn set_supply(&mut self, supply: Supply) -> Option<Layer> {
        let video = self.video.as_mut()?.track_mut();
        video.set_asleep(supply.asleep);
        video.set_live(supply.available).map(|wanted| wanted.0)
    }

    /// Starts from a keyframe that is past.
    pub(super) fn start_from(
        &mut self,
        layer: Layer,
        start: Start,
        history: &History,
        now: Instant,
    ) {
        self.patient_until = None;
        if let Some(video) = &mut self.video {
            video.start(layer, start, history, now);
        }
    }

    /// Waits for a keyframe.
    pub(super) fn wait_until(&mut self, at: Option<Instant>) {
        self.patient_until = at;
    }

    fn track(&self) -> Option<&DownTrack> {
        self.video.as_ref().map(PacedTrack::track)
    }

    fn layer(&self) -> Option<Layer> {
        let track = self.track()?;
        track.layer().or(track.wanted().map(|wanted| wanted.0))
    }

    /// When it may have its next run, where it is behind.
    fn behind_until(&self) -> Option<Instant> {
        self.video.as_ref().and_then(PacedTrack::deadline)
    }

    /// Gives it what it gets of a batch. `longest` is the longest payload of each layer's packets,
    /// and `given` counts who gets each packet.
    pub(super) fn forward<O: Outlet>(
        &mut self,
        batch: &[BatchedPacket],
        longest: &[usize; Layer::COUNT],
        given: &mut [u64],
        turn: &mut Turn<'_, O>,
    ) -> Demand {
        // A track that can send nothing yet stays as it is.
        if self.route.is_none() || !self.is_connected() {
            return Demand::default();
        }
        let was_behind = self.behind_until().is_some();
        let now = turn.now;
        for (batched, given) in batch.iter().zip(given) {
            let BatchedPacket {
                packet,
                generation,
                is_late,
            } = batched;
            let rewritten = match packet.kind {
                TrackKind::Audio => self
                    .audio
                    .as_mut()
                    .and_then(|audio| audio.forward(packet, *generation)),
                TrackKind::Video => self
                    .video
                    .as_mut()
                    .and_then(|video| video.live(packet, *generation, *is_late, now)),
            };
            let Some(rewritten) = rewritten else {
                continue;
            };
            match self.send(packet, &rewritten, longest[packet.layer.index()], turn) {
                Ok(()) => *given += 1,
                // No drop: it had this one already, out of the history, before the batch left.
                Err(NotSent::Number) => {}
                Err(_) => turn.tally.drop_media += 1,
            }
        }
        Demand {
            is_behind: !was_behind && self.behind_until().is_some(),
            ..Demand::default()
        }
    }

    #[inline]
    fn send<O: Outlet>(
        &mut self,
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
            egress.media(packet, rewritten, fit, now, out)
        })? as u64;
        self.bytes_sent += bytes;
        if packet.kind == TrackKind::Video {
            self.pay(now, bytes);
        }
        Ok(())
    }

    /// Counts bytes that video makes room for.
    fn pay(&mut self, now: Instant, bytes: u64) {
        if let Some(video) = &mut self.video {
            video.sent(now, bytes);
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

        let mut keyframes: LayerSet = self.keyframe_request(heard, now).into_iter().collect();
        self.resend(&heard.lost, &buffer.history, turn);
        if heard.estimated {
            let (rates, audio) = buffer.rates.read(now);
            keyframes = keyframes.or(self.on_estimate(now, &rates, audio));
        }
        Demand {
            authentic,
            keyframes,
            ..Demand::default()
        }
    }

    fn keyframe_request(&mut self, heard: &Heard, now: Instant) -> Option<Layer> {
        if heard.newly_lost > 0 || !heard.lost.is_empty() {
            self.requests.lost();
        }
        let asks = heard.keyframe_requests > 0 && self.requests.request(now);
        self.layer().filter(|_| asks)
    }

    fn resend<O: Outlet>(&mut self, lost: &[u16], history: &History, turn: &mut Turn<'_, O>) {
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

    /// Holds a new estimate of its link against what its room's layers and audio take: perhaps it
    /// wants another layer, perhaps a probe. To be called with each report, which is when either can
    /// change, and where none comes.
    fn on_estimate(&mut self, now: Instant, rates: &LayerRates, audio: u64) -> LayerSet {
        self.estimate_at = Some(now + UNHEARD);
        let (Some(video), Some(egress)) = (&mut self.video, self.sending.egress_mut()) else {
            return LayerSet::default();
        };
        let Some(link) = egress.estimate() else {
            return LayerSet::default();
        };
        let link = Bitrate(link.bps().saturating_sub(audio));
        let wanted = video.on_estimate(now, link, rates);
        let better = video.track().better(rates);
        let all = better.map(|better| Bitrate(better.bps() + audio));
        if let Some(probe) = egress.poll_probe(now, all) {
            self.probe = Some(Probing::new(probe, now));
        }
        wanted
            .map(|KeyframeWanted(layer)| layer)
            .into_iter()
            .collect()
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
        let mut keyframes: LayerSet = self.held_request(now, history).into_iter().collect();
        let starts = self.has_waited(now);
        let is_lost = self.catch_up(history, turn);
        self.send_probe(history, turn);
        self.send_report(turn);
        if self.estimate_at.is_some_and(|at| at <= now) {
            let (rates, audio) = buffer.rates.read(now);
            keyframes = keyframes.or(self.on_estimate(now, &rates, audio));
        }
        if is_lost {
            keyframes = keyframes.or(self.wanted().into_iter().collect());
        }
        Demand {
            keyframes,
            starts,
            ..Demand::default()
        }
    }

    /// The layer of which a keyframe is asked for, because a request that was held back is due.
    fn held_request(&mut self, now: Instant, history: &History) -> Option<Layer> {
        let layer = self.layer();
        let keyframe_at = layer.and_then(|layer| history.keyframe_at(layer));
        let due = self.requests.poll(now, keyframe_at);
        layer.filter(|_| due)
    }

    /// Whether the keyframe that it was to start from has not come in time.
    fn has_waited(&mut self, now: Instant) -> bool {
        let over = self.patient_until.is_some_and(|at| at <= now);
        if over {
            self.patient_until = None;
        }
        over && self.is_fresh()
    }

    /// Gives it its next packets where it is behind and they are due. True: what was next is not
    /// kept any more.
    fn catch_up<O: Outlet>(&mut self, history: &History, turn: &mut Turn<'_, O>) -> bool {
        let now = turn.now;
        let Some(video) = self.video.as_mut() else {
            return false;
        };
        if !video.begin_run(now, history) {
            return false;
        }
        let longest = video.longest(history);
        while let Some(video) = self.video.as_mut() {
            match video.next(now, history) {
                Step::Packet(packet, rewritten) => {
                    match self.send(packet, &rewritten, longest, turn) {
                        Ok(()) => {
                            turn.tally.rtp_out += 1;
                            turn.tally.paced_out += 1;
                        }
                        Err(NotSent::Number) => {}
                        Err(_) => turn.tally.drop_media += 1,
                    }
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
