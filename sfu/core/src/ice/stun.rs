//! STUN messages of connectivity checks (RFC 8489, RFC 8445 section 7.1).
//!
//! A message is read once: [`Message::parse`] finds what an ICE-lite agent acts on,
//! [`Message::verify`] says who wrote it. What such an agent has no use for (PRIORITY, the
//! controlling role, FINGERPRINT behind an integrity that fits) may be missing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;

/// 96 bits that a response repeats (RFC 8489 section 5).
pub type TransactionId = [u8; 12];

/// What a message is (RFC 8489 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Asks for a response.
    Request,
    Indication,
    /// The request was accepted.
    Success,
    Error,
}

/// Why a datagram is no message of a connectivity check. All of them mean: drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// Shorter than a header, or without the magic cookie.
    #[error("not a STUN message")]
    NotStun,
    /// STUN, but not of the Binding method.
    #[error("not a Binding message")]
    NotBinding,
    /// The header's length is not that of the datagram.
    #[error("the length does not match")]
    Length,
    /// An attribute reaches beyond the message.
    #[error("an attribute is truncated")]
    Attribute,
}

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Most unknown attributes that an error names: enough to find the fault.
const UNKNOWN_MAX: usize = 4;

mod attribute {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const NONCE: u16 = 0x0015;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(super) const PASSWORD_ALGORITHM: u16 = 0x001d;
    pub(super) const USERHASH: u16 = 0x001e;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
    /// From here on a receiver may ignore what it does not know (RFC 8489 section 14).
    pub(super) const OPTIONAL: u16 = 0x8000;

    /// Those of RFC 8489 and RFC 8445 whose comprehension is required. Where they mean nothing in
    /// a check they do no harm.
    pub(super) const KNOWN: [u16; 13] = [
        MAPPED_ADDRESS,
        USERNAME,
        MESSAGE_INTEGRITY,
        ERROR_CODE,
        UNKNOWN_ATTRIBUTES,
        REALM,
        NONCE,
        MESSAGE_INTEGRITY_SHA256,
        PASSWORD_ALGORITHM,
        USERHASH,
        XOR_MAPPED_ADDRESS,
        PRIORITY,
        USE_CANDIDATE,
    ];
}

/// A Binding message as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub class: Class,
    /// Of a response: that of the request it answers.
    pub transaction: TransactionId,
    /// USERNAME as it stands there; nobody promises that it is text.
    pub username: Option<&'a [u8]>,
    /// The peer chooses this pair (RFC 8445 section 7.1.1).
    pub use_candidate: bool,
    /// Its sender takes itself for the controlled agent (RFC 8445 section 7.1.2).
    pub controlled: bool,
    /// The code of an error response.
    pub error: Option<u16>,
    unknown: Unknown,
    integrity: Option<Integrity<'a>>,
    bytes: &'a [u8],
}

/// Attributes that would have to be understood and are not.
#[derive(Clone, Copy, Debug, Default)]
struct Unknown {
    kinds: [u16; UNKNOWN_MAX],
    count: usize,
}

/// The stronger of the two kinds, where a message has both (RFC 8489 section 9.1.3).
#[derive(Clone, Copy, Debug)]
struct Integrity<'a> {
    algorithm: Algorithm,
    /// Where the attribute begins.
    at: usize,
    tag: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha1,
    Sha256,
}

impl Algorithm {
    fn key(self, password: &str) -> hmac::Key {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::Key::new(algorithm, password.as_bytes())
    }
}

