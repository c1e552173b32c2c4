//! A viewer's tracks: what it gets, when, and under which numbers.

use std::time::{Duration, Instant};

use lightstick_sfu_core::bwe::ClusterId;
use lightstick_sfu_core::downtrack::{DownTrack, KeyframeWanted};
use lightstick_sfu_core::egress::{Egress, Fit, NotSent, StreamConfig};
use lightstick_sfu_core::history::{self, History, Start};
use lightstick_sfu_core::layers::{LayerRates, LayerSet};
use lightstick_sfu_core::packet::MediaPacket;
use lightstick_sfu_core::watched::Supply;
use lightstick_types::{Bitrate, Layer, LayerChoice, TrackKind};

use crate::dtls::KeyDrop;
use crate::sink::Sink;

/// Packets that a viewer who catches up is given at once, and the time between two such bursts:
/// some 30 Mbit/s. Two seconds of a show arrive within a fifth of one, and a phone's link is not
/// flooded.
const CATCH_UP_PACKETS: usize = 12;
const CATCH_UP_EVERY: Duration = Duration::from_millis(4);
/// Time between the bursts of a probe.
const PROBE_EVERY: Duration = Duration::from_millis(5);

/// A viewer's tracks.
pub(crate) struct Viewer {
    audio: Option<DownTrack>,
    video: Option<DownTrack>,
    video_clock_rate: u32,
    /// What was negotiated, until there are keys.
    configs: Vec<StreamConfig>,
    keys: KeyDrop,
    resend_packets: usize,
    /// There once the handshake is done.
    pub(crate) egress: Option<Egress>,
    catch_up: Option<CatchUp>,
    probe: Option<Probing>,
}

/// Padding that is being sent to find out what a link carries.
struct Probing {
    cluster: ClusterId,
    ends_at: Instant,
    bytes_left: usize,
    /// When the next of it may leave.
    at: Instant,
}

