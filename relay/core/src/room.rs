//! What a node knows and does about one room.
//!
//! Whatever happens changes what is known, and marks the room. [`Room::settle`] then compares what is
//! known with what was done, and does the difference: it does not matter what happened in which order.

mod below;
mod context;
mod feeds;
mod offer;
mod show;
mod want;
mod ways;

use std::time::Instant;

use bytes::Bytes;
use lightstick_types::{RoomId, RoomName};

use crate::message::{Alias, Message, Refusal, Withdrawal};
use crate::output::{Event, LinkId, ToRoom};
use crate::route::{Health, RoomSource, Route};
use crate::tally::Count;
use below::Below;
pub(crate) use context::Context;
use feeds::Feeds;
pub(crate) use show::Show;
use want::Want;
use ways::{Candidate, Ways};

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: RoomName,
    /// Its id, while it is open.
    pub(crate) id: Option<RoomId>,
    /// The epoch of its publisher, if that is at this node.
    pub(crate) published: Option<u64>,
    pub(crate) is_watched: bool,
    pub(crate) ways: Ways,
    pub(crate) feeds: Feeds,
    pub(crate) below: Below,
    linger: Linger,
    pub(crate) show: Option<Show>,
    pub(crate) want: Want,
    told: Told,
}

/// Whether the room goes on for those who may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linger {
    Wanted,
    Until(Instant),
    Over,
}

/// What was told of the room.
#[derive(Debug)]
struct Told {
    source: Option<RoomSource>,
    is_superseded: bool,
    is_needed: bool,
    /// Why the room was withdrawn the last time.
    reason: Withdrawal,
}

impl Room {
    pub(crate) fn new(name: RoomName) -> Self {
        Self {
            name,
            id: None,
            published: None,
            is_watched: false,
            ways: Ways::default(),
            feeds: Feeds::default(),
            below: Below::default(),
            linger: Linger::Over,
            show: None,
            want: Want::default(),
            told: Told {
                source: None,
                is_superseded: false,
                is_needed: false,
                reason: Withdrawal::Unreachable,
            },
        }
    }

    /// The neighbour announces the room, or another way to it.
    pub(crate) fn heard(&mut self, link: LinkId, alias: Alias, route: Route, now: Instant) {
        if Some(route.source()) > self.told.source {
            self.told.reason = Withdrawal::Unreachable;
        }
        self.ways.hear(link, alias, route, now);
        self.want.answered(link);
    }

    /// The neighbour announces the room no more, and has ended what was subscribed there.
    pub(crate) fn withdrawn(&mut self, link: LinkId, reason: Withdrawal, cx: &mut Context<'_>) {
        if self.ways.remove(link) && reason == Withdrawal::Ended {
            self.told.reason = reason;
        }
        self.feeds.end(link, &self.ways, cx);
    }

    /// The neighbour does not serve the room although it has announced it.
    pub(crate) fn refused(&mut self, link: LinkId, cx: &mut Context<'_>) {
        self.feeds.end(link, &self.ways, cx);
        self.ways.refuse(link, cx.now);
    }

    /// The link is gone.
    pub(crate) fn forget_link(&mut self, link: LinkId, cx: &mut Context<'_>) {
        self.withdrawn(link, Withdrawal::Unreachable, cx);
        self.below.remove(link, cx);
        self.want.forget(link);
    }

    /// Nobody opens the room here.
    pub(crate) fn refuse_all(&mut self, cx: &mut Context<'_>) {
        let below: Vec<_> = self.below.iter().collect();
        for (link, subscription) in below {
            self.below.remove(link, cx);
            cx.out.tally.add(Count::RefusedByUs);
            let reason = Refusal::NoSource;
            let message = Message::Refused {
                subscription,
                reason,
            };
            cx.out.control(link, &message);
        }
    }

