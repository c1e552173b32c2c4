//! Addresses as rooms know them: numbers that say only whether two are the same.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

/// Hashes addresses with a key of this process.
#[derive(Clone, Debug)]
pub(crate) struct AddressKey(RandomState);

impl AddressKey {
    pub(crate) fn new() -> Self {
        Self(RandomState::new())
    }

    /// An IPv6 network of 64 bits counts as one address: it is what one subscriber has.
    pub(crate) fn hash(&self, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.0.hash_one(v4),
            IpAddr::V6(v6) => self.0.hash_one(&v6.segments()[..4]),
        }
    }
}
