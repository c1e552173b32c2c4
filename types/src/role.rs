//! What a session does in its room.

use serde::{Deserialize, Serialize};

/// What a session does in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends media, by WHIP.
    Publisher,
    /// Receives media, by WHEP.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Publisher, Self::Viewer];

    /// The role as JSON and the labels of metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }
}
