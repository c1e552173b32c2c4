//! A viewer's tracks: what it gets, when, and under which numbers.

use std::time::{Duration, Instant, SystemTime};

use lightstick_sfu_core::bwe::ClusterId;
use lightstick_sfu_core::downtrack::{DownTrack, KeyframeWanted};
use lightstick_sfu_core::egress::{Egress, Fit, Heard, NotSent, StreamConfig};
use lightstick_sfu_core::history::{History, Start};
use lightstick_sfu_core::keyframe::RequestPace;
use lightstick_sfu_core::layers::{LayerRates, LayerSet};
use lightstick_sfu_core::paced::{PacedTrack, Step};
use lightstick_sfu_core::packet::MediaPacket;
use lightstick_sfu_core::rewrite::Rewritten;
use lightstick_sfu_core::watched::Supply;
use lightstick_types::{Bitrate, Layer, LayerChoice, TrackKind};

use crate::dtls::KeyDrop;
use crate::sink::Sink;

/// A viewer that has reported nothing for this long is judged by that: a link that has fallen
/// silent carries nothing.
const UNHEARD: Duration = Duration::from_millis(500);
/// Time between the bursts of a probe.
const PROBE_EVERY: Duration = Duration::from_millis(5);

/// A viewer's tracks.
pub(crate) struct Viewer {
    audio: Option<DownTrack>,
    video: Option<PacedTrack>,
    /// What was negotiated, until there are keys.
    configs: Vec<StreamConfig>,
    keys: KeyDrop,
    resend_packets: usize,
    /// There once the handshake is done.
    pub(crate) egress: Option<Egress>,
    /// Until when a newcomer waits for the keyframe that it is to start from.
    patient_until: Option<Instant>,
    /// How often its requests for keyframes are passed on.
    requests: RequestPace,
    probe: Option<Probing>,
    /// When its estimate is looked at, though it has reported nothing.
    estimate_at: Option<Instant>,
}

/// Padding that is being sent to find out what a link carries.
struct Probing {
    cluster: ClusterId,
    ends_at: Instant,
    bytes_left: usize,
    /// When the next of it may leave.
    at: Instant,
}

/// What came of the packets that a viewer was behind with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) sent: u64,
    pub(crate) refused: u64,
    /// What was next was not kept any more: a keyframe is to be asked for.
    pub(crate) lost: bool,
}

/// A packet of a room that may go to a viewer.
#[derive(Clone, Copy)]
pub(crate) struct Offered<'a> {
    pub(crate) packet: &'a MediaPacket,
    /// Gaps that a full ring has cut before it.
    pub(crate) generation: u32,
    /// Longest payload of its turn and layer, in bytes.
    pub(crate) longest: usize,
}

impl Viewer {
    /// A viewer of the streams that were negotiated, whose keys will come.
    pub(crate) fn new(
        configs: Vec<StreamConfig>,
        keys: KeyDrop,
        choice: LayerChoice,
        resend_packets: usize,
        now: Instant,
    ) -> Self {
        let of = |kind| configs.iter().find(|config| config.kind == kind);
        let track = |config: &StreamConfig| DownTrack::new(config.kind, config.clock_rate, choice);
        // SSRCs are random: as good a number as any to tell viewers apart.
        let paced = |config: &StreamConfig| {
            PacedTrack::new(track(config), config.clock_rate, config.ssrc, now)
        };
        Self {
            audio: of(TrackKind::Audio).map(track),
            video: of(TrackKind::Video).map(paced),
            configs,
            keys,
            resend_packets,
            egress: None,
            patient_until: None,
            requests: RequestPace::default(),
            probe: None,
            estimate_at: None,
        }
    }

    /// Takes the keys of the handshake. False: there are none, and nothing can be sent.
    pub(crate) fn connected(&mut self, now: Instant) -> bool {
        let Some(Ok(keys)) = self.keys.take() else {
            return false;
        };
        let configs = std::mem::take(&mut self.configs);
        let wall_now = SystemTime::now();
        let egress = Egress::new(keys, configs, self.resend_packets, now, wall_now);
        self.egress = Some(egress);
        self.estimate_at = Some(now + UNHEARD);
        true
    }

