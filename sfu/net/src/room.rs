//! A room as one shard holds it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::health::Fault;
use lightstick_sfu_core::history::History;
use lightstick_sfu_core::keyframe::KeyframeHabit;
use lightstick_sfu_core::layers::LayerSet;
use lightstick_sfu_core::packet::MediaPacket;
use lightstick_sfu_core::ring::{Crossing, RingGate};
use lightstick_sfu_core::start::{self, Choice, Situation};
use lightstick_sfu_core::uptrack::Source;
use lightstick_sfu_core::watched::{Supply, Watched};
use lightstick_types::{Bitrate, Hint, Layer, RoomId, ShardId, TrackKind};

use crate::link::{Links, Message};
use crate::rates::Rates;
use crate::stats::ShardStats;

/// Packets that came longer ago are no measure of what a layer takes.
const PRESENT: Duration = Duration::from_millis(500);
/// What a viewer adds to the time that a frame may wait to be whole: about what it would cost to
/// send that viewer the frame's packets one by one.
const HOLD_A_VIEWER: Duration = Duration::from_micros(25);

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
    /// How each layer's keyframes come, as this shard sees it.
    habits: [KeyframeHabit; Layer::COUNT],
    /// What each layer takes.
    pub(crate) rates: Rates,
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
    /// As its session counted them last.
    ssrc_changes: u32,
    /// A paused layer was asked for in this turn.
    pub(crate) woken: bool,
}

impl Publisher {
    pub(crate) fn new(session: u32, source: Source, watched: Watched) -> Self {
        Self {
            session,
            source,
            watched,
            ssrc_changes: 0,
            woken: false,
        }
    }
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
            self.rates.forget();
        }
        self.rates.set_flowing(supply.flowing(), now);
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
        if packet.kind == TrackKind::Video && packet.info.keyframe && packet.info.starts_frame {
            self.habits[packet.layer.index()].keyframe(packet.received_at);
        }
        // What another shard sends of the past says nothing about now.
        if now.saturating_duration_since(packet.received_at) < PRESENT {
            self.rates.count(&packet, now);
        }
        let ends_frame = packet.kind == TrackKind::Video && packet.marker;
        self.batch.push(Fresh { packet, generation });
        if ends_frame {
            self.release_at = Some(now);
        }
        let release_at = *self.release_at.get_or_insert(now + hold);
        release_at > now
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

    /// At home: looks at the publisher's health. The hints, where those have changed.
    pub(crate) fn look_at_health(&mut self, now: Instant, ssrc_changes: u32) -> Option<Vec<Hint>> {
        let publisher = self.publisher.as_mut()?;
        let source = &mut publisher.source;
        if std::mem::replace(&mut publisher.ssrc_changes, ssrc_changes) != ssrc_changes {
            source.health_mut().note(Fault::ChangedSsrc, now);
        }
        let changed = source.look_at_health(now, &self.habits);
        changed.then(|| source.hints().iter().collect())
    }

    /// Another session publishes from now on: to every viewer a new source, whose number this is.
    pub(crate) fn next_source(&mut self) -> u32 {
        self.sources = self.sources.wrapping_add(1);
        self.sources
    }

    /// The publisher is gone, and with it what was kept of it.
    pub(crate) fn forget(&mut self) {
        self.history.clear();
        self.habits = Default::default();
    }

    /// A request for keyframes leaves. Away from home others may ask too: what leaves within
    /// `interval` of the last one is held back there, and says nothing about the publisher.
    pub(crate) fn asked(&mut self, layers: LayerSet, now: Instant, interval: Option<Duration>) {
        for layer in layers.iter() {
            let habit = &mut self.habits[layer.index()];
            if interval.is_none_or(|interval| habit.may_ask(now, interval)) {
                habit.asked(now);
            }
        }
    }

    /// What a newcomer to a layer starts from who is sent so much in a second.
    pub(crate) fn start(
        &mut self,
        layer: Layer,
        pace: Bitrate,
        now: Instant,
        interval: Duration,
    ) -> Choice {
        let (rates, _) = self.rates.read(now);
        let habit = &self.habits[layer.index()];
        start::choose(&Situation {
            replay: self.history.start(layer, now),
            answer: habit.answer(now, interval),
            deaf: habit.is_deaf(),
            asked: habit.is_asked(now),
            regular: habit.regular(now),
            pace,
            layer: rates.layer(layer).unwrap_or(Bitrate(0)),
        })
    }

    /// When the room wants to be looked at again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.publisher
            .as_ref()
            .and_then(|publisher| publisher.source.deadline())
    }
}
