//! The hello of the other end: who it is, and whether it may be linked.

use std::time::Instant;

use lightstick_types::NodeRole;

use super::state::State;
use crate::close::CloseReason;
use crate::hello::Hello;
use crate::link::Peer;
use crate::output::{Direction, Event, LinkId};
use crate::tally::Count;

pub(super) fn greet(
    state: &mut State,
    id: LinkId,
    hello: &Hello,
    now: Instant,
) -> Result<(), CloseReason> {
    let Some(link) = state.links.get(&id) else {
        return Ok(());
    };
    let (own, other, certificate) = (&state.config.node, &hello.node, &link.certificate);
    if other.name == own.name {
        return Err(CloseReason::Itself);
    }
    if hello.id == state.config.id {
        return Err(CloseReason::IdInUse);
    }
    let is_permitted = [NodeRole::All, other.role].contains(&certificate.role);
    if certificate.name != other.name || certificate.region != other.region || !is_permitted {
        return Err(CloseReason::Identity);
    }
    let (child, parent) = match link.direction {
        Direction::ToParent => (own.role, other.role),
        Direction::ToChild => (other.role, own.role),
    };
    if !child.may_be_child() || !parent.may_be_parent() {
        return Err(CloseReason::Role);
    }
    let replaced = replaced_by(state, id, link.direction, hello)?;
    for old in replaced {
        state.close(old, CloseReason::Replaced, now);
    }
    if let Some(link) = state.links.get_mut(&id) {
        link.peer = Some(Peer {
            id: hello.id,
            node: hello.node.clone(),
            good_since: now,
        });
    }
    state.out.tally.add(Count::LinksUp);
    let (link, node) = (id, hello.node.clone());
    let id = hello.id;
    state.out.event(Event::LinkUp { link, id, node });
    for key in state.rooms.keys() {
        state.settle_new_link(key, link, now);
    }
    Ok(())
}

/// The links of the same node whose place this one takes. A node has one link with another, and the
/// one that works stays.
fn replaced_by(
    state: &State,
    id: LinkId,
    direction: Direction,
    hello: &Hello,
) -> Result<Vec<LinkId>, CloseReason> {
    let mut replaced = Vec::new();
    let others = state.links.iter().filter(|(other, _)| **other != id);
    for (other, link) in others {
        let Some(peer) = &link.peer else {
            continue;
        };
        if peer.node.name != hello.node.name {
            match peer.id == hello.id {
                true => return Err(CloseReason::IdInUse),
                false => continue,
            }
        }
        // Two nodes that dial each other: both ends keep what the one with the lesser name dialled.
        let have_dialled_each_other = peer.id == hello.id && link.direction != direction;
        let dialled_here = direction == Direction::ToParent;
        let is_kept = dialled_here == (state.config.node.name < hello.node.name);
        match link.liveness.is_suspect() || (have_dialled_each_other && is_kept) {
            true => replaced.push(*other),
            false => return Err(CloseReason::NameInUse),
        }
    }
    Ok(replaced)
}