    /// When it wants a look: for packets that it is behind with, the next of a probe, a report, or
    /// because it has not reported, asked too often, or what it was to start from has not come.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let report_at = self.egress.as_ref().map(Egress::report_at);
        let run_at = self.video.as_ref().and_then(PacedTrack::deadline);
        let probe_at = self.probe.as_ref().map(|probe| probe.at);
        let others = [self.patient_until, self.estimate_at];
        [report_at, run_at, probe_at, self.requests.deadline()]
            .into_iter()
            .chain(others)
            .flatten()
            .min()
    }

    /// Whether it waits for packets that others have.
    pub(crate) fn is_behind(&self) -> bool {
        let deadline = self.video.as_ref().and_then(PacedTrack::deadline);
        deadline.is_some()
    }

    fn track(&self) -> Option<&DownTrack> {
        self.video.as_ref().map(PacedTrack::track)
    }

    /// The video layer that it gets, or waits for.
    pub(crate) fn layer(&self) -> Option<Layer> {
        let track = self.track()?;
        track.layer().or(track.wanted().map(|wanted| wanted.0))
    }

    /// The video layer that it gets.
    pub(crate) fn layer_sent(&self) -> Option<Layer> {
        self.track().and_then(DownTrack::layer)
    }

    /// The keyframe that it waits for.
    pub(crate) fn wanted(&self) -> Option<KeyframeWanted> {
        self.track().and_then(DownTrack::wanted)
    }

    pub(crate) fn choose(&mut self, choice: LayerChoice) -> Option<KeyframeWanted> {
        self.video.as_mut()?.track_mut().choose(choice)
    }

    pub(crate) fn set_supply(&mut self, supply: Supply) -> Option<KeyframeWanted> {
        let video = self.video.as_mut()?.track_mut();
        video.set_asleep(supply.asleep);
        video.set_live(supply.available)
    }

    /// The layers that the publisher must send for this viewer.
    pub(crate) fn watched(&self) -> LayerSet {
        self.track().map(DownTrack::watched).unwrap_or_default()
    }

    /// Whether its estimate is to be looked at because no report has come that led to that.
    pub(crate) fn is_unheard(&self, now: Instant) -> bool {
        self.estimate_at.is_some_and(|at| at <= now)
    }

    /// Holds a new estimate of its link against what its room's layers and audio take: perhaps it
    /// wants another layer, perhaps a probe. To be called with each report, which is when either can
    /// change, and where none comes.
    pub(crate) fn on_estimate(
        &mut self,
        now: Instant,
        rates: &LayerRates,
        audio: u64,
    ) -> Option<KeyframeWanted> {
        self.estimate_at = Some(now + UNHEARD);
        let (Some(video), Some(egress)) = (&mut self.video, &mut self.egress) else {
            return None;
        };
        let link = egress.estimate()?;
        let link = Bitrate(link.bps().saturating_sub(audio));
        let wanted = video.on_estimate(now, link, rates);
        let better = video.track().better(rates);
        let all = better.map(|better| Bitrate(better.bps() + audio));
        if let Some(probe) = egress.poll_probe(now, all) {
            self.probe = Some(Probing {
                cluster: probe.cluster,
                ends_at: now + probe.duration,
                bytes_left: probe.bytes,
                at: now,
            });
        }
        wanted
    }

    /// Hears what the viewer asks for and misses. The layer of which a keyframe is to be asked for.
    pub(crate) fn keyframe_request(&mut self, heard: &Heard, now: Instant) -> Option<Layer> {
        if heard.newly_lost > 0 || !heard.lost.is_empty() {
            self.requests.lost();
        }
        let asks = heard.keyframe_requests > 0 && self.requests.request(now);
        self.layer().filter(|_| asks)
    }

    /// The layer of which a keyframe is to be asked for, because a request that was held back is due.
    pub(crate) fn held_request(
        &mut self,
        now: Instant,
        history: Option<&History>,
    ) -> Option<Layer> {
        let layer = self.layer();
        let keyframe_at = history
            .zip(layer)
            .and_then(|(h, layer)| h.keyframe_at(layer));
        let due = self.requests.poll(now, keyframe_at);
        layer.filter(|_| due)
    }

    /// Sends again what a viewer misses. How many packets that was.
    pub(crate) fn resend(
        &mut self,
        heard: &Heard,
        history: &History,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> u64 {
        let Some(egress) = &mut self.egress else {
            return 0;
        };
        let before = sink.bytes;
        let mut resent = 0;
        for &lost in &heard.lost {
            let again = sink.datagram(|out, _| egress.resend(lost, history, now, out));
            resent += u64::from(again.is_ok());
        }
        self.pay(now, sink.bytes - before);
        resent
    }

    /// Counts bytes that video makes room for.
    fn pay(&mut self, now: Instant, bytes: u64) {
        if let Some(video) = &mut self.video {
            video.sent(now, bytes);
        }
    }

    /// Sends the next packets of a probe, where one is under way.
    pub(crate) fn send_probe(&mut self, now: Instant, history: &History, sink: &mut Sink<'_>) {
        let (Some(probe), Some(egress)) = (&mut self.probe, &mut self.egress) else {
            return;
        };
        if now < probe.at {
            return;
        }
        probe.at = now + PROBE_EVERY;
        // An even share of what is left, in the steps that are left.
        let left = probe.ends_at.saturating_duration_since(now);
        let steps = left.as_micros() / PROBE_EVERY.as_micros() + 1;
        let mut share = probe.bytes_left / steps as usize;
        let first = sink.bytes;
        while share > 0 {
            let before = sink.bytes;
            let sent = sink.datagram(|out, _| egress.probe(probe.cluster, history, now, out));
            let bytes = (sink.bytes - before) as usize;
            if sent.is_err() || bytes == 0 {
                break;
            }
            share = share.saturating_sub(bytes);
            probe.bytes_left = probe.bytes_left.saturating_sub(bytes);
        }
        if steps == 1 || probe.bytes_left == 0 {
            self.probe = None;
        }
        self.pay(now, sink.bytes - first);
    }

    /// Whether the viewer has seen no picture yet, and none is on its way.
    pub(crate) fn is_fresh(&self) -> bool {
        self.video.as_ref().is_some_and(PacedTrack::is_fresh)
    }

    /// What it may be sent in a second.
    pub(crate) fn rate(&self) -> Bitrate {
        self.video.as_ref().map_or(Bitrate(0), PacedTrack::rate)
    }

    /// Lets the viewer start from a keyframe that is past.
    pub(crate) fn start_from(
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

    /// Lets the viewer wait for a keyframe.
    pub(crate) fn wait_until(&mut self, at: Option<Instant>) {
        self.patient_until = at;
    }

    /// Whether a newcomer waits for a keyframe that is on its way.
    pub(crate) fn is_patient(&self, now: Instant) -> bool {
        self.patient_until.is_some_and(|at| now < at)
    }

    /// Whether the keyframe that it was to start from has not come in time.
    pub(crate) fn has_waited(&mut self, now: Instant) -> bool {
        let over = self.patient_until.is_some_and(|at| at <= now);
        if over {
            self.patient_until = None;
        }
        over && self.is_fresh()
    }

    /// Gives the viewer one packet of its room, if it is to have it now. `Ok(true)`: it was sent.
    #[inline]
    pub(crate) fn forward(
        &mut self,
        offered: Offered<'_>,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> Result<bool, NotSent> {
        // A track that can send nothing yet stays as it is.
        if self.egress.is_none() {
            return Ok(false);
        }
        let (packet, generation) = (offered.packet, offered.generation);
        let rewritten = match packet.kind {
            TrackKind::Audio => self
                .audio
                .as_mut()
                .and_then(|audio| audio.forward(packet, generation)),
            TrackKind::Video => self
                .video
                .as_mut()
                .and_then(|video| video.live(packet, generation, now)),
        };
        match rewritten {
            Some(rewritten) => self.send(packet, &rewritten, offered.longest, now, sink),
            None => Ok(false),
        }
    }

    /// Gives a viewer who is behind its next packets, if they are due.
    pub(crate) fn run(&mut self, now: Instant, history: &History, sink: &mut Sink<'_>) -> Run {
        let mut run = Run::default();
        let Some(video) = self.video.as_mut() else {
            return run;
        };
        if !video.begin_run(now, history) {
            return run;
        }
        let longest = video.longest(history);
        while let Some(video) = self.video.as_mut() {
            match video.next(now, history) {
                Step::Packet(packet, rewritten) => {
                    match self.send(packet, &rewritten, longest, now, sink) {
                        Ok(sent) => run.sent += u64::from(sent),
                        Err(NotSent::Number) => {}
                        Err(_) => run.refused += 1,
                    }
                }
                Step::Wait | Step::Head => break,
                Step::Lost => {
                    run.lost = true;
                    break;
                }
            }
        }
        run
    }

    #[inline]
    fn send(
        &mut self,
        packet: &MediaPacket,
        rewritten: &Rewritten,
        longest: usize,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> Result<bool, NotSent> {
        let Some(egress) = &mut self.egress else {
            return Ok(false);
        };
        let before = sink.bytes;
        sink.datagram(|out, segment| {
            let fit = match segment {
                0 => Fit::Payload(longest),
                length => Fit::Datagram(length),
            };
            egress.media(packet, rewritten, fit, now, out)
        })?;
        if packet.kind == TrackKind::Video {
            self.pay(now, sink.bytes - before);
        }
        Ok(true)
    }
}
