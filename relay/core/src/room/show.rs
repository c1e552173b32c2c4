//! The state of a room's show, on its way from the origin to all nodes.

use bytes::Bytes;

use super::Room;
use crate::message::{Message, SubscriptionId};
use crate::output::{Out, ToRoom};

/// The newest state of the show.
#[derive(Clone, Debug)]
pub(crate) struct Show {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) state: Bytes,
}

impl Show {
    pub(crate) fn message(&self, subscription: SubscriptionId) -> Message {
        Message::Show {
            subscription,
            epoch: self.epoch,
            version: self.version,
            state: self.state.clone(),
        }
    }
}

impl Room {
    /// Keeps a state and passes it on, if it is the newest.
    pub(crate) fn keep_show(&mut self, show: Show, out: &mut Out) -> bool {
        let known = self.show.as_ref().map(|show| (show.epoch, show.version));
        if known >= Some((show.epoch, show.version)) {
            return false;
        }
        for (link, subscription) in self.below.iter() {
            out.control(link, &show.message(subscription));
        }
        self.show = Some(show);
        true
    }

    /// The same of a state that came from above, of which the owner is told.
    pub(crate) fn take_show(&mut self, show: Show, out: &mut Out) -> bool {
        let (version, state) = (show.version, show.state.clone());
        let is_new = self.keep_show(show, out);
        if is_new {
            out.tell(self.id, ToRoom::Show { version, state });
        }
        is_new
    }
}
