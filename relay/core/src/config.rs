use std::time::Duration;

use lightstick_types::{NodeId, NodeIdentity};

/// What a relay is made with.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Who this node is, as its certificate says.
    pub node: NodeIdentity,
    /// This run of it: a random number.
    pub id: NodeId,
    /// A frame that is not written after this time is dropped.
    pub frame_expiry: Duration,
    /// The same for the past, which a subscription begins with.
    pub catch_up_expiry: Duration,
    /// A room is subscribed to for so long after the last one left.
    pub linger: Duration,
    /// A better parent takes a room over after both have been good for so long. One that is worse than
    /// another only because it fails is left at once.
    pub dwell: Duration,
}

impl RelayConfig {
    #[must_use]
    pub fn new(node: NodeIdentity, id: NodeId) -> Self {
        Self {
            node,
            id,
            frame_expiry: Duration::from_millis(400),
            catch_up_expiry: Duration::from_secs(2),
            linger: Duration::from_secs(10),
            dwell: Duration::from_secs(30),
        }
    }
}
