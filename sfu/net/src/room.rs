//! A room as one shard holds it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::history::History;
use lightstick_sfu_core::layers::{LayerRates, LayerSet};
use lightstick_sfu_core::meter::Meter;
use lightstick_sfu_core::packet::MediaPacket;
use lightstick_sfu_core::ring::{Crossing, RingGate};
use lightstick_sfu_core::uptrack::Source;
use lightstick_sfu_core::watched::{Supply, Watched};
use lightstick_types::{Layer, RoomId, ShardId, TrackKind};

use crate::link::{Links, Message};
use crate::stats::ShardStats;

/// What a viewer adds to the time that a frame may wait to be whole: about twice what a packet of
/// its own costs.
const HOLD_A_VIEWER: Duration = Duration::from_micros(25);

/// Rates are read this often.
const RATES_EVERY: Duration = Duration::from_millis(250);
/// What a meter looks back on: before that, it shows too little of a layer that has just come.
const METERED: Duration = Duration::from_secs(1);

/// A room on one shard: its publisher where this is its home, and this shard's viewers.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// At home, while somebody publishes.
    pub(crate) publisher: Option<Publisher>,
    /// Sessions on this shard, by their keys.
    pub(crate) viewers: Vec<u32>,
    /// The layers that can be had, as last heard.
    pub(crate) supply: Supply,
    /// Publisher sessions so far: a new one is a new source to every viewer.
    pub(crate) sources: u32,
    /// At home: the shards with viewers, and what has crossed to them.
    remotes: BTreeMap<ShardId, Remote>,
    /// Packets that are to be sent on.
    pub(crate) batch: Vec<Fresh>,
    /// When they are.
    pub(crate) release_at: Option<Instant>,
    /// What newcomers of this shard start from, and lost packets are sent again from.
    pub(crate) history: History,
    /// What each layer takes.
    meters: [Meter; Layer::COUNT],
    audio_meter: Meter,
    rates: LayerRates,
    /// Since when a layer is sent without a break.
    flowing_since: [Option<Instant>; Layer::COUNT],
    audio_rate: u64,
    rated_at: Option<Instant>,
    /// Away from home: keyframes to ask for at the end of this turn.
    pub(crate) wanted: LayerSet,
    /// Away from home: the layers that the home knows to be watched here.
    pub(crate) watched: LayerSet,
}

/// A shard with viewers of a room, as the room's home knows it.
#[derive(Debug, Default)]
struct Remote {
    gate: RingGate,
    /// Layers that its viewers watch.
    watched: LayerSet,
}

/// A packet that came in in this turn, for this shard's viewers.
#[derive(Clone, Debug)]
pub(crate) struct Fresh {
    pub(crate) packet: Arc<MediaPacket>,
    /// Gaps that a full ring has cut before it.
    pub(crate) generation: u32,
}

/// The room's publisher session.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) session: u32,
    pub(crate) source: Source,
    pub(crate) watched: Watched,
    /// A paused layer was asked for in this turn.
    pub(crate) woken: bool,
}

