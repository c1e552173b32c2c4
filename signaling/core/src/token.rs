//! JSON Web Tokens: keys, claims, grants, and what each refusal means.
//!
//! Only HS256 and EdDSA (Ed25519) are accepted, each key with its own algorithm, so that a token
//! cannot choose how it is checked.

use std::collections::BTreeMap;
use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use lightstick_types::{ChatRole, RoomName};
use serde::{Deserialize, Serialize};

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// Shortest secret of an HS256 key, in bytes (RFC 7518 section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Longest `sub`, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 128;
/// Longest `name`, in characters.
pub const NAME_CHARS_MAX: usize = 50;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who: the participant's name, the same over reconnects. 1 to [`SUBJECT_BYTES_MAX`] bytes.
    pub sub: String,
    /// Until when, in seconds of the Unix time.
    pub exp: u64,
    /// From when on, in seconds of the Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    pub room: RoomPattern,
    #[serde(default)]
    pub grants: Grants,
    /// What is shown in the chat; the subject, if there is none. 1 to [`NAME_CHARS_MAX`]
    /// characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the bearer is in the chat. One that moderates needs the grant `moderate`, the artist's
    /// and the server's need `publish` and `admin`; without, those grants decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ChatRole>,
}

/// The rooms a token is for: one name, or `prefix-*` (`*` alone: every room).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomPattern(String);

impl RoomPattern {
    /// A pattern from its text.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether the pattern takes in every room there could be.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.0 == "*"
    }

    /// Whether the pattern takes in a room.
    #[must_use]
    pub fn matches(&self, room: &RoomName) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => room.as_str().starts_with(prefix),
            None => room.as_str() == self.0,
        }
    }
}

/// What a token allows. Grants that this version does not know are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// Send media into the room.
    pub publish: bool,
    /// Receive the room's media.
    pub watch: bool,
    /// Write in the room's chat.
    pub chat: bool,
    /// Moderate the room's chat.
    pub moderate: bool,
    /// Use `/api/v1`.
    pub admin: bool,
    /// Publish where somebody else publishes, and end their session.
    pub takeover: bool,
}

/// One thing a token can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// [`Grants::publish`].
    Publish,
    /// [`Grants::watch`].
    Watch,
    /// [`Grants::chat`].
    Chat,
    /// [`Grants::moderate`].
    Moderate,
    /// [`Grants::admin`].
    Admin,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Watch => "watch",
            Self::Chat => "chat",
            Self::Moderate => "moderate",
            Self::Admin => "admin",
        })
    }
}

impl Grants {
    /// Whether one of them is there.
    #[must_use]
    pub fn has(self, grant: Grant) -> bool {
        match grant {
            Grant::Publish => self.publish,
            Grant::Watch => self.watch,
            Grant::Chat => self.chat,
            Grant::Moderate => self.moderate,
            Grant::Admin => self.admin,
        }
    }
}

/// Why a token does not let the request in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token at all.
    #[error("the request needs a bearer token")]
    Missing,
    /// No JWT, an algorithm that is not HS256 or EdDSA, or claims of the wrong shape.
    #[error("the token is malformed")]
    Malformed,
    /// No `kid`, or none that is configured.
    #[error("the token is signed with a key that this server does not know")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    BadSignature,
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is for another room")]
    WrongRoom,
    #[error("the token does not grant `{0}`")]
    NoGrant(Grant),
}

impl Claims {
    /// What the bearer is in the chat: its role, as far as its grants allow it.
    #[must_use]
    pub fn chat_role(&self) -> ChatRole {
        let Grants {
            publish,
            moderate,
            admin,
            ..
        } = self.grants;
        let granted = match (admin, publish, moderate) {
            (true, _, _) => ChatRole::Server,
            (_, true, _) => ChatRole::Idol,
            (_, _, true) => ChatRole::LeadModerator,
            _ => ChatRole::Bot,
        };
        let default = match granted {
            ChatRole::Bot => ChatRole::Member,
            ChatRole::LeadModerator => ChatRole::Moderator,
            role => role,
        };
        self.role
            .map_or(default, |role| if role <= granted { role } else { default })
    }

