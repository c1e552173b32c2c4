//! The two kinds of transform: AEAD with AES-GCM (RFC 7714), and AES in counter mode with
//! HMAC-SHA1 (RFC 3711 section 4).

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::derive::{Label, Use, derive};
use super::{KeyError, OpenError, PacketIndex, Profile, RTCP_HEADER, RTCP_TRAILER};

const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;

/// One direction's session keys for RTP or for RTCP.
pub(super) enum Cipher {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    Cm(Box<Cm>),
}

/// Boxed, because it is large and few have it.
pub(super) struct Cm {
    key: EncryptingKey,
    mac: hmac::Key,
    salt: [u8; 14],
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gcm { .. } => "Gcm",
            Self::Cm(_) => "Cm",
        })
    }
}

impl Cipher {
    pub(super) fn new(
        profile: Profile,
        master_key: &[u8],
        master_salt: &[u8],
        of: Use,
    ) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        let key = &mut bytes[..profile.key_len()];
        derive(master_key, master_salt, of, Label::Encryption, key)?;
        let algorithm = match profile {
            Profile::Aes128CmSha1_80 => {
                let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| KeyError::Cipher)?;
                let mut mac = [0; 20];
                derive(master_key, master_salt, of, Label::Authentication, &mut mac)?;
                let mut salt = [0; 14];
                derive(master_key, master_salt, of, Label::Salt, &mut salt)?;
                return Ok(Self::Cm(Box::new(Cm {
                    key: EncryptingKey::ctr(key).map_err(|_| KeyError::Cipher)?,
                    mac: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &mac),
                    salt,
                })));
            }
            Profile::Aes128Gcm => &AES_128_GCM,
            Profile::Aes256Gcm => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| KeyError::Cipher)?;
        let mut salt = [0; 12];
        derive(master_key, master_salt, of, Label::Salt, &mut salt)?;
        Ok(Self::Gcm {
            key: LessSafeKey::new(key),
            salt,
        })
    }

    #[inline]
    pub(super) fn seal_rtp(
        &self,
        index: PacketIndex,
        buffer: &mut Vec<u8>,
        start: usize,
        header: usize,
    ) {
        let (ssrc, index) = (index.ssrc(), index.index());
        let (head, body) = buffer[start..].split_at_mut(header);
        match self {
            Self::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, ssrc, index);
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&*head), body);
                append_tag(buffer, sealed.as_ref().map(AsRef::as_ref).ok(), GCM_TAG);
            }
            Self::Cm(cm) => {
                let Cm { key, mac, salt } = &**cm;
                apply_cm(key, cm_iv(salt, ssrc, index), body);
                let mut signing = hmac::Context::with_key(mac);
                signing.update(&buffer[start..]);
                signing.update(&((index >> 16) as u32).to_be_bytes());
                append_tag(buffer, Some(signing.sign().as_ref()), SHA1_TAG);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header: usize,
    ) -> Result<(), OpenError> {
        match self {
            Self::Gcm { key, salt } => {
                let (head, rest) = packet.split_at_mut(header);
                key.open_in_place(gcm_nonce(salt, ssrc, index), Aad::from(&*head), rest)
                    .map(drop)
                    .map_err(|_| OpenError::Forged)
            }
            Self::Cm(cm) => {
                let Cm { key, mac, salt } = &**cm;
                let end = packet.len() - SHA1_TAG;
                let (signed, tag) = packet.split_at_mut(end);
                let mut signing = hmac::Context::with_key(mac);
                signing.update(signed);
                signing.update(&((index >> 16) as u32).to_be_bytes());
                if signing.sign().as_ref()[..SHA1_TAG] != *tag {
                    return Err(OpenError::Forged);
                }
                apply_cm(key, cm_iv(salt, ssrc, index), &mut signed[header..]);
                Ok(())
            }
        }
    }

    pub(super) fn seal_rtcp(&self, index: u32, buffer: &mut Vec<u8>, start: usize) {
        let word = (index | 1 << 31).to_be_bytes();
        let ssrc = ssrc_of(&buffer[start..]);
        match self {
            Self::Gcm { key, salt } => {
                let (head, body) = buffer[start..].split_at_mut(RTCP_HEADER);
                let aad = rtcp_aad(head, word);
                let nonce = gcm_nonce(salt, ssrc, index.into());
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(aad), body);
                append_tag(buffer, sealed.as_ref().map(AsRef::as_ref).ok(), GCM_TAG);
                buffer.extend_from_slice(&word);
            }
            Self::Cm(cm) => {
                let Cm { key, mac, salt } = &**cm;
                let body = &mut buffer[start + RTCP_HEADER..];
                apply_cm(key, cm_iv(salt, ssrc, index.into()), body);
                buffer.extend_from_slice(&word);
                let tag = hmac::sign(mac, &buffer[start..]);
                append_tag(buffer, Some(tag.as_ref()), SHA1_TAG);
            }
        }
    }

    /// E bit and index of a packet that is long enough to have them.
    pub(super) fn rtcp_trailer(&self, packet: &[u8]) -> u32 {
        let end = match self {
            Self::Gcm { .. } => packet.len(),
            Self::Cm(_) => packet.len() - SHA1_TAG,
        };
        packet[end - RTCP_TRAILER..end]
            .iter()
            .fold(0, |word, byte| word << 8 | u32::from(*byte))
    }

    /// Opens a packet that is long enough. Returns the length of the compound.
    pub(super) fn open_rtcp(&self, index: u32, packet: &mut [u8]) -> Result<usize, OpenError> {
        let ssrc = ssrc_of(packet);
        match self {
            Self::Gcm { key, salt } => {
                let end = packet.len() - RTCP_TRAILER;
                let (head, rest) = packet.split_at_mut(RTCP_HEADER);
                let aad = rtcp_aad(head, (index | 1 << 31).to_be_bytes());
                let nonce = gcm_nonce(salt, ssrc, index.into());
                key.open_in_place(nonce, Aad::from(aad), &mut rest[..end - RTCP_HEADER])
                    .map(|plain| RTCP_HEADER + plain.len())
                    .map_err(|_| OpenError::Forged)
            }
            Self::Cm(cm) => {
                let Cm { key, mac, salt } = &**cm;
                let (signed, tag) = packet.split_at_mut(packet.len() - SHA1_TAG);
                let wanted = hmac::sign(mac, signed);
                aws_lc_rs::constant_time::verify_slices_are_equal(
                    &wanted.as_ref()[..SHA1_TAG],
                    tag,
                )
                .map_err(|_| OpenError::Forged)?;
                let end = signed.len() - RTCP_TRAILER;
                let body = &mut signed[RTCP_HEADER..end];
                apply_cm(key, cm_iv(salt, ssrc, index.into()), body);
                Ok(end)
            }
        }
    }
}

