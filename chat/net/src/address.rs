//! Addresses as rooms know them: numbers that say only whether two are the same.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac::{self, HMAC_SHA256};

/// Hashes addresses with a secret of this node: a ban holds over a restart, and what is kept of it
/// names nobody.
#[derive(Clone)]
pub(crate) struct AddressKey(hmac::Key);

impl fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressKey")
    }
}

impl AddressKey {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, secret))
    }

    /// An IPv6 network of 64 bits counts as one address: it is what one subscriber has.
    pub(crate) fn hash(&self, address: IpAddr) -> u64 {
        let tag = match address.to_canonical() {
            IpAddr::V4(v4) => hmac::sign(&self.0, &v4.octets()),
            IpAddr::V6(v6) => hmac::sign(&self.0, &v6.octets()[..8]),
        };
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
        let key = AddressKey::new(&[7; 32]);
        let hash = |text: &str| key.hash(text.parse().unwrap());
        assert_eq!(hash("192.0.2.1"), hash("::ffff:192.0.2.1"));
        assert_eq!(hash("2001:db8:1:2::1"), hash("2001:db8:1:2:3:4:5:6"));
        assert_ne!(hash("2001:db8:1:2::1"), hash("2001:db8:1:3::1"));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
        let other = AddressKey::new(&[8; 32]);
        assert_ne!(hash("192.0.2.1"), other.hash("192.0.2.1".parse().unwrap()));
    }
}
