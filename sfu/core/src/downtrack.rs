//! One track on its way to one viewer: which packets it gets, and under which numbers.

use std::time::Instant;

use lightstick_types::{Bitrate, LayerChoice, SourceId, StreamId, TrackId, TrackKind};

use crate::layers::{LayerRates, LayerSelector, LayerSet};
use crate::packet::MediaPacket;
use crate::rewrite::{Rewriter, Rewritten};
use crate::streams::StreamSet;
use crate::temporal::TemporalGate;

/// What a viewer needs from upstream after a packet or a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyframeWanted(pub StreamId);

/// What a viewer gets in one section: a track, and another one after [`turn_to`](Self::turn_to).
#[derive(Clone, Debug)]
pub struct DownTrack {
    id: TrackId,
    /// What is forwarded of the track before, until this one's keyframe comes.
    before: Option<Before>,
    selector: LayerSelector,
    /// There once a layer is forwarded.
    gate: Option<TemporalGate>,
    rewriter: Rewriter,
    /// Where the present segment comes from, and the gaps that were cut into its stream before.
    source: Option<(SourceId, u32)>,
}

/// What is forwarded of a track that was left.
#[derive(Clone, Copy, Debug)]
struct Before {
    stream: StreamId,
    source: Option<(SourceId, u32)>,
}

impl DownTrack {
    /// A track that has forwarded nothing yet.
    #[must_use]
    pub fn new(id: TrackId, clock_rate: u32, choice: LayerChoice) -> Self {
        Self {
            id,
            before: None,
            selector: LayerSelector::new(choice),
            gate: None,
            rewriter: Rewriter::new(clock_rate),
            source: None,
        }
    }

    /// The track that the viewer gets, or waits for.
    #[must_use]
    pub fn id(&self) -> TrackId {
        self.id
    }

    /// The video stream that is forwarded now.
    #[must_use]
    #[inline]
    pub fn stream(&self) -> Option<StreamId> {
        let layer = self.selector.current();
        let track = self.id;
        let own = layer.map(|layer| StreamId { track, layer });
        own.or(self.before.map(|before| before.stream))
    }

    /// From now on the viewer gets another video track. The one before goes on until the first
    /// keyframe of the new one.
    pub fn turn_to(&mut self, id: TrackId) -> bool {
        if self.id == id {
            return false;
        }
        let source = match self.before {
            Some(before) if self.selector.current().is_none() => before.source,
            _ => self.source,
        };
        self.before = self.stream().map(|stream| Before { stream, source });
        (self.id, self.source) = (id, None);
        self.selector.turn();
        true
    }

