//! Time-limited TURN credentials, as coturn's `use-auth-secret` (the "TURN REST API") reads them.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};

/// What a client shows to the TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnCredentials {
    /// `expiry:name`, the expiry in seconds of the Unix time.
    pub username: String,
    /// Base64 of HMAC-SHA1 over the username.
    pub credential: String,
}

/// Credentials for `name` that the TURN server accepts until `expires` (Unix time, seconds).
///
/// SHA-1 is coturn's choice; as an HMAC it is not broken.
#[must_use]
pub fn credentials(secret: &[u8], name: &str, expires: u64) -> TurnCredentials {
    let username = format!("{expires}:{name}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    TurnCredentials {
        username,
        credential,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values come from
    /// `printf '%s' USERNAME | openssl dgst -sha1 -hmac SECRET -binary | base64`.
    #[test]
    fn known_answers() {
        for (secret, name, expires, username, credential) in [
            (
                "north",
                "s17",
                1_700_003_600,
                "1700003600:s17",
                "Udnd5Nshh9MAzl3Vej76ImDUU/4=",
            ),
            ("x", "", 0, "0:", "GaRRMUb9PaC+JZnLJz7pjT3MdTs="),
        ] {
            let made = credentials(secret.as_bytes(), name, expires);
            assert_eq!(made.username, username);
            assert_eq!(made.credential, credential);
        }
    }
}
