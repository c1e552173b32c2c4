//! The chain of a room's audit rows.

use aws_lc_rs::digest::{Context, SHA256};

use crate::node_key::NodeKey;
use crate::stored::AuditRow;

/// SHA-256.
pub(crate) type Hash = [u8; 32];

/// The hash of a row: over the one before, and over the fields as they are stored. What is personal in them is sealed,
/// so the chain holds after its keys are gone.
pub(crate) fn chain(previous: &[u8], seq: u64, row: &AuditRow) -> Hash {
    let mut context = Context::new(&SHA256);
    let mut field = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    field(b"lightstick audit 1");
    field(previous);
    field(row.room.as_bytes());
    field(&seq.to_be_bytes());
    field(&row.at_ms.to_be_bytes());
    field(row.action.as_bytes());
    field(&row.actor_key);
    field(&row.actor);
    for optional in [&row.target_key, &row.target] {
        field(&[u8::from(optional.is_some())]);
        field(optional.as_deref().unwrap_or_default());
    }
    field(&row.note);
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Where a room's chain begins and ends. Signed with the node key: who can write to the database only cannot cut the
/// chain at its end, nor make a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) base_seq: u64,
    pub(crate) base_hash: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) hash: Vec<u8>,
}

impl Head {
    /// Of a room without audit rows.
    pub(crate) fn empty() -> Self {
        let none = Hash::default().to_vec();
        Self {
            base_seq: 0,
            base_hash: none.clone(),
            seq: 0,
            hash: none,
        }
    }

    /// Takes a row in. Gives its place and hash.
    pub(crate) fn push(&mut self, row: &AuditRow) -> (u64, Vec<u8>) {
        self.seq += 1;
        self.hash = chain(&self.hash, self.seq, row).to_vec();
        (self.seq, self.hash.clone())
    }

    pub(crate) fn sign(&self, node: &NodeKey, room: &str) -> Vec<u8> {
        node.sign_head(&self.bytes(room))
    }

    pub(crate) fn is_signed(&self, node: &NodeKey, room: &str, mac: &[u8]) -> bool {
        node.verify_head(&self.bytes(room), mac)
    }

    fn bytes(&self, room: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [
            room.as_bytes(),
            &self.base_seq.to_be_bytes(),
            &self.base_hash,
            &self.seq.to_be_bytes(),
            &self.hash,
        ] {
            bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_in_the_hash() {
        let row = AuditRow {
            room: "stage".into(),
            at_ms: 1,
            action: "ban".into(),
            actor_key: vec![1],
            actor: vec![2],
            target_key: Some(vec![3]),
            target: Some(vec![4]),
            note: vec![5],
        };
        let hash = chain(&[0; 32], 1, &row);
        assert_eq!(hash, chain(&[0; 32], 1, &row.clone()));
        let changes: [fn(&mut AuditRow); 9] = [
            |r| r.room.push('x'),
            |r| r.at_ms += 1,
            |r| r.action.push('x'),
            |r| r.actor_key.push(1),
            |r| r.actor.push(1),
            |r| r.target_key = None,
            |r| r.target = Some(vec![]),
            |r| r.note.push(1),
            // The same bytes, cut elsewhere.
            |r| (r.actor_key, r.actor) = (vec![1, 2], vec![]),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut changed = row.clone();
            change(&mut changed);
            assert_ne!(chain(&[0; 32], 1, &changed), hash, "change {at}");
        }
        assert_ne!(chain(&[1; 32], 1, &row), hash);
        assert_ne!(chain(&[0; 32], 2, &row), hash);
    }

    #[test]
    fn a_head_is_signed_for_its_room() {
        let (node, other) = (NodeKey::new(&[1; 32]), NodeKey::new(&[2; 32]));
        let head = Head::empty();
        let mac = head.sign(&node, "a");
        assert!(head.is_signed(&node, "a", &mac));
        assert!(!head.is_signed(&node, "b", &mac));
        assert!(!head.is_signed(&other, "a", &mac));
        assert!(!Head { seq: 1, ..head }.is_signed(&node, "a", &mac));
    }
}
