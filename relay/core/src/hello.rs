//! What each end of a link says first.

use lightstick_types::{NodeId, NodeIdentity, NodeRole};

use crate::fields::{Reader, WireError, put_text};

/// The oldest and the newest version of the protocol that this node speaks.
pub const VERSIONS: Versions = Versions { min: 1, max: 1 };

/// Versions of the protocol, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub min: u16,
    pub max: u16,
}

impl Versions {
    /// The newest version that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// The first message of each end. The versions come first in every version, and later ones may append
/// fields, so that any node can tell any other what it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub versions: Versions,
    /// This run of the node.
    pub id: NodeId,
    /// The node, and what it does in this run.
    pub node: NodeIdentity,
}

impl Hello {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.versions.min.to_be_bytes());
        out.extend_from_slice(&self.versions.max.to_be_bytes());
        out.extend_from_slice(&self.id.0.to_be_bytes());
        let role = NodeRole::ALL
            .iter()
            .position(|role| *role == self.node.role);
        out.push(role.expect("one of all roles") as u8);
        put_text(self.node.name.as_str(), out);
        put_text(self.node.region.as_str(), out);
    }

    /// Reads the versions, and the rest where there is a common one.
    pub(crate) fn read(reader: &mut Reader) -> Result<Result<Self, Versions>, WireError> {
        let versions = Versions {
            min: reader.u16()?,
            max: reader.u16()?,
        };
        if versions.min > versions.max {
            return Err(WireError::Value);
        }
        if VERSIONS.common(versions).is_none() {
            reader.skip_rest();
            return Ok(Err(versions));
        }
        let id = NodeId(reader.u32()?);
        let role = NodeRole::ALL.get(usize::from(reader.u8()?));
        let hello = Self {
            versions,
            id,
            node: NodeIdentity {
                role: *role.ok_or(WireError::Value)?,
                name: reader.text()?,
                region: reader.text()?,
            },
        };
        if versions.max > VERSIONS.max {
            reader.skip_rest();
        }
        Ok(Ok(hello))
    }
}
