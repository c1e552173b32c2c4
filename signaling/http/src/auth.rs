//! Who may do what: keys, tokens, and the two modes.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use lightstick_signaling_core::token::{
    Claims, Grant, KeyError, KeySet, SECRET_BYTES_MIN, SigningKey, TokenError,
};
use lightstick_types::{RoomName, SessionId};
use tokio::sync::watch;

use crate::problem::{Code, Problem};

/// The keys that tokens are checked with. They can be replaced while the server runs.
#[derive(Clone)]
pub struct Keys(Arc<watch::Sender<Arc<KeySet>>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}

impl Keys {
    /// Keys to start with.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(keys))))
    }

    /// Replaces every key at once: tokens of keys that are gone are refused from now on. Sessions
    /// that exist go on.
    pub fn replace(&self, keys: KeySet) {
        self.0.send_replace(Arc::new(keys));
    }

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.0.borrow())
    }
}

/// How requests are let in.
#[derive(Clone, Debug)]
pub struct Auth {
    keys: Keys,
    development: Option<Arc<SigningKey>>,
}

impl Auth {
    /// Every request that the settings do not leave open needs a token of one of these keys.
    #[must_use]
    pub fn keyed(keys: Keys) -> Self {
        Self {
            keys,
            development: None,
        }
    }

    /// Development mode: watching is open, `/api/v1` is open to this machine, and publishing
    /// needs a token of a key that was just made and dies with the process.
    ///
    /// # Errors
    /// None that a working machine shows: the new key is long enough and alone.
    pub fn development(leeway_secs: u64) -> Result<Self, KeyError> {
        let mut secret = Vec::with_capacity(2 * SECRET_BYTES_MIN);
        // 32 hexadecimal digits carry 128 bits: two ids make a whole key.
        while secret.len() < 2 * SECRET_BYTES_MIN {
            secret.extend_from_slice(SessionId::random().to_string().as_bytes());
        }
        let mut keys = KeySet::new(leeway_secs);
        keys.add_hs256(DEVELOPMENT_KID, &secret)?;
        Ok(Self {
            keys: Keys::new(keys),
            development: Some(Arc::new(SigningKey::hs256(DEVELOPMENT_KID, &secret)?)),
        })
    }

    /// Whether this is development mode.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.development.is_some()
    }

    /// A token of the development key; none in keyed mode.
    #[must_use]
    pub fn development_token(&self, claims: &Claims) -> Option<String> {
        self.development.as_ref()?.mint(claims).ok()
    }

    /// The claims of the request's token.
    pub fn claims(&self, headers: &HeaderMap) -> Result<Claims, TokenError> {
        let token = bearer(headers)?;
        self.keys.current().verify(token, unix_now())
    }

    /// The claims of a token that came by another way than a header.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.keys.current().verify(token, unix_now())
    }

    /// The claims, if they allow something in a room.
    pub(crate) fn require(
        &self,
        headers: &HeaderMap,
        grant: Grant,
        room: &RoomName,
    ) -> Result<Claims, TokenError> {
        let claims = self.claims(headers)?;
        claims.allow(grant, room)?;
        Ok(claims)
    }
}

const DEVELOPMENT_KID: &str = "development";

/// Seconds of the Unix time.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn bearer(headers: &HeaderMap) -> Result<&str, TokenError> {
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or(TokenError::Missing)?;
    let value = value.to_str().map_err(|_| TokenError::Malformed)?;
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::Missing);
    }
    match token.trim() {
        "" => Err(TokenError::Missing),
        token => Ok(token),
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Missing => Code::TokenMissing,
            TokenError::Malformed => Code::TokenMalformed,
            TokenError::UnknownKey => Code::TokenUnknownKey,
            TokenError::BadSignature => Code::TokenBadSignature,
            TokenError::Expired => Code::TokenExpired,
            TokenError::NotYetValid => Code::TokenNotYetValid,
            TokenError::WrongRoom => Code::TokenWrongRoom,
            TokenError::NoGrant(_) => Code::TokenNoGrant,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use lightstick_signaling_core::token::{Grants, RoomPattern};

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn bearer_table() {
        assert_eq!(bearer(&HeaderMap::new()), Err(TokenError::Missing));
        for (value, expected) in [
            ("Bearer abc", Ok("abc")),
            ("bearer  abc ", Ok("abc")),
            ("Bearer", Err(TokenError::Missing)),
            ("Bearer ", Err(TokenError::Missing)),
            ("Basic abc", Err(TokenError::Missing)),
            ("", Err(TokenError::Missing)),
        ] {
            assert_eq!(bearer(&headers(value)), expected, "{value:?}");
        }
    }

    #[test]
    fn keys_are_swapped_at_run_time() {
        let claims = Claims {
            sub: "idol".into(),
            exp: unix_now() + 60,
            nbf: None,
            room: RoomPattern::new("*"),
            grants: Grants::default(),
            name: None,
            role: None,
        };
        let secret = [1; SECRET_BYTES_MIN];
        let mut old = KeySet::new(0);
        old.add_hs256("old", &secret).unwrap();
        let mut new = KeySet::new(0);
        new.add_hs256("new", &secret).unwrap();
        let keys = Keys::new(old);
        let auth = Auth::keyed(keys.clone());
        let token = SigningKey::hs256("old", &secret).unwrap().mint(&claims);
        let headers = headers(&format!("Bearer {}", token.unwrap()));
        assert_eq!(auth.claims(&headers), Ok(claims));
        keys.replace(new);
        assert_eq!(auth.claims(&headers), Err(TokenError::UnknownKey));
    }
}