/// How far a newcomer is on its way from the last keyframe to the present.
struct CatchUp {
    layer: Layer,
    source: Option<u32>,
    /// The publisher's number of the next packet.
    next: u64,
    start: Start,
    /// Timestamp of the replay's last frame.
    last_timestamp: u32,
    /// Timestamp of the frame that was begun last, and how many of the replay follow it.
    frame: Option<u32>,
    frames_after: u32,
    /// When the next packets may leave.
    at: Instant,
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
    ) -> Self {
        let track = |kind| {
            let config = configs.iter().find(|config| config.kind == kind)?;
            Some(DownTrack::new(kind, config.clock_rate, choice))
        };
        let video = configs
            .iter()
            .find(|config| config.kind == TrackKind::Video);
        Self {
            audio: track(TrackKind::Audio),
            video: track(TrackKind::Video),
            video_clock_rate: video.map_or(90_000, |config| config.clock_rate),
            configs,
            keys,
            resend_packets,
            egress: None,
            catch_up: None,
            probe: None,
        }
    }

    /// Takes the keys of the handshake. False: there are none, and nothing can be sent.
    pub(crate) fn connected(&mut self, now: Instant) -> bool {
        let Some(Ok(keys)) = self.keys.take() else {
            return false;
        };
        let configs = std::mem::take(&mut self.configs);
        self.egress = Some(Egress::new(keys, configs, self.resend_packets, now));
        true
    }

    /// When it wants a look: to catch up, or to report.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let report_at = self.egress.as_ref().map(Egress::report_at);
        let catch_up_at = self.catch_up.as_ref().map(|catch_up| catch_up.at);
        let probe_at = self.probe.as_ref().map(|probe| probe.at);
        [report_at, catch_up_at, probe_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// The video layer that it gets, or waits for.
    pub(crate) fn layer(&self) -> Option<Layer> {
        let video = self.video.as_ref()?;
        video.layer().or(video.wanted().map(|wanted| wanted.0))
    }

    /// The video layer that it gets.
    pub(crate) fn layer_sent(&self) -> Option<Layer> {
        self.video.as_ref().and_then(DownTrack::layer)
    }

    /// The keyframe that it waits for.
    pub(crate) fn wanted(&self) -> Option<KeyframeWanted> {
        self.video.as_ref().and_then(DownTrack::wanted)
    }

    pub(crate) fn choose(&mut self, choice: LayerChoice) -> Option<KeyframeWanted> {
        self.video.as_mut()?.choose(choice)
    }

    pub(crate) fn set_supply(&mut self, supply: Supply) -> Option<KeyframeWanted> {
        let video = self.video.as_mut()?;
        video.set_asleep(supply.asleep);
        video.set_live(supply.available)
    }

    /// The layers that the publisher must send for this viewer.
    pub(crate) fn watched(&self) -> LayerSet {
        self.video
            .as_ref()
            .map(DownTrack::watched)
            .unwrap_or_default()
    }

    /// Holds a new estimate of its link against what its room's layers and audio take: perhaps it
    /// wants another layer, perhaps a probe.
    pub(crate) fn on_estimate(
        &mut self,
        now: Instant,
        rates: &LayerRates,
        audio: u64,
    ) -> Option<KeyframeWanted> {
        let (Some(video), Some(egress)) = (&mut self.video, &mut self.egress) else {
            return None;
        };
        let link = egress.estimate()?;
        let link = Bitrate(link.bps().saturating_sub(audio));
        let wanted = video.on_estimate(now, link, rates);
        let better = video.better(rates);
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
    }

    /// Whether the viewer has seen no picture yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.catch_up.is_none() && self.video.as_ref().is_some_and(DownTrack::is_fresh)
    }

    /// Lets the viewer start from a keyframe that is past.
    ///
    /// The first packets leave a moment after `now`: nothing may overtake the end of the
    /// handshake, and there are stacks that drop what they read together with it.
    pub(crate) fn start_from(
        &mut self,
        layer: Layer,
        start: Start,
        history: &History,
        now: Instant,
    ) {
        let last = history.get(layer, start.to);
        self.catch_up = Some(CatchUp {
            layer,
            source: last.map(|packet| packet.source),
            next: start.from,
            start,
            last_timestamp: last.map_or(0, |packet| packet.timestamp),
            frame: None,
            frames_after: start.frames,
            at: now + CATCH_UP_EVERY,
        });
    }

    /// Whether a viewer who catches up may have its next packets.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        self.catch_up.as_ref().is_some_and(|c| c.at <= now)
    }

    /// Gives the viewer one packet of its room, if it is to have it now. `Ok(true)`: it was sent.
    #[inline]
    pub(crate) fn forward(
        &mut self,
        offered: Offered<'_>,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> Result<bool, NotSent> {
        let packet = offered.packet;
        if packet.kind == TrackKind::Video
            && let Some(catch_up) = &self.catch_up
        {
            // Either it gets it in turn, or it is late for a place that was passed already.
            let late = packet.layer == catch_up.layer
                && catch_up.source == Some(packet.source)
                && packet.sequence < catch_up.next;
            if !late {
                return Ok(false);
            }
        }
        self.forward_at(offered, packet.timestamp, now, sink)
    }

    /// Gives a viewer who catches up its next packets. The number that was sent.
    pub(crate) fn catch_up(&mut self, now: Instant, history: &History, sink: &mut Sink<'_>) -> u64 {
        let mut sent = 0;
        for _ in 0..CATCH_UP_PACKETS {
            let Some((packet, timestamp)) = self.next_of_replay(history) else {
                self.catch_up = None;
                return sent;
            };
            let offered = Offered {
                packet,
                generation: history.head(packet.layer).1,
                longest: 0,
            };
            sent += u64::from(self.forward_at(offered, timestamp, now, sink) == Ok(true));
        }
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.at = now + CATCH_UP_EVERY;
        }
        sent
    }

    /// The next packet of the replay and its timestamp. `None`: the viewer has caught up, or what
    /// it was catching up with is gone.
    fn next_of_replay<'a>(&mut self, history: &'a History) -> Option<(&'a MediaPacket, u32)> {
        let rate = self.video_clock_rate;
        let catch_up = self.catch_up.as_mut()?;
        let (head, generation) = history.head(catch_up.layer);
        if generation != catch_up.start.generation {
            return None;
        }
        while catch_up.next <= head {
            let sequence = catch_up.next;
            catch_up.next += 1;
            let Some(packet) = history.get(catch_up.layer, sequence) else {
                continue;
            };
            if Some(packet.source) != catch_up.source {
                return None;
            }
            if sequence > catch_up.start.to {
                return Some((packet, packet.timestamp));
            }
            if catch_up.frame.replace(packet.timestamp) != Some(packet.timestamp) {
                catch_up.frames_after = catch_up.frames_after.saturating_sub(1);
            }
            let (last, after) = (catch_up.last_timestamp, catch_up.frames_after);
            return Some((packet, history::squeezed(last, after, rate)));
        }
        None
    }

    #[inline]
    fn forward_at(
        &mut self,
        offered: Offered<'_>,
        timestamp: u32,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> Result<bool, NotSent> {
        let packet = offered.packet;
        let track = match packet.kind {
            TrackKind::Audio => &mut self.audio,
            TrackKind::Video => &mut self.video,
        };
        let (Some(track), Some(egress)) = (track, &mut self.egress) else {
            return Ok(false);
        };
        let Some(rewritten) = track.forward_at(packet, timestamp, offered.generation) else {
            return Ok(false);
        };
        let sent = sink.datagram(|out, segment| {
            let fit = match segment {
                0 => Fit::Payload(offered.longest),
                length => Fit::Datagram(length),
            };
            egress.media(packet, &rewritten, fit, now, out)
        });
        sent.map(|()| true)
    }
}