    pub(crate) fn open(&mut self, id: RoomId, cx: &mut Context<'_>) {
        self.id = Some(id);
        self.linger = Linger::Until(cx.now + cx.config.linger);
        self.told.is_needed = false;
        self.below.tell_all(id, cx.out);
    }

    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        self.unpublish();
        self.is_watched = false;
        self.linger = Linger::Over;
        self.feeds.end_all(&self.ways, cx);
        self.feeds.resume = Bytes::new();
        self.show = None;
        self.id = None;
    }

    pub(crate) fn publish(&mut self, epoch: u64) {
        self.published = Some(epoch);
        self.told.is_superseded = false;
        self.told.reason = Withdrawal::Unreachable;
    }

    pub(crate) fn unpublish(&mut self) {
        if self.published.take().is_some() {
            self.told.reason = Withdrawal::Ended;
            self.told.is_superseded = false;
            self.show = None;
            // As if somebody had just left: the owner is told when nobody comes.
            self.linger = Linger::Wanted;
        }
    }

    /// Does what follows from what is known. The room is settled again when the context says.
    pub(crate) fn settle(&mut self, cx: &mut Context<'_>) {
        self.settle_linger(cx);
        let candidates = self.ways.candidates(&self.name, cx);
        self.tell_source(cx);
        match self.linger {
            Linger::Wanted if self.published.is_none() => {
                self.feeds.choose(&self.ways, &candidates, cx);
                self.feeds.settle_overlap(&self.ways, cx);
            }
            // For those who may come back, no other link is worth a subscription.
            Linger::Until(_) if self.published.is_none() && self.is_fed_well(&candidates) => {
                self.feeds.settle_overlap(&self.ways, cx);
            }
            _ => self.feeds.end_all(&self.ways, cx),
        }
        let neighbours: Vec<LinkId> = cx.links.keys().copied().collect();
        self.settle_offers(&neighbours, &candidates, cx);
        self.settle_want(cx);
        // A withdrawal ends subscriptions.
        self.settle_linger(cx);
        if self.id.is_none() && !self.below.is_empty() {
            if !std::mem::replace(&mut self.told.is_needed, true) {
                let name = self.name.clone();
                cx.out.event(Event::RoomNeeded { name });
            }
        } else {
            self.told.is_needed = false;
        }
    }

    /// A link is up: it may be told of the room, or asked for it.
    pub(crate) fn settle_new_link(&mut self, link: LinkId, cx: &mut Context<'_>) {
        let candidates = self.ways.candidates(&self.name, cx);
        self.settle_offers(&[link], &candidates, cx);
        self.settle_want(cx);
    }

    /// Whether nothing is known of the room that could not be learned anew.
    pub(crate) fn is_unused(&self) -> bool {
        self.id.is_none() && self.ways.is_empty() && self.below.is_empty() && self.want.is_empty()
    }

    fn settle_want(&mut self, cx: &mut Context<'_>) {
        let is_known = self.published.is_some() || !self.ways.is_empty();
        self.want.settle(&self.name, self.is_watched, is_known, cx);
    }

    fn settle_linger(&mut self, cx: &mut Context<'_>) {
        let is_wanted = self.is_watched || !self.below.is_empty();
        self.linger = match self.linger {
            _ if self.id.is_none() => Linger::Over,
            _ if is_wanted => Linger::Wanted,
            Linger::Wanted => Linger::Until(cx.now + cx.config.linger),
            linger => linger,
        };
        let Linger::Until(at) = self.linger else {
            return;
        };
        if at > cx.now {
            cx.wake_at(at);
            return;
        }
        self.linger = Linger::Over;
        if self.published.is_none() {
            self.feeds.end_all(&self.ways, cx);
            cx.out.tell(self.id, ToRoom::Idle);
        }
    }

    fn is_fed_well(&self, candidates: &[Candidate]) -> bool {
        let mut good = candidates
            .iter()
            .filter(|candidate| candidate.rank.health == Health::Good);
        good.any(|candidate| Some(candidate.link) == self.feeds.link())
    }

    fn tell_source(&mut self, cx: &mut Context<'_>) {
        let (own, out) = (cx.config.id, &mut *cx.out);
        let source = self.ways.source();
        let name = || self.name.clone();
        if source != self.told.source {
            out.event(match source {
                Some(source) => Event::RoomAnnounced {
                    name: name(),
                    source,
                },
                None => Event::RoomWithdrawn {
                    name: name(),
                    reason: self.told.reason,
                },
            });
            if source.is_none() && self.published.is_none() {
                out.tell(self.id, ToRoom::Withdrawn(self.told.reason));
            }
            self.told.source = source;
            self.told.is_superseded = false;
        }
        let published = self
            .published
            .map(|epoch| RoomSource { epoch, origin: own });
        if let Some(source) = source.filter(|_| published.is_some())
            && Some(source) > published
            && !std::mem::replace(&mut self.told.is_superseded, true)
        {
            out.tell(self.id, ToRoom::Superseded(source));
        }
    }

    /// The link that would feed the room next.
    pub(crate) fn standby(&self, cx: &mut Context<'_>) -> Option<LinkId> {
        let candidates = self.ways.candidates(&self.name, cx);
        let mut others = candidates
            .iter()
            .filter(|candidate| candidate.rank.health != Health::Suspect)
            .filter(|candidate| Some(candidate.link) != self.feeds.link());
        others.next().map(|candidate| candidate.link)
    }
}
