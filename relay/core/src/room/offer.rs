//! What a node announces of a room, and to whom.

use lightstick_types::NodeRole;

use super::Room;
use super::context::Context;
use super::ways::Candidate;
use crate::limits::{ANNOUNCING, ROOMS_MAX};
use crate::link::{Link, Peer};
use crate::message::{Alias, Message, Withdrawal};
use crate::output::LinkId;
use crate::route::{Health, Path, Route};
use crate::tally::Count;

/// What can be announced, and the link that it was learned from.
struct Offer {
    route: Route,
    from: Option<LinkId>,
}

impl Offer {
    /// Whether a neighbour is told. An edge serves viewers, and carries no room from one node to another.
    fn is_for(&self, id: LinkId, link: &Link, role: NodeRole) -> bool {
        let leads_back = |peer: &Peer| self.route.path.contains(peer.id);
        let is_passed_on = self.from.is_some();
        Some(id) != self.from
            && !link.peer.as_ref().is_none_or(leads_back)
            && !(is_passed_on && role == NodeRole::Edge)
    }
}

impl Room {
    fn offer(&self, candidates: &[Candidate], cx: &Context<'_>) -> Option<Offer> {
        if let Some(epoch) = self.published {
            let route = Route {
                epoch,
                path: Path::from_origin(cx.config.id),
                is_stale: false,
            };
            return Some(Offer { route, from: None });
        }
        let of_feed = |candidate: &&Candidate| Some(candidate.link) == self.feeds.link();
        let taken = candidates.iter().find(of_feed).or(candidates.first())?;
        let route = self.ways.route(taken.link)?;
        let route = Route {
            epoch: route.epoch,
            path: route.path.through(cx.config.id)?,
            is_stale: taken.rank.health != Health::Good,
        };
        let from = Some(taken.link);
        Some(Offer { route, from })
    }

    /// Tells these neighbours what has changed for them.
    pub(super) fn settle_offers(
        &mut self,
        neighbours: &[LinkId],
        candidates: &[Candidate],
        cx: &mut Context<'_>,
    ) {
        let offer = self.offer(candidates, cx);
        for id in neighbours {
            self.tell_neighbour(*id, offer.as_ref(), cx);
        }
    }

    fn tell_neighbour(&mut self, id: LinkId, offer: Option<&Offer>, cx: &mut Context<'_>) {
        let Some(link) = cx.links.get_mut(&id) else {
            return;
        };
        let role = cx.config.node.role;
        let offer = offer.filter(|offer| offer.is_for(id, link, role));
        let route = offer.map(|offer| offer.route);
        match (link.announced.rooms.get(&cx.key).copied(), route) {
            (Some((alias, _)), None) => self.withdraw(id, alias, cx),
            (Some((alias, old)), Some(route)) if old != route => {
                self.announce(id, Some(alias), route, cx);
            }
            (None, Some(route)) => self.announce(id, None, route, cx),
            (None, None) => {
                link.announced.left_out.remove(&cx.key);
            }
            (Some(_), Some(_)) => {}
        }
    }

    fn announce(&mut self, id: LinkId, alias: Option<Alias>, route: Route, cx: &mut Context<'_>) {
        let key = cx.key;
        let Some(link) = cx.links.get_mut(&id) else {
            return;
        };
        let announced = &mut link.announced;
        if alias.is_none() && announced.rooms.len() >= ROOMS_MAX {
            if announced.left_out.insert(key) {
                cx.out.tally.add(Count::LeftOut);
            }
            return;
        }
        if let Err(wait) = announced.rate.try_take(cx.now, ANNOUNCING) {
            cx.wake_at(cx.now + wait);
            return;
        }
        let (alias, message) = match alias {
            Some(alias) => (alias, Message::Reroute { alias, route }),
            None => {
                let Some(alias) = announced.aliases.give(key).map(Alias) else {
                    return;
                };
                let room = self.name.clone();
                (alias, Message::Announce { alias, room, route })
            }
        };
        announced.rooms.insert(key, (alias, route));
        announced.left_out.remove(&key);
        // The announcement is the answer.
        link.heard.wants.remove(&key);
        self.want.remove_asker(id);
        cx.out.control(id, &message);
    }

    fn withdraw(&mut self, id: LinkId, alias: Alias, cx: &mut Context<'_>) {
        let reason = self.told.reason;
        let reason = match self.ways.is_empty() && self.published.is_none() {
            true => reason,
            false => Withdrawal::Unreachable,
        };
        cx.out.control(id, &Message::Withdraw { alias, reason });
        self.below.remove(id, cx);
        if let Some(link) = cx.links.get_mut(&id) {
            link.announced.rooms.remove(&cx.key);
            link.announced.aliases.remove(alias.0);
            cx.others.extend(link.announced.left_out.pop_first());
        }
    }
}