impl<'a> Message<'a> {
    /// Reads a Binding message. Nothing of it is authentic before [`verify`](Self::verify).
    ///
    /// # Errors
    /// [`StunError`]; the datagram is nobody's.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let (header, mut rest) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or(StunError::NotStun)?;
        if header[0] & 0xc0 != 0 || header[4..8] != MAGIC_COOKIE {
            return Err(StunError::NotStun);
        }
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let class = match kind & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Error,
        };
        if kind & !0x0110 != 0x0001 {
            return Err(StunError::NotBinding);
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if length != rest.len() || length % 4 != 0 {
            return Err(StunError::Length);
        }
        let mut transaction = TransactionId::default();
        transaction.copy_from_slice(&header[8..]);
        let mut message = Self {
            class,
            transaction,
            username: None,
            use_candidate: false,
            controlled: false,
            error: None,
            unknown: Unknown::default(),
            integrity: None,
            bytes,
        };
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let (head, after) = rest.split_first_chunk::<4>().ok_or(StunError::Attribute)?;
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let size = usize::from(u16::from_be_bytes([head[2], head[3]]));
            // Section 14: values are padded to 4 bytes, which the size does not count.
            let (value, after) = after
                .split_at_checked(size.next_multiple_of(4))
                .ok_or(StunError::Attribute)?;
            message.take(kind, &value[..size], at)?;
            rest = after;
        }
        Ok(message)
    }

    fn take(&mut self, kind: u16, value: &'a [u8], at: usize) -> Result<(), StunError> {
        let algorithm = match kind {
            attribute::MESSAGE_INTEGRITY => Some(Algorithm::Sha1),
            attribute::MESSAGE_INTEGRITY_SHA256 => Some(Algorithm::Sha256),
            _ => None,
        };
        if let Some(algorithm) = algorithm {
            let fits = match algorithm {
                Algorithm::Sha1 => value.len() == 20,
                // It may be truncated (section 14.6).
                Algorithm::Sha256 => matches!(value.len(), 16 | 20 | 24 | 28 | 32),
            };
            let first = self.integrity.is_none_or(|integrity| {
                integrity.algorithm == Algorithm::Sha1 && algorithm == Algorithm::Sha256
            });
            if !fits {
                return Err(StunError::Attribute);
            }
            if first {
                let tag = value;
                self.integrity = Some(Integrity { algorithm, at, tag });
            }
            return Ok(());
        }
        // What follows the integrity is not protected by it (section 14.5), and of what stands
        // there twice the first counts (section 14).
        if self.integrity.is_some() {
            return Ok(());
        }
        match kind {
            attribute::USERNAME => self.username = self.username.or(Some(value)),
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLED => self.controlled = true,
            attribute::ERROR_CODE => {
                if let [_, _, class, number, ..] = value {
                    let code = u16::from(class & 7) * 100 + u16::from(number % 100);
                    self.error = self.error.or(Some(code));
                }
            }
            _ if kind < attribute::OPTIONAL && !attribute::KNOWN.contains(&kind) => {
                if let Some(place) = self.unknown.kinds.get_mut(self.unknown.count) {
                    *place = kind;
                    self.unknown.count += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The user fragment of whoever the check is for: USERNAME up to its colon (RFC 8445
    /// section 7.2.2). What follows names the sender, who proves itself by the integrity instead.
    #[must_use]
    pub fn recipient(&self) -> Option<&'a str> {
        let name = self.username?;
        let end = name.iter().position(|byte| *byte == b':');
        let ufrag = std::str::from_utf8(&name[..end.unwrap_or(name.len())]).ok()?;
        (!ufrag.is_empty()).then_some(ufrag)
    }

    /// Whether its sender knows `password`.
    #[must_use]
    pub fn verify(&self, password: &str) -> bool {
        let Some(Integrity { algorithm, at, tag }) = self.integrity else {
            return false;
        };
        // The length counts up to and with the integrity (section 14.5).
        let length = (at + 4 + tag.len() - HEADER) as u16;
        let key = algorithm.key(password);
        let mut signing = hmac::Context::with_key(&key);
        signing.update(&self.bytes[..2]);
        signing.update(&length.to_be_bytes());
        signing.update(&self.bytes[4..at]);
        let sum = signing.sign();
        aws_lc_rs::constant_time::verify_slices_are_equal(&sum.as_ref()[..tag.len()], tag).is_ok()
    }

    /// Attributes whose comprehension is required and that are unknown, the first of them.
    #[must_use]
    pub fn unknown(&self) -> &[u16] {
        &self.unknown.kinds[..self.unknown.count]
    }

    fn algorithm(&self) -> Algorithm {
        self.integrity
            .map_or(Algorithm::Sha1, |integrity| integrity.algorithm)
    }
}

/// Writes a message, attribute by attribute.
struct Writer(Vec<u8>);

impl Writer {
    fn new(class: Class, transaction: TransactionId) -> Self {
        let class: u16 = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.extend((class | 0x0001).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE);
        bytes.extend(transaction);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Sets the length as if `more` bytes followed.
    fn set_length(&mut self, more: usize) {
        let length = (self.0.len() + more - HEADER) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }

    /// Integrity and FINGERPRINT, in this order (RFC 8489 section 14.7).
    fn finish(mut self, algorithm: Algorithm, password: &str) -> Vec<u8> {
        let (kind, tag_len) = match algorithm {
            Algorithm::Sha1 => (attribute::MESSAGE_INTEGRITY, 20),
            Algorithm::Sha256 => (attribute::MESSAGE_INTEGRITY_SHA256, 32),
        };
        self.set_length(4 + tag_len);
        let sum = hmac::sign(&algorithm.key(password), &self.0);
        self.attribute(kind, sum.as_ref());
        self.set_length(8);
        let sum = crc32(&self.0) ^ 0x5354_554e;
        self.attribute(attribute::FINGERPRINT, &sum.to_be_bytes());
        self.0
    }
}

/// A connectivity check of a controlled agent.
pub struct Check<'a> {
    /// Random for each transaction.
    pub transaction: TransactionId,
    /// The peer's user fragment, a colon, ours.
    pub username: &'a str,
    /// That of a peer-reflexive candidate learnt from it (RFC 8445 section 7.1.1).
    pub priority: u32,
    /// Chosen once for a session.
    pub tie_breaker: u64,
    /// The peer's password.
    pub password: &'a str,
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").finish_non_exhaustive()
    }
}

impl Check<'_> {
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut writer = Writer::new(Class::Request, self.transaction);
        writer.attribute(attribute::USERNAME, self.username.as_bytes());
        writer.attribute(attribute::PRIORITY, &self.priority.to_be_bytes());
        writer.attribute(attribute::ICE_CONTROLLED, &self.tie_breaker.to_be_bytes());
        writer.finish(Algorithm::Sha1, self.password)
    }
}

