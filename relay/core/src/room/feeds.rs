//! Over which link a room comes, and the change to another one.

use std::time::Instant;

use bytes::Bytes;

use super::context::Context;
use super::ways::{Candidate, Ways};
use crate::envelope::Class;
use crate::limits::{OVERLAP_MAX, SUBSCRIBING};
use crate::message::{Message, SubscriptionId};
use crate::output::{LinkId, ToRoom};
use crate::route::Health;
use crate::tally::Count;

#[derive(Debug, Default)]
pub(crate) struct Feeds {
    current: Option<Feed>,
    /// The one before, until the current one has delivered, and when that is over in any case.
    previous: Option<(Feed, Instant)>,
    /// Where a subscription goes on, as the owner says it.
    pub(crate) resume: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Feed {
    link: LinkId,
    number: SubscriptionId,
    since: Instant,
    got_frame: bool,
    got_audio: bool,
}

impl Feeds {
    /// The link that feeds the room.
    pub(crate) fn link(&self) -> Option<LinkId> {
        self.current.map(|feed| feed.link)
    }

    pub(crate) fn subscription(&self) -> Option<(LinkId, SubscriptionId)> {
        self.current.map(|feed| (feed.link, feed.number))
    }

    /// The links that feed it, at most two.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> {
        let previous = self.previous.map(|(feed, _)| feed.link);
        self.link().into_iter().chain(previous)
    }

    /// Something came over a link. Whether the feed before is not needed any more.
    #[inline]
    pub(crate) fn delivered(&mut self, link: LinkId, class: Class) -> bool {
        let current = self.current.as_mut().filter(|feed| feed.link == link);
        let previous = self.previous.as_mut().map(|(feed, _)| feed);
        let is_current = current.is_some();
        let Some(feed) = current.or(previous.filter(|feed| feed.link == link)) else {
            return false;
        };
        match class {
            Class::Frame { .. } => feed.got_frame = true,
            Class::Audio => feed.got_audio = true,
            Class::Control => return false,
        }
        is_current && self.has_replaced()
    }

    /// Whether the current one delivers what the one before did.
    fn has_replaced(&self) -> bool {
        let (Some(current), Some((previous, _))) = (&self.current, &self.previous) else {
            return false;
        };
        current.got_frame || (current.got_audio && !previous.got_frame)
    }
}

impl Feeds {
    /// The one before ends when it is not needed any more.
    pub(super) fn settle_overlap(&mut self, ways: &Ways, cx: &mut Context<'_>) {
        let Some((previous, until)) = self.previous else {
            return;
        };
        if self.has_replaced() || until <= cx.now {
            self.end(previous.link, ways, cx);
        } else {
            cx.wake_at(until);
        }
    }

    /// Subscribes at the best candidate, or moves to a better one.
    pub(super) fn choose(&mut self, ways: &Ways, candidates: &[Candidate], cx: &mut Context<'_>) {
        let Some(best) = candidates.first() else {
            return;
        };
        let Some(current) = self.current else {
            if best.rank.health != Health::Suspect {
                self.current = self.start(best.link, ways, cx);
            }
            return;
        };
        if best.link == current.link || best.rank.health == Health::Suspect {
            return;
        }
        let of_current = candidates
            .iter()
            .find(|candidate| candidate.link == current.link);
        // One that leads to an older origin is no candidate.
        if of_current.is_some_and(|of_current| of_current.rank.health <= best.rank.health) {
            let settled_at = best.good_since.max(current.since) + cx.config.dwell;
            if settled_at > cx.now {
                cx.wake_at(settled_at);
                return;
            }
            if self.previous.is_some() {
                return;
            }
        }
        let next = match self.previous.take() {
            Some((previous, _)) if previous.link == best.link => {
                let link = best.link;
                cx.out.tell(cx.id, ToRoom::FeedStarted { link });
                Some(previous)
            }
            previous => {
                if let Some((previous, _)) = previous {
                    self.unsubscribe(previous, ways, cx);
                }
                self.start(best.link, ways, cx)
            }
        };
        if let Some(next) = next {
            cx.out.tally.add(Count::Failovers);
            self.previous = Some((current, cx.now + OVERLAP_MAX));
            self.current = Some(next);
        }
    }

    /// `None`: it has to wait.
    fn start(&self, link: LinkId, ways: &Ways, cx: &mut Context<'_>) -> Option<Feed> {
        let alias = ways.alias(link)?;
        let feeding = &mut cx.links.get_mut(&link)?.feeding;
        if let Err(wait) = feeding.rate.try_take(cx.now, SUBSCRIBING) {
            cx.wake_at(cx.now + wait);
            return None;
        }
        let number = SubscriptionId(feeding.numbers.give(cx.key)?);
        let message = Message::Subscribe {
            alias,
            subscription: number,
            resume: self.resume.clone(),
        };
        cx.out.control(link, &message);
        cx.out.tell(cx.id, ToRoom::FeedStarted { link });
        Some(Feed {
            link,
            number,
            since: cx.now,
            got_frame: false,
            got_audio: false,
        })
    }

    pub(super) fn end_all(&mut self, ways: &Ways, cx: &mut Context<'_>) {
        let previous = self.previous.take().map(|(feed, _)| feed);
        for feed in previous.into_iter().chain(self.current.take()) {
            self.unsubscribe(feed, ways, cx);
        }
    }

    /// Ends what comes over this link, if anything does.
    pub(super) fn end(&mut self, link: LinkId, ways: &Ways, cx: &mut Context<'_>) {
        let goes_back = self.link() == Some(link);
        let feeds = &mut *self;
        let ended = match (feeds.current, feeds.previous) {
            (Some(current), previous) if current.link == link => {
                feeds.current = previous.map(|(feed, _)| feed);
                feeds.previous = None;
                Some(current)
            }
            (_, Some((previous, _))) if previous.link == link => {
                feeds.previous = None;
                Some(previous)
            }
            _ => None,
        };
        if let Some(feed) = ended {
            self.unsubscribe(feed, ways, cx);
            if let Some(link) = self.link()
                && goes_back
            {
                cx.out.tell(cx.id, ToRoom::FeedStarted { link });
            }
        }
    }

    /// The neighbour need not know that the subscription ends where it has ended it.
    fn unsubscribe(&self, feed: Feed, ways: &Ways, cx: &mut Context<'_>) {
        let Feed { link, number, .. } = feed;
        if let Some(at) = cx.links.get_mut(&link) {
            at.feeding.numbers.remove(number.0);
            let is_announced = ways.route(link).is_some();
            if is_announced {
                let subscription = number;
                cx.out.control(link, &Message::Unsubscribe { subscription });
            }
        }
        cx.out.tell(cx.id, ToRoom::FeedEnded { link });
    }
}
