//! What a node of a cluster is called, and what it may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A label: 1 to 63 of `a-z 0-9 . -`, so that it fits into a URI and a metric's label as it is.
const LABEL_MAX: usize = 63;

/// Why a string is no name of a node or region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("names of nodes and regions have 1 to 63 of a-z 0-9 . -")]
pub struct NodeNameError;

macro_rules! label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Longest name, in bytes.
            pub const MAX_LEN: usize = LABEL_MAX;

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NodeNameError;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let allowed =
                    |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
                if s.is_empty() || s.len() > LABEL_MAX || !s.bytes().all(allowed) {
                    return Err(NodeNameError);
                }
                Ok(Self(s.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NodeNameError;

            fn try_from(s: String) -> Result<Self, Self::Error> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

label! {
    /// A node's name: from its configuration and its certificate, the same over restarts.
    NodeName
}

label! {
    /// Where a node is, such as `kr`.
    Region
}

/// What a node does in the cascade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Takes publishers; others connect to it.
    Origin,
    /// Connects to origins and hubs; others connect to it.
    Hub,
    /// Connects to origins and hubs; only viewers connect to it.
    Edge,
    /// All of these.
    #[default]
    All,
}

impl NodeRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Origin, Self::Hub, Self::Edge, Self::All];

    /// The role as certificates, configuration and labels of metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Hub => "hub",
            Self::Edge => "edge",
            Self::All => "all",
        }
    }

    /// Whether other nodes may connect to a node of this role.
    #[must_use]
    pub const fn may_be_parent(self) -> bool {
        !matches!(self, Self::Edge)
    }

    /// Whether a node of this role may connect to others.
    #[must_use]
    pub const fn may_be_child(self) -> bool {
        !matches!(self, Self::Origin)
    }
}

/// Why a string is no role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write origin, hub, edge or all")]
pub struct NodeRoleError;

impl FromStr for NodeRole {
    type Err = NodeRoleError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == s);
        role.ok_or(NodeRoleError)
    }
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who a node is: what its certificate says, as the URI `lightstick://NAME?role=ROLE&region=REGION`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeIdentity {
    /// Its name.
    pub name: NodeName,
    /// What it may do.
    pub role: NodeRole,
    /// Where it is.
    pub region: Region,
}

/// Why a URI names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node's URI is lightstick://NAME?role=ROLE&region=REGION")]
pub struct NodeIdentityError;

impl FromStr for NodeIdentity {
    type Err = NodeIdentityError;

    /// Strict: one spelling for each identity, without percent-encoding.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parts = || {
            let (name, query) = s.strip_prefix("lightstick://")?.split_once("?role=")?;
            let (role, region) = query.split_once("&region=")?;
            Some(Self {
                name: name.parse().ok()?,
                role: role.parse().ok()?,
                region: region.parse().ok()?,
            })
        };
        parts().ok_or(NodeIdentityError)
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, role, region } = self;
        write!(f, "lightstick://{name}?role={role}&region={region}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_round_trip() {
        for uri in [
            "lightstick://hub-1.kr?role=hub&region=kr",
            "lightstick://a?role=all&region=eu-west-1",
        ] {
            assert_eq!(uri.parse::<NodeIdentity>().unwrap().to_string(), uri);
        }
    }

    #[test]
    fn what_names_no_node() {
        for bad in [
            "",
            "lightstick://",
            "https://hub?role=hub&region=kr",
            "lightstick://?role=hub&region=kr",
            "lightstick://hub?role=artist&region=kr",
            "lightstick://hub?role=hub",
            "lightstick://hub?region=kr&role=hub",
            "lightstick://hub?role=hub&region=kr&region=us",
            "lightstick://Hub?role=hub&region=kr",
            "lightstick://a/b?role=hub&region=kr",
            "lightstick://a%2e?role=hub&region=kr",
        ] {
            assert_eq!(bad.parse::<NodeIdentity>(), Err(NodeIdentityError), "{bad}");
        }
        assert_eq!("x".repeat(64).parse::<NodeName>(), Err(NodeNameError));
    }
}
