//! The ways to a room that neighbours have announced.

use std::collections::BTreeMap;
use std::time::Instant;

use lightstick_types::RoomName;

use super::context::Context;
use crate::limits::REFUSED_FOR;
use crate::message::Alias;
use crate::output::LinkId;
use crate::route::{Rank, RoomSource, Route, weight};

#[derive(Debug, Default)]
pub(crate) struct Ways {
    heard: BTreeMap<LinkId, Heard>,
}

#[derive(Debug)]
struct Heard {
    alias: Alias,
    route: Route,
    /// Since when it has not been stale.
    good_since: Instant,
    /// The neighbour has refused a subscription.
    refused_until: Option<Instant>,
}

/// A way that can be taken, with its place among all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) rank: Rank,
    pub(super) link: LinkId,
    pub(super) good_since: Instant,
}

impl Ways {
    pub(super) fn hear(&mut self, link: LinkId, alias: Alias, route: Route, now: Instant) {
        let good_since = match self.heard.get(&link) {
            Some(known) if !known.route.is_stale => known.good_since,
            _ => now,
        };
        let heard = Heard {
            alias,
            route,
            good_since,
            refused_until: None,
        };
        self.heard.insert(link, heard);
    }

    /// False: there was none.
    pub(super) fn remove(&mut self, link: LinkId) -> bool {
        self.heard.remove(&link).is_some()
    }

    /// The neighbour does not serve the room now, whatever it announces.
    pub(super) fn refuse(&mut self, link: LinkId, now: Instant) {
        if let Some(heard) = self.heard.get_mut(&link) {
            heard.refused_until = Some(now + REFUSED_FOR);
        }
    }

    pub(crate) fn route(&self, link: LinkId) -> Option<&Route> {
        self.heard.get(&link).map(|heard| &heard.route)
    }

    pub(super) fn alias(&self, link: LinkId) -> Option<Alias> {
        self.heard.get(&link).map(|heard| heard.alias)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }

    /// The origin that counts.
    pub(crate) fn source(&self) -> Option<RoomSource> {
        let sources = self.heard.values().map(|heard| heard.route.source());
        sources.max()
    }

    /// The ways to it, best first.
    pub(super) fn candidates(&self, name: &RoomName, cx: &mut Context<'_>) -> Vec<Candidate> {
        let source = self.source();
        let mut candidates = Vec::new();
        for (id, heard) in &self.heard {
            let link = cx.links.get(id);
            let Some((link, peer)) =
                link.and_then(|link| link.peer.as_ref().map(|peer| (link, peer)))
            else {
                continue;
            };
            if Some(heard.route.source()) != source {
                continue;
            }
            let weight = weight(name, &cx.config.node.region, &peer.node.name);
            let candidate = Candidate {
                rank: Rank::new(link.health(&heard.route), &heard.route, weight),
                link: *id,
                good_since: heard.good_since.max(peer.good_since),
            };
            match heard.refused_until.filter(|until| *until > cx.now) {
                Some(until) => cx.wake_at(until),
                None => candidates.push(candidate),
            }
        }
        candidates.sort_by_key(|candidate| (candidate.rank, candidate.link));
        candidates
    }
}
