//! Addresses as rooms know them: numbers that say only whether two are the same.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use lightstick_types::Network;

/// Hashes addresses with a secret of this node: a ban holds over a restart, and what is kept of it
/// names nobody.
#[derive(Clone)]
pub(crate) struct AddressHasher(hmac::Key);

impl fmt::Debug for AddressHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressHasher")
    }
}

impl AddressHasher {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, secret))
    }

    /// What one subscriber has is one address.
    pub(crate) fn hash(&self, address: IpAddr) -> u64 {
        let network = Network::from(address).to_bits().to_be_bytes();
        let tag = hmac::sign(&self.0, &network);
        let mut first = [0; 8];
        first.copy_from_slice(&tag.as_ref()[..8]);
        u64::from_be_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_one_address() {
        let key = AddressHasher::new(&[7; 32]);
        let hash = |text: &str| key.hash(text.parse().unwrap());
        assert_eq!(hash("192.0.2.1"), hash("::ffff:192.0.2.1"));
        assert_eq!(hash("2001:db8:1:2::1"), hash("2001:db8:1:2:3:4:5:6"));
        assert_ne!(hash("2001:db8:1:2::1"), hash("2001:db8:1:3::1"));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
        let other = AddressHasher::new(&[8; 32]);
        assert_ne!(hash("192.0.2.1"), other.hash("192.0.2.1".parse().unwrap()));
    }
}
