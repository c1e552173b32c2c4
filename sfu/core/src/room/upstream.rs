//! Where a hop's media comes from, and what it asks for there.

use std::time::{Duration, Instant};

use lightstick_types::{Bitrate, SourceId, StreamId, TrackId};

use super::Outputs;
use super::message::{PeerId, Up};
use super::output::{FeederId, Output};
use super::tally::Tally;
use crate::codec::h264::ParameterSets;
use crate::health::Health;
use crate::history::History;
use crate::keyframe::{KeyframeGate, KeyframeHabit};
use crate::packet::MediaPacket;
use crate::streams::StreamSet;
use crate::uptrack::{Source, SourceConfig};
use crate::watched::{Supply, Watched};

/// What is known of a source before its first packet.
#[derive(Clone, Debug)]
pub struct SourceSetup {
    /// Its limit.
    pub bitrate_max: Bitrate,
    /// Video tracks that it has announced.
    pub video_tracks: u8,
    /// H.264 parameter sets of its offer, of each track that has some.
    pub parameter_sets: Vec<(TrackId, ParameterSets)>,
    /// What is known of its health so far.
    pub health: Health,
}

#[derive(Debug)]
pub(super) enum Upstream {
    /// Nobody publishes. Nobody can be asked for anything.
    None,
    /// The source is here.
    Local(Box<Local>),
    /// The room comes from another hop.
    Remote(Box<Remote>),
}

#[derive(Debug)]
pub(super) struct Local {
    pub(super) feeder: FeederId,
    pub(super) source: Source,
    pub(super) watched: Watched,
    /// A paused stream was asked for since the last look.
    woken: bool,
}