/// RFC 7714 sections 8.1 and 9.1; an SRTCP index has 31 bits, an RTP index 48.
#[inline]
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = *salt;
    for (byte, value) in nonce[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= value;
    }
    for (byte, value) in nonce[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= value;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 section 9.3: the header, then E bit and index.
fn rtcp_aad(head: &[u8], word: [u8; 4]) -> [u8; RTCP_HEADER + RTCP_TRAILER] {
    let mut aad = [0; RTCP_HEADER + RTCP_TRAILER];
    aad[..RTCP_HEADER].copy_from_slice(head);
    aad[RTCP_HEADER..].copy_from_slice(&word);
    aad
}

/// RFC 3711 section 4.1.1.
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    for (byte, value) in iv[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= value;
    }
    for (byte, value) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= value;
    }
    iv
}

fn apply_cm(key: &EncryptingKey, iv: [u8; 16], data: &mut [u8]) {
    if data.is_empty() {
        return;
    }
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    let done = key.less_safe_encrypt(data, context);
    assert!(done.is_ok(), "AES in counter mode takes data of any length");
}

#[inline]
fn append_tag(buffer: &mut Vec<u8>, tag: Option<&[u8]>, length: usize) {
    // Sealing fails only for more data than fits into any datagram.
    let tag = tag.expect("a datagram can be sealed");
    buffer.extend_from_slice(&tag[..length]);
}

/// The sender that an RTCP compound begins with (RFC 3550 section 6.4).
fn ssrc_of(packet: &[u8]) -> u32 {
    packet[4..RTCP_HEADER]
        .iter()
        .fold(0, |ssrc, byte| ssrc << 8 | u32::from(*byte))
}