    /// Whether nothing was forwarded so far.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.gate.is_none()
    }

    /// The viewer asks for another layer.
    pub fn choose(&mut self, choice: LayerChoice) -> Option<KeyframeWanted> {
        self.selector.choose(choice);
        self.wanted()
    }

    /// Hears which of the track's layers carry media.
    pub fn set_live(&mut self, live: LayerSet) -> Option<KeyframeWanted> {
        self.selector.set_live(live);
        self.wanted()
    }

    /// Hears which of the live layers bring nothing for now; counts from the next
    /// [`Self::set_live`] on.
    pub fn set_asleep(&mut self, asleep: LayerSet) {
        self.selector.set_asleep(asleep);
    }

    /// The streams that this viewer keeps the publisher busy with.
    #[must_use]
    pub fn watched(&self) -> StreamSet {
        let layers = StreamSet::layers(self.id, self.selector.watched());
        let before = self.before.map(|before| before.stream);
        layers.or(before.into_iter().collect())
    }

    /// Hears what the viewer's link carries, without its audio, and what layers take.
    pub fn on_estimate(
        &mut self,
        now: Instant,
        link: Bitrate,
        rates: &LayerRates,
    ) -> Option<KeyframeWanted> {
        self.selector.on_estimate(now, link, rates);
        self.wanted()
    }

    /// What the next step up takes, where the viewer would have it.
    #[must_use]
    pub fn better(&self, rates: &LayerRates) -> Option<Bitrate> {
        self.selector.better(rates)
    }

    /// The keyframe that this viewer waits for: to start, or to switch.
    #[must_use]
    pub fn wanted(&self) -> Option<KeyframeWanted> {
        match self.id.kind() {
            TrackKind::Audio => None,
            TrackKind::Video => self.target().map(KeyframeWanted),
        }
    }

    fn target(&self) -> Option<StreamId> {
        let (track, layer) = (self.id, self.selector.target());
        layer.map(|layer| StreamId { track, layer })
    }

    /// What the track takes of a link by what was decided last.
    #[must_use]
    pub fn cost(&self, rates: &LayerRates) -> Bitrate {
        self.selector.cost(rates)
    }

    /// What the least of the track takes that can be had, as far as that is known.
    #[must_use]
    pub fn least(&self, rates: &LayerRates) -> Bitrate {
        self.selector.least(rates)
    }

    /// Sends the viewer nothing of the track for now, or goes on with its next keyframe.
    pub fn set_held(&mut self, held: bool) {
        if held {
            self.before = None;
        }
        self.selector.set_held(held);
    }

    /// Whether a packet is of the track, or of the one before while that is forwarded.
    #[must_use]
    #[inline]
    pub fn is_of(&self, packet: &MediaPacket) -> bool {
        let of_before = |before: Before| before.stream == packet.stream;
        packet.stream.track == self.id || self.before.is_some_and(of_before)
    }

    /// Whether a packet belongs to what is forwarded now, or would take over from it.
    #[inline]
    #[must_use]
    pub fn takes(&self, packet: &MediaPacket) -> bool {
        self.stream() == Some(packet.stream) || self.switches_at(packet)
    }

    /// Whether the keyframe that is waited for begins with this packet.
    #[must_use]
    pub fn switches_at(&self, packet: &MediaPacket) -> bool {
        let starts = packet.info.keyframe && packet.info.starts_frame;
        starts
            && packet.stream.track == self.id
            && self.selector.target() == Some(packet.stream.layer)
    }

    /// Whether a packet of the present stream comes after later ones.
    #[must_use]
    pub fn is_late(&self, packet: &MediaPacket) -> bool {
        self.stream() == Some(packet.stream) && self.rewriter.is_late(packet.sequence)
    }

    /// What comes next does not follow on: nothing is forwarded until a keyframe comes.
    pub fn restart(&mut self) {
        self.before = None;
        self.selector.restart();
    }

    /// Leaves out a packet of a frame of an upper temporal layer, or of one that nothing depends on,
    /// without a gap for the viewer.
    pub fn leave_out(&mut self, packet: &MediaPacket) {
        if self.stream() == Some(packet.stream) {
            if let Some(gate) = &mut self.gate {
                gate.leave_out(packet);
            }
            self.rewriter.leave_out(packet);
        }
    }

    /// Takes one packet, of whatever stream. `generation` counts the gaps that full links have cut
    /// into that stream here.
    ///
    /// `None`: this viewer does not get the packet.
    pub fn forward(&mut self, packet: &MediaPacket, generation: u32) -> Option<Rewritten> {
        self.forward_at(packet, packet.timestamp, generation)
    }

    /// Takes a packet that counts as sampled at another RTP timestamp of its source.
    pub fn forward_at(
        &mut self,
        packet: &MediaPacket,
        timestamp: u32,
        generation: u32,
    ) -> Option<Rewritten> {
        if !self.is_of(packet) {
            return None;
        }
        let source = (packet.source, generation);
        match self.id.kind() {
            TrackKind::Audio => {
                let another = self.source.replace(source) != Some(source);
                if another || self.rewriter.jumps(packet.sequence) {
                    self.rewriter.cut();
                }
            }
            TrackKind::Video => {
                let is_present = self.stream() == Some(packet.stream);
                // Of a track that it has turned to, everything is new.
                let own = match packet.stream.track == self.id {
                    true => self.source,
                    false => self.before.and_then(|before| before.source),
                };
                // Gaps of other layers do not matter.
                let another = own.is_some_and(|(of, generation)| {
                    of != source.0 || (is_present && generation != source.1)
                });
                // After an outage, or where the publisher numbers anew, too much is missing for
                // a decoder to go on without a keyframe.
                let jumps = is_present && self.rewriter.jumps(packet.sequence);
                if another || jumps {
                    self.restart();
                }
                let switches = self.switches_at(packet);
                if packet.stream.track == self.id && (another || switches) {
                    self.source = Some(source);
                }
                if switches {
                    self.before = None;
                    self.selector.switched();
                    self.rewriter.cut();
                    self.gate = Some(TemporalGate::new(packet, self.selector.temporal()));
                }
                if self.stream() != Some(packet.stream) {
                    return None;
                }
            }
        }
        if packet.payload.is_empty() {
            // Of late padding nothing is sent: its place may be that of a packet that is still to come.
            self.rewriter.skip(packet);
            return None;
        }
        if let Some(gate) = &mut self.gate
            && !gate.passes(packet, self.selector.temporal())
        {
            return self.rewriter.skip(packet);
        }
        self.rewriter.rewrite_at(packet, timestamp)
    }
}