/// A check of the controlling agent that nominates its pair.
#[must_use]
pub fn nomination(transaction: TransactionId, username: &str, password: &str) -> Vec<u8> {
    let mut writer = Writer::new(Class::Request, transaction);
    writer.attribute(attribute::USERNAME, username.as_bytes());
    writer.attribute(attribute::PRIORITY, &1_u32.to_be_bytes());
    writer.attribute(attribute::ICE_CONTROLLING, &1_u64.to_be_bytes());
    writer.attribute(attribute::USE_CANDIDATE, &[]);
    writer.finish(Algorithm::Sha1, password)
}

/// The smallest check there is, and one without a role.
#[cfg(test)]
pub(crate) fn bare(transaction: TransactionId, username: &str, password: &str) -> Vec<u8> {
    let mut writer = Writer::new(Class::Request, transaction);
    writer.attribute(attribute::USERNAME, username.as_bytes());
    let mut bytes = writer.finish(Algorithm::Sha1, password);
    // FINGERPRINT is not covered by the integrity.
    bytes.truncate(bytes.len() - 8);
    let length = (bytes.len() - HEADER) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Accepts a request that came from `source`.
#[must_use]
pub fn success(request: &Message<'_>, source: SocketAddr, password: &str) -> Vec<u8> {
    let mut writer = Writer::new(Class::Success, request.transaction);
    let mut value = vec![0, if source.is_ipv4() { 1 } else { 2 }];
    // Section 14.2: what NATs look for and rewrite must not stand there as it is.
    value.extend((source.port() ^ 0x2112).to_be_bytes());
    let mask = MAGIC_COOKIE.iter().chain(&request.transaction);
    match source.ip() {
        IpAddr::V4(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
        IpAddr::V6(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
    }
    writer.attribute(attribute::XOR_MAPPED_ADDRESS, &value);
    writer.finish(request.algorithm(), password)
}

/// Refuses a request of somebody who knows the password.
#[must_use]
pub fn refusal(request: &Message<'_>, code: u16, reason: &str, password: &str) -> Vec<u8> {
    let mut writer = Writer::new(Class::Error, request.transaction);
    let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
    value.extend(reason.as_bytes());
    writer.attribute(attribute::ERROR_CODE, &value);
    let unknown = request.unknown();
    if !unknown.is_empty() {
        let kinds: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        writer.attribute(attribute::UNKNOWN_ATTRIBUTES, &kinds);
    }
    writer.finish(request.algorithm(), password)
}

/// The CRC of ISO 3309 that FINGERPRINT wants (RFC 8489 section 14.7).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        CRC_TABLE[usize::from((sum as u8) ^ byte)] ^ (sum >> 8)
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut sum = at as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                0xedb8_8320 ^ (sum >> 1)
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests;