impl Room {
    /// Nothing holds on to it any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.publisher.is_none() && self.viewers.is_empty() && self.remotes.is_empty()
    }

    /// Another shard has viewers of this room, or has none any more.
    pub(crate) fn set_interest(&mut self, shard: ShardId, wanted: bool) {
        if wanted {
            self.remotes.entry(shard).or_default();
        } else {
            self.remotes.remove(&shard);
        }
    }

    /// Hears which layers another shard's viewers watch.
    pub(crate) fn set_watched(&mut self, shard: ShardId, watched: LayerSet) {
        if let Some(remote) = self.remotes.get_mut(&shard) {
            remote.watched = watched;
        }
    }

    /// The layers that other shards' viewers watch.
    pub(crate) fn watched_elsewhere(&self) -> LayerSet {
        let watched = self.remotes.values().map(|remote| remote.watched);
        watched.fold(LayerSet::default(), LayerSet::or)
    }

    /// Hears which layers can be had. Nothing is known of the next publisher's.
    pub(crate) fn set_supply(&mut self, supply: Supply, now: Instant) {
        self.supply = supply;
        if supply.available.is_empty() {
            self.rates = LayerRates::default();
        }
        let flowing = supply.flowing();
        for (layer, since) in Layer::ALL.into_iter().zip(&mut self.flowing_since) {
            *since = flowing.contains(layer).then(|| since.unwrap_or(now));
        }
    }

    /// The shards that must hear of changes.
    pub(crate) fn remotes(&self) -> impl Iterator<Item = ShardId> {
        self.remotes.keys().copied()
    }

    /// How many gaps were cut into what crosses to `shard`.
    pub(crate) fn generation(&self, shard: ShardId) -> u32 {
        let remote = self.remotes.get(&shard);
        remote.map_or(0, |remote| remote.gate.generation())
    }

    /// Takes in a packet. It is sent on at the end of this turn, or at home together with the rest
    /// of its frame, `hold` later at the latest. True: the room waits for that.
    pub(crate) fn push(
        &mut self,
        packet: Arc<MediaPacket>,
        generation: u32,
        now: Instant,
        hold: Duration,
    ) -> bool {
        self.history.push(&packet, generation);
        let meter = match packet.kind {
            TrackKind::Audio => &mut self.audio_meter,
            TrackKind::Video => &mut self.meters[packet.layer.index()],
        };
        meter.add(now, packet.payload.len(), 0);
        let ends_frame = packet.kind == TrackKind::Video && packet.marker;
        self.batch.push(Fresh { packet, generation });
        if ends_frame {
            self.release_at = Some(now);
        }
        let release_at = *self.release_at.get_or_insert(now + hold);
        release_at > now
    }

    /// What each layer takes, and audio: smoothed, because a keyframe is many times a frame. Of
    /// layers at rest, what they took before.
    pub(crate) fn rates(&mut self, now: Instant) -> (LayerRates, u64) {
        let fresh = |at| now.saturating_duration_since(at) < RATES_EVERY;
        if !self.rated_at.is_some_and(fresh) {
            self.rated_at = Some(now);
            let smooth = |before: &mut u64, meter: &mut Meter| {
                let bps = meter.rates(now).0.bps();
                *before = match (*before, bps) {
                    (0, bps) | (_, bps @ 0) => bps,
                    (before, bps) => (before * 7 + bps) / 8,
                };
            };
            let metered = |at: Option<Instant>| {
                at.is_some_and(|at| now.saturating_duration_since(at) >= METERED)
            };
            let layers = self.rates.0.iter_mut().zip(&mut self.meters);
            for ((rate, meter), since) in layers.zip(self.flowing_since) {
                if metered(since) {
                    smooth(rate, meter);
                }
            }
            smooth(&mut self.audio_rate, &mut self.audio_meter);
        }
        (self.rates, self.audio_rate)
    }

    /// Whether packets are to be sent on now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.release_at.is_some_and(|at| at <= now)
    }

    /// How long a frame may wait to be whole. A frame in one piece costs little more to send than
    /// one packet of it; who has few viewers need not save.
    pub(crate) fn hold(&self, max: Duration) -> Duration {
        (HOLD_A_VIEWER * self.viewers.len() as u32).min(max)
    }

    /// Sends the batch across. A full ring drops them, and the broken layers' keyframes
    /// are asked for.
    pub(crate) fn cross(&mut self, id: RoomId, links: &mut Links, stats: &ShardStats) {
        // Almost always nothing is held back, and all shards share one list.
        let mut whole: Option<Arc<[Arc<MediaPacket>]>> = None;
        for (shard, Remote { gate, .. }) in &mut self.remotes {
            let kept: Vec<Arc<MediaPacket>> = self
                .batch
                .iter()
                .map(|fresh| &fresh.packet)
                .filter(|packet| gate.offer(packet) == Crossing::Send)
                .cloned()
                .collect();
            let packets: Arc<[Arc<MediaPacket>]> = if kept.len() == self.batch.len() {
                Arc::clone(whole.get_or_insert_with(|| Arc::from(kept)))
            } else {
                Arc::from(kept)
            };
            if packets.is_empty() {
                continue;
            }
            let generation = gate.generation();
            if !links.offer(
                *shard,
                Message::Media {
                    room: id,
                    generation,
                    packets,
                },
            ) {
                stats.drop_ring.add(1);
                gate.overflowed();
            }
            if let Some(publisher) = &mut self.publisher {
                gate.broken()
                    .for_each(|layer| publisher.source.request_keyframe(layer));
            }
        }
    }

    /// Asks for a keyframe: at home of the publisher, elsewhere of the home. A paused layer comes
    /// back by it.
    pub(crate) fn request_keyframe(&mut self, layer: Layer) {
        match &mut self.publisher {
            Some(publisher) => {
                publisher.woken |= publisher.watched.want(layer);
                publisher.source.request_keyframe(layer);
            }
            None => self.wanted.insert(layer),
        }
    }

    /// When the room wants to be looked at again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.publisher
            .as_ref()
            .and_then(|publisher| publisher.source.deadline())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the high layer bring packets of so many bytes, a hundred a second; its rate.
    fn run(room: &mut Room, now: &mut Instant, seconds: u64, bytes: usize) -> u64 {
        for _ in 0..seconds * 100 {
            *now += Duration::from_millis(10);
            if bytes > 0 {
                room.meters[Layer::High.index()].add(*now, bytes, 1);
            }
            room.rates(*now);
        }
        room.rates(*now).0.0[Layer::High.index()]
    }

    #[test]
    fn what_a_layer_takes_is_remembered_while_it_rests() {
        let high: LayerSet = [Layer::High].into_iter().collect();
        let flowing = Supply {
            available: high,
            ..Supply::default()
        };
        let paused = Supply {
            paused: high,
            ..flowing
        };
        let asleep = Supply {
            asleep: high,
            ..flowing
        };
        let mut now = Instant::now();
        let mut room = Room::default();
        room.set_supply(flowing, now);
        let rate = run(&mut room, &mut now, 2, 1_250);
        assert!((900_000..=1_000_000).contains(&rate), "{rate}");
        room.set_supply(paused, now);
        assert_eq!(run(&mut room, &mut now, 60, 0), rate);
        // It is to wake, and has not yet.
        room.set_supply(asleep, now);
        assert_eq!(run(&mut room, &mut now, 3, 0), rate);
        room.set_supply(flowing, now);
        let woken = run(&mut room, &mut now, 1, 1_250);
        assert!((900_000..=1_000_000).contains(&woken), "{woken}");
        let grown = run(&mut room, &mut now, 10, 2_500);
        assert!((1_800_000..=2_000_000).contains(&grown), "{grown}");
        // The next publisher's may take anything.
        room.set_supply(Supply::default(), now);
        assert_eq!(room.rates(now).0.of(Layer::High), None);
    }
}
