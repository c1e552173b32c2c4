//! Signatures of the Standard Webhooks specification, version 1.0.0.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Lengths that a secret may have, in bytes.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write whsec_ and 24 to 64 random bytes in base64")]
pub(crate) struct BadSecret;

/// What both sides know. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads `whsec_...`.
    pub(crate) fn parse(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(BadSecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| BadSecret)?;
        if !BYTES.contains(&bytes.len()) {
            return Err(BadSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The `webhook-signature` of a body. `id` has no full stop.
    pub(crate) fn sign(&self, id: &str, unix_secs: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{unix_secs}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's `hmac` module, independently of this code.
    #[test]
    fn signature_is_the_specifications() {
        let secret = Secret::parse("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap();
        assert_eq!(
            secret.sign("msg_1", 1_674_087_231, br#"{"type":"a.b"}"#),
            "v1,9v2azVYknufhbKdx+zbntODfSs846KyWVnRaCraqwOg="
        );
        let hidden = format!("{secret:?}");
        assert_eq!(hidden, "Secret");
    }

    #[test]
    fn bad_secrets_are_refused() {
        for bad in [
            "",
            "whsec_",
            "whsec_MDEyMw==",
            "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "whsec_not base64",
        ] {
            assert!(Secret::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Secret::parse(&format!("whsec_{}", "A".repeat(88))).is_err());
    }
}
