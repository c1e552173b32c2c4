//! Frames and datagrams: to hops below, and from those above.

use std::time::Instant;

use bytes::Bytes;
use lightstick_types::StreamId;

use super::state::{Fault, State};
use crate::config::RelayConfig;
use crate::envelope::{
    AUDIO_HEAD, Channel, Class, Datagram, Flow, FrameHead, Priority, audio_head,
};
use crate::fullness::Verdict;
use crate::limits::{DATAGRAM_MAX, FRAME_MAX, HEARTBEAT, PAYLOAD_MAX};
use crate::link::{Link, RoomKey};
use crate::message::{Message, SubscriptionId};
use crate::output::{LinkId, LocalError, Out, Output, Send, ToRoom};
use crate::tally::Count;

pub(super) fn send_heartbeat(id: LinkId, link: &mut Link, out: &mut Out, now: Instant) {
    let heartbeat = link.liveness.beat(now);
    out.queue.push_back(Output::Send(Send {
        link: id,
        channel: Channel::Datagram,
        priority: Priority::Control,
        // The next one says more.
        deadline: Some(now + HEARTBEAT),
        flow: None,
        is_keyframe: false,
        head: heartbeat.encode(),
        body: Bytes::new(),
    }));
}

/// What comes over a link that is no control message.
pub(super) struct Media<'a> {
    state: &'a mut State,
    id: LinkId,
}

impl<'a> Media<'a> {
    pub(super) fn new(state: &'a mut State, id: LinkId) -> Self {
        Self { state, id }
    }

    pub(super) fn handle_frame(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let (head, payload) = FrameHead::decode(bytes).map_err(|_| Fault::Malformed)?;
        if let Some(key) = self.room(head.flow.subscription) {
            self.state.out.tally.add(Count::FramesIn);
            self.deliver(key, head.class(), payload);
        }
        Ok(())
    }

    pub(super) fn handle_datagram(&mut self, bytes: Bytes, now: Instant) -> Result<(), Fault> {
        match Datagram::decode(bytes).map_err(|_| Fault::Malformed)? {
            Datagram::Heartbeat(heartbeat) => {
                if let Some(link) = self.state.links.get_mut(&self.id) {
                    link.liveness.handle_heartbeat(heartbeat, now);
                }
            }
            Datagram::Audio {
                subscription,
                payload,
            } => {
                if let Some(key) = self.room(subscription) {
                    self.state.out.tally.add(Count::AudioIn);
                    self.deliver(key, Class::Audio, payload);
                }
            }
        }
        Ok(())
    }

    /// The room of a subscription of this node, if it has not ended.
    fn room(&mut self, subscription: SubscriptionId) -> Option<RoomKey> {
        let numbers = &self.state.links.get(&self.id)?.feeding.numbers;
        let key = numbers.get(subscription.0);
        if key.is_none() {
            let count = match numbers.was_given(subscription.0) {
                true => Count::DropLate,
                false => Count::DropUnknown,
            };
            self.state.out.tally.add(count);
        }
        key
    }

    pub(super) fn deliver(&mut self, key: RoomKey, class: Class, payload: Bytes) {
        let Some(room) = self.state.rooms.get_mut(key) else {
            return;
        };
        let link = self.id;
        let message = ToRoom::Down {
            link,
            class,
            payload,
        };
        self.state.out.tell(room.id, message);
        if room.feeds.delivered(link, class) {
            self.state.rooms.mark(key);
        }
    }
}

/// Sends what a hop tells one below.
pub(super) fn send_down(
    state: &mut State,
    key: RoomKey,
    to: LinkId,
    class: Class,
    payload: Bytes,
    now: Instant,
) -> Result<(), LocalError> {
    let len_max = match class {
        Class::Control => PAYLOAD_MAX,
        Class::Frame { .. } | Class::Audio => FRAME_MAX,
    };
    if payload.len() > len_max {
        return Err(LocalError::TooLong);
    }
    let State {
        rooms,
        links,
        out,
        config,
        ..
    } = state;
    let room = rooms.get_mut(key).ok_or(LocalError::NoSuchRoom)?;
    let subscriber = room.below.get_mut(to).zip(links.get(&to));
    let (subscriber, link) = subscriber.ok_or(LocalError::NotSubscribed)?;
    let subscription = subscriber.number;
    let (stream, is_keyframe, is_past) = match class {
        Class::Control => {
            let message = Message::Down {
                subscription,
                payload,
            };
            out.control(to, &message);
            return Ok(());
        }
        Class::Audio if payload.len() + AUDIO_HEAD <= DATAGRAM_MAX => {
            out.tally.add(Count::AudioOut);
            out.queue.push_back(Output::Send(Send {
                link: to,
                channel: Channel::Datagram,
                priority: Priority::Audio,
                deadline: Some(now + config.frame_expiry),
                flow: None,
                is_keyframe: false,
                head: audio_head(subscription),
                body: payload,
            }));
            return Ok(());
        }
        Class::Audio => (StreamId::AUDIO, false, false),
        Class::Frame {
            stream,
            is_keyframe,
            is_past,
        } => (stream, is_keyframe, is_past),
    };
    let fullness = &link.sending.fullness;
    let streams = &mut subscriber.streams;
    let verdict = match is_past {
        true => Verdict::Send(Priority::CatchUp),
        false => streams.offer(stream, is_keyframe, fullness, now),
    };
    match verdict {
        Verdict::Send(priority) => {
            let head = FrameHead {
                flow: Flow {
                    subscription,
                    stream,
                },
                is_keyframe,
                is_past,
            };
            out.tally.add(Count::FramesOut);
            let frame = frame(to, priority, head, payload, config, now);
            out.queue.push_back(Output::Send(frame));
        }
        Verdict::Drop { is_first } => {
            out.tally.add(Count::DropFull);
            if is_first {
                out.tell(room.id, ToRoom::Held { link: to, stream });
            }
        }
    }
    Ok(())
}

fn frame(
    link: LinkId,
    priority: Priority,
    head: FrameHead,
    body: Bytes,
    config: &RelayConfig,
    now: Instant,
) -> Send {
    let expiry = match head.is_past {
        true => config.catch_up_expiry,
        false => config.frame_expiry,
    };
    Send {
        link,
        channel: Channel::Frame,
        priority,
        deadline: Some(now + expiry),
        flow: Some(head.flow),
        is_keyframe: head.is_keyframe,
        head: head.encode(),
        body,
    }
}
