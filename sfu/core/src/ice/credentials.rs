//! User fragment and password of one side (RFC 8445 section 5.3).

use std::fmt;

use aws_lc_rs::hmac;

/// Of one side, for one generation of ICE.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `a=ice-ufrag`.
    pub ufrag: String,
    /// `a=ice-pwd`.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// 32 characters of RFC 8839 section 5.4, so that a byte gives one without a bias.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 80 bits: two sessions of a process never share one. RFC 8445 wants 24.
const UFRAG_LEN: usize = 16;
/// 140 bits; RFC 8445 wants 128.
const PASSWORD_LEN: usize = 28;

/// What a session's secret is turned into, so that nothing of it can be guessed from the rest.
pub(super) struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secret").finish_non_exhaustive()
    }
}

impl Secret {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(*secret)
    }

    /// 64 bytes for the `number`th use of a kind.
    pub(super) fn derive(&self, kind: u8, number: u32) -> [u8; 64] {
        let key = hmac::Key::new(hmac::HMAC_SHA512, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(&[kind]);
        context.update(&number.to_be_bytes());
        let mut out = [0; 64];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    /// The credentials of a generation.
    pub(super) fn credentials(&self, generation: u32) -> Credentials {
        let bytes = self.derive(b'c', generation);
        let text = |bytes: &[u8]| {
            let letters = bytes.iter().map(|b| ALPHABET[usize::from(b % 32)]);
            letters.map(char::from).collect()
        };
        let (ufrag, rest) = bytes.split_at(UFRAG_LEN);
        Credentials {
            ufrag: text(ufrag),
            password: text(&rest[..PASSWORD_LEN]),
        }
    }
}