    /// What is shown in the chat.
    #[must_use]
    pub fn chat_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.sub)
    }

    /// Whether the claims allow something in one room.
    ///
    /// # Errors
    /// [`TokenError::NoGrant`] or [`TokenError::WrongRoom`].
    pub fn allow(&self, grant: Grant, room: &RoomName) -> Result<(), TokenError> {
        self.has(grant)?;
        if self.room.matches(room) {
            Ok(())
        } else {
            Err(TokenError::WrongRoom)
        }
    }

    /// Whether the claims allow something in at least the rooms that they name.
    ///
    /// # Errors
    /// [`TokenError::NoGrant`].
    pub fn has(&self, grant: Grant) -> Result<(), TokenError> {
        if self.grants.has(grant) {
            Ok(())
        } else {
            Err(TokenError::NoGrant(grant))
        }
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An HS256 secret of less than [`SECRET_BYTES_MIN`] bytes.
    #[error("the secret is shorter than 32 bytes")]
    ShortSecret,
    /// Not the PEM of an Ed25519 key.
    #[error("not an Ed25519 key in PEM form")]
    BadPem,
    /// Two keys with one id.
    #[error("another key has the same id")]
    DuplicateId,
    #[error("a key needs an id")]
    NoId,
    /// The key could not sign.
    #[error("the key cannot sign")]
    CannotSign,
}

/// The keys that tokens are checked with, by `kid`.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: BTreeMap<String, (Algorithm, DecodingKey)>,
    leeway_secs: u64,
}

impl fmt::Debug for KeySet {
    /// The ids only: a secret is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

impl KeySet {
    /// No keys: every token is refused. `exp` and `nbf` are judged with `leeway_secs` of grace.
    #[must_use]
    pub fn new(leeway_secs: u64) -> Self {
        Self {
            keys: BTreeMap::new(),
            leeway_secs,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a secret for HS256.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn add_hs256(&mut self, kid: &str, secret: &[u8]) -> Result<(), KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret);
        }
        self.add(kid, Algorithm::HS256, DecodingKey::from_secret(secret))
    }

    /// Adds a public key for EdDSA, as PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn add_ed25519(&mut self, kid: &str, public_pem: &[u8]) -> Result<(), KeyError> {
        let key = DecodingKey::from_ed_pem(public_pem).map_err(|_| KeyError::BadPem)?;
        self.add(kid, Algorithm::EdDSA, key)
    }

    fn add(&mut self, kid: &str, algorithm: Algorithm, key: DecodingKey) -> Result<(), KeyError> {
        if kid.is_empty() {
            return Err(KeyError::NoId);
        }
        if self.keys.contains_key(kid) {
            return Err(KeyError::DuplicateId);
        }
        self.keys.insert(kid.into(), (algorithm, key));
        Ok(())
    }

    /// Checks a token at `now_unix`, in seconds of the Unix time.
    ///
    /// # Errors
    /// [`TokenError`], all of them HTTP 401: what the claims allow is asked of [`Claims`].
    pub fn verify(&self, token: &str, now_unix: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515 section 4.1.11: no extension of JWS is understood here.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.as_deref().ok_or(TokenError::UnknownKey)?;
        let (algorithm, key) = self.keys.get(kid).ok_or(TokenError::UnknownKey)?;
        let mut validation = Validation::new(*algorithm);
        // The library would ask the system's clock; times are judged below, by the caller's.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
            .map_err(|error| refusal(error.kind()))?
            .claims;
        if claims.sub.is_empty() || claims.sub.len() > SUBJECT_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        if let Some(name) = &claims.name
            && !(1..=NAME_CHARS_MAX).contains(&name.chars().count())
        {
            return Err(TokenError::Malformed);
        }
        if now_unix >= claims.exp.saturating_add(self.leeway_secs) {
            return Err(TokenError::Expired);
        }
        if claims
            .nbf
            .is_some_and(|nbf| now_unix.saturating_add(self.leeway_secs) < nbf)
        {
            return Err(TokenError::NotYetValid);
        }
        Ok(claims)
    }
}

fn refusal(kind: &jsonwebtoken::errors::ErrorKind) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        // A token that names another algorithm than its key's is a forgery, not a mistake.
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => TokenError::BadSignature,
        _ => TokenError::Malformed,
    }
}

/// A key that mints tokens.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {:?})", self.kid, self.algorithm)
    }
}

impl SigningKey {
    /// A secret for HS256.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`].
    pub fn hs256(kid: &str, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret);
        }
        Ok(Self {
            kid: kid.into(),
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(secret),
        })
    }

    /// A private key for EdDSA, as PEM (`BEGIN PRIVATE KEY`).
    ///
    /// # Errors
    /// [`KeyError::BadPem`].
    pub fn ed25519(kid: &str, private_pem: &[u8]) -> Result<Self, KeyError> {
        Ok(Self {
            kid: kid.into(),
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_pem(private_pem).map_err(|_| KeyError::BadPem)?,
        })
    }

    /// Signs claims.
    ///
    /// # Errors
    /// [`KeyError::CannotSign`]: the key is no usable key after all.
    pub fn mint(&self, claims: &Claims) -> Result<String, KeyError> {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| KeyError::CannotSign)
    }
}

#[cfg(test)]
mod tests;