impl Local {
    pub(super) fn new(feeder: FeederId, source: Source, pause_after: Duration) -> Self {
        Self {
            feeder,
            source,
            watched: Watched::new(pause_after),
            woken: false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Remote {
    pub(super) peer: PeerId,
    /// Requests merge here as well as above: a hop with many viewers sends one.
    gates: [KeyframeGate; StreamId::COUNT],
    /// The streams that the hop above knows to be watched here.
    pub(super) watched: StreamSet,
    pub(super) is_subscribed: bool,
    /// The subscription whose media come now.
    subscription: Option<Subscription>,
}

/// How what one subscription brings follows on what came before.
#[derive(Debug)]
struct Subscription {
    /// What is added to the generations of each stream. None before its first packet.
    offsets: [Option<u32>; StreamId::COUNT],
    /// Streams of which nothing new has come so far.
    unjoined: StreamSet,
}

impl Remote {
    pub(super) fn new(peer: PeerId, keyframe_interval: Duration) -> Self {
        Self {
            peer,
            gates: std::array::from_fn(|_| KeyframeGate::new(keyframe_interval)),
            watched: StreamSet::default(),
            is_subscribed: false,
            subscription: None,
        }
    }

    /// What comes from now on is of another subscription than what came before.
    pub(super) fn subscribed(&mut self) {
        self.subscription = Some(Subscription {
            offsets: [None; StreamId::COUNT],
            unjoined: StreamId::all().collect(),
        });
    }

    /// The generation of a packet here, where that of the last one of its stream was `before`. Each
    /// subscription counts anew; what it brings first either goes on where `history` ends, or a gap is
    /// cut. None: there is no subscription that it could be of.
    pub(super) fn join(
        &mut self,
        packet: &MediaPacket,
        generation: u32,
        history: &History,
        before: u32,
    ) -> Option<u32> {
        let Subscription { offsets, unjoined } = self.subscription.as_mut()?;
        let stream = packet.stream;
        let start = before.wrapping_sub(generation);
        let offset = offsets[stream.index()].get_or_insert(start);
        if unjoined.contains(stream) && !history.is_past_or_held(packet) {
            unjoined.remove(stream);
            if !history.goes_on_with(packet) {
                *offset = offset.wrapping_add(1);
            }
        }
        Some(generation.wrapping_add(*offset))
    }

    /// A keyframe has begun to come in.
    pub(super) fn keyframe(&mut self, stream: StreamId) {
        self.gates[stream.index()].keyframe();
    }

    /// The streams whose keyframe request goes to the hop above now.
    pub(super) fn poll_keyframe_requests(&mut self, now: Instant) -> StreamSet {
        let gates = StreamId::all().zip(&mut self.gates);
        gates
            .filter_map(|(stream, gate)| gate.poll(now).then_some(stream))
            .collect()
    }
}

impl SourceSetup {
    /// A source of which nothing has come yet.
    pub(super) fn source(self, id: SourceId, config: SourceConfig, now: Instant) -> Source {
        let mut source = Source::new(id, config, now);
        source.announce(self.video_tracks);
        source.offer_parameter_sets(self.parameter_sets);
        *source.health_mut() = self.health;
        source
    }
}

/// What has become due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// The request for keyframes that leaves.
    pub(super) keyframes: Option<Output>,
    /// The streams that it is of.
    pub(super) asked: StreamSet,
    /// A paused stream was asked for.
    pub(super) woken: bool,
    /// A stream of the source has fallen silent.
    pub(super) silent: bool,
}

impl Upstream {
    /// Does what is due. What is to be told to the hop above comes before all others.
    pub(super) fn handle_timeout(&mut self, outputs: &mut Outputs, now: Instant) -> Due {
        match self {
            Self::None => Due::default(),
            Self::Remote(remote) => {
                let asked = remote.poll_keyframe_requests(now);
                if !asked.is_empty() {
                    outputs.push_back(Output::Up(remote.peer, Up::Keyframe(asked)));
                }
                Due {
                    asked,
                    ..Due::default()
                }
            }
            Self::Local(local) => {
                let silent = local.source.poll_silence(now);
                let woken = std::mem::take(&mut local.woken);
                let asked = local.source.poll_keyframe_requests(now);
                let keyframes = Output::Keyframe(local.feeder, asked);
                Due {
                    keyframes: (!asked.is_empty()).then_some(keyframes),
                    asked,
                    woken,
                    silent,
                }
            }
        }
    }

    /// Looks at what is watched, and at the source's health. Whether other streams are to be paused
    /// than before.
    pub(super) fn survey(
        &mut self,
        watched: StreamSet,
        habits: &[KeyframeHabit; StreamId::COUNT],
        outputs: &mut Outputs,
        now: Instant,
    ) -> bool {
        match self {
            Self::None => false,
            Self::Remote(remote) => {
                if std::mem::replace(&mut remote.watched, watched) != watched {
                    outputs.push_back(Output::Up(remote.peer, Up::Watched(watched)));
                }
                false
            }
            Self::Local(local) => {
                if local.source.look_at_health(now, habits) {
                    let hints = local.source.hints().iter().collect();
                    outputs.push_back(Output::Hints(local.feeder, hints));
                }
                let available = local.source.supply().available;
                local.watched.look(now, available, watched)
            }
        }
    }

    /// Other streams can be had from the source here than before: those that can be had now.
    pub(super) fn streams_changed(&self, outputs: &mut Outputs) -> Option<Supply> {
        let Self::Local(local) = self else {
            return None;
        };
        let supply = local.source.supply();
        outputs.push_back(Output::LayersChanged(local.feeder, supply.available));
        Some(supply)
    }

    /// These streams are watched from now on. What the hop above is to be told.
    pub(super) fn watch(&mut self, streams: StreamSet) -> Option<Output> {
        let Self::Remote(remote) = self else {
            return None;
        };
        if streams.without(remote.watched).is_empty() {
            return None;
        }
        remote.watched = remote.watched.or(streams);
        Some(Output::Up(remote.peer, Up::Watched(remote.watched)))
    }

    /// The source is asked to pause other streams than `before`.
    pub(super) fn pauses_changed(
        &mut self,
        before: StreamSet,
        now: Instant,
        tally: &mut Tally,
    ) -> Option<Output> {
        let Self::Local(local) = self else {
            return None;
        };
        let paused = local.watched.paused();
        local.source.set_paused(now, paused);
        let count = |streams: StreamSet| streams.iter().count() as u64;
        tally.layers_paused += count(paused.without(before));
        tally.layers_resumed += count(before.without(paused));
        Some(Output::Pause(local.feeder, paused))
    }

    /// Gets the room from the hop above as long as it is `wanted`. What that is to be told.
    pub(super) fn subscribe(&mut self, wanted: bool) -> Option<Output> {
        let Self::Remote(remote) = self else {
            return None;
        };
        if std::mem::replace(&mut remote.is_subscribed, wanted) == wanted {
            return None;
        }
        if wanted {
            return Some(Output::Up(remote.peer, Up::Subscribe));
        }
        remote.watched = StreamSet::default();
        Some(Output::Up(remote.peer, Up::Unsubscribe))
    }

    /// Asks for a keyframe. A paused stream comes back by it.
    pub(super) fn request_keyframe(&mut self, stream: StreamId) {
        match self {
            Self::None => {}
            Self::Local(local) => {
                local.woken |= local.watched.want(stream);
                local.source.request_keyframe(stream);
            }
            Self::Remote(remote) => remote.gates[stream.index()].request(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::None => None,
            Self::Local(local) => local.source.deadline(),
            Self::Remote(remote) => remote.gates.iter().filter_map(KeyframeGate::deadline).min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lightstick_types::Layer;

    use super::*;
    use crate::room::tests::packet;

    #[test]
    fn what_is_left_of_an_earlier_subscription_does_not_join_the_next() {
        let mut history = History::default();
        let mut remote = Remote::new(PeerId(1), Duration::from_secs(1));
        let mut take = |remote: &mut Remote, sequence, generation| {
            let packet = packet(Layer::High, sequence, sequence == 10);
            let (_, before) = history.head(packet.stream);
            let joined = remote.join(&packet, generation, &history, before);
            if let Some(joined) = joined {
                history.push(&Arc::new(packet), joined);
            }
            joined
        };
        assert_eq!(take(&mut remote, 9, 4), None, "nothing is subscribed to");
        remote.subscribed();
        assert_eq!(take(&mut remote, 10, 4), Some(0));
        // It was left, and subscribed to again: this one was on its way.
        assert_eq!(take(&mut remote, 11, 4), Some(0));
        remote.subscribed();
        assert_eq!(take(&mut remote, 14, 0), Some(1), "12 and 13 are missing");
        assert_eq!(take(&mut remote, 15, 0), Some(1));
        assert_eq!(take(&mut remote, 16, 1), Some(2));
        remote.subscribed();
        assert_eq!(take(&mut remote, 17, 7), Some(2), "nothing is missing");
    }
}
