//! One track on its way to one viewer: which packets it gets, and under which numbers.

use std::time::Instant;

use lightstick_types::{Bitrate, Layer, LayerChoice, TrackKind};

use crate::layers::{LayerRates, LayerSelector, LayerSet};
use crate::packet::MediaPacket;
use crate::rewrite::{Rewriter, Rewritten};
use crate::temporal::TemporalGate;

/// What a viewer needs from upstream after a packet or a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyframeWanted(pub Layer);

/// A viewer's side of a track.
#[derive(Clone, Debug)]
pub struct DownTrack {
    kind: TrackKind,
    selector: LayerSelector,
    /// There once a layer is forwarded.
    gate: Option<TemporalGate>,
    rewriter: Rewriter,
    /// Publisher session and ring generation that the present segment comes from.
    source: Option<(u32, u32)>,
}

impl DownTrack {
    /// A track that has forwarded nothing yet.
    #[must_use]
    pub fn new(kind: TrackKind, clock_rate: u32, choice: LayerChoice) -> Self {
        Self {
            kind,
            selector: LayerSelector::new(choice),
            gate: None,
            rewriter: Rewriter::new(clock_rate),
            source: None,
        }
    }

    /// The layer that is forwarded now.
    #[must_use]
    pub fn layer(&self) -> Option<Layer> {
        self.selector.current()
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

    /// Hears which layers carry media.
    pub fn set_live(&mut self, live: LayerSet) -> Option<KeyframeWanted> {
        self.selector.set_live(live);
        self.wanted()
    }

    /// Hears which of the live layers bring nothing for now; counts from the next
    /// [`Self::set_live`] on.
    pub fn set_asleep(&mut self, asleep: LayerSet) {
        self.selector.set_asleep(asleep);
    }

    /// The layers that this viewer keeps the publisher busy with.
    #[must_use]
    pub fn watched(&self) -> LayerSet {
        self.selector.watched()
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
        match self.kind {
            TrackKind::Audio => None,
            TrackKind::Video => self.selector.target().map(KeyframeWanted),
        }
    }

    /// Whether a packet belongs to what is forwarded now, or would take over from it.
    #[inline]
    #[must_use]
    pub fn takes(&self, packet: &MediaPacket) -> bool {
        self.selector.current() == Some(packet.layer) || self.switches_at(packet)
    }

    /// Whether the keyframe that is waited for begins with this packet.
    #[must_use]
    pub fn switches_at(&self, packet: &MediaPacket) -> bool {
        let starts = packet.info.keyframe && packet.info.starts_frame;
        starts && self.selector.target() == Some(packet.layer)
    }

    /// Whether a packet of the present layer comes after later ones.
    #[must_use]
    pub fn is_late(&self, packet: &MediaPacket) -> bool {
        self.selector.current() == Some(packet.layer) && self.rewriter.is_late(packet.sequence)
    }

    /// What comes next does not follow on: nothing is forwarded until a keyframe comes.
    pub fn restart(&mut self) {
        self.selector.restart();
    }

    /// Leaves out a packet of a frame of an upper temporal layer, or of one that nothing depends on,
    /// without a gap for the viewer.
    pub fn leave_out(&mut self, packet: &MediaPacket) {
        if self.selector.current() == Some(packet.layer) {
            if let Some(gate) = &mut self.gate {
                gate.leave_out(packet);
            }
            self.rewriter.leave_out(packet);
        }
    }

    /// Takes one packet of the track, of whatever layer. `generation` counts the gaps that a full
    /// ring has cut into this shard's copy of the room.
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
        let source = (packet.source, generation);
        match self.kind {
            TrackKind::Audio => {
                let another = self.source.replace(source) != Some(source);
                if another || self.rewriter.jumps(packet.sequence) {
                    self.rewriter.cut();
                }
            }
            TrackKind::Video => {
                let another = self.source.replace(source) != Some(source);
                // After an outage, or where the publisher numbers anew, too much is missing for
                // a decoder to go on without a keyframe.
                let jumps = self.selector.current() == Some(packet.layer)
                    && self.rewriter.jumps(packet.sequence);
                if another || jumps {
                    self.selector.restart();
                }
                if self.switches_at(packet) {
                    self.selector.switched();
                    self.rewriter.cut();
                    self.gate = Some(TemporalGate::new(packet, self.selector.temporal()));
                }
                if self.selector.current() != Some(packet.layer) {
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
