//! SRTP and SRTCP (RFC 3711, RFC 7714): what leaves for a viewer is sealed here, and what a viewer
//! reports is opened here.
//!
//! The keys of a session have one owner. A [`Sealer`] is made from the keying material of its DTLS
//! handshake and cannot be copied. Each packet is sealed with a [`PacketIndex`], which only its
//! [`SendStream`] can give out, once for each index; a `Sealer` makes one `SendStream` for each
//! SSRC. So no two packets of a key can share SSRC and index, from which the nonce is made
//! (RFC 7714 section 8.1): the compiler and the stream's window see to it.

mod cipher;
mod derive;
mod index;

use cipher::Cipher;
pub use index::{PacketIndex, SendStream};

/// Bytes that sealing adds to an RTCP packet at most: tag and index.
pub const RTCP_OVERHEAD_MAX: usize = 20;
/// Header of the first packet in an RTCP compound, which stays readable.
const RTCP_HEADER: usize = 8;
/// E bit and SRTCP index.
const RTCP_TRAILER: usize = 4;
/// Highest SRTCP index (RFC 3711 section 3.2.1).
const RTCP_INDEX_MAX: u32 = (1 << 31) - 1;

/// How packets are protected (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    Aes128CmSha1_80,
    /// `SRTP_AEAD_AES_128_GCM`.
    Aes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`.
    Aes256Gcm,
}

impl Profile {
    const fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes128Gcm => 16,
            Self::Aes256Gcm => 32,
        }
    }

    const fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 14,
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
        }
    }

    /// Bytes of keying material that both directions need (RFC 5764 section 4.2).
    #[must_use]
    pub const fn material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// Bytes that sealing adds to an RTP packet.
    #[must_use]
    pub const fn tag_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 10,
            Self::Aes128Gcm | Self::Aes256Gcm => 16,
        }
    }
}

/// Our end of the DTLS association that the keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// We sent the first ClientHello.
    Client,
    Server,
}

/// Why keying material is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has another length than its profile says.
    #[error("keying material of {0} bytes")]
    Length(usize),
    /// The cipher refuses the key.
    #[error("the cipher rejected the key")]
    Cipher,
}

/// Why an SRTCP packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short to be one.
    #[error("too short")]
    Short,
    /// Its payload is not encrypted, which none of our profiles allows.
    #[error("not encrypted")]
    Plain,
    /// Its index was seen before, or is too old to tell.
    #[error("replayed")]
    Replayed,
    /// Its tag does not fit.
    #[error("not authentic")]
    Forged,
}

/// There are no indices left: the session needs new keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SRTCP index is exhausted")]
pub struct IndexExhausted;

/// Seals what we send under one session's keys.
#[derive(Debug)]
pub struct Sealer {
    rtp: Cipher,
    rtcp: Cipher,
    profile: Profile,
    rtcp_index: u32,
    ssrcs: Vec<u32>,
}

/// Opens the RTCP that a peer sends under one session's keys.
#[derive(Debug)]
pub struct RtcpOpener {
    cipher: Cipher,
    profile: Profile,
    windows: ReplayWindows,
}

/// Makes both directions' ciphers out of what the DTLS exporter gave (RFC 5764 section 4.2):
/// client key, server key, client salt, server salt.
///
/// # Errors
/// [`KeyError`].
pub fn keys(material: &[u8], profile: Profile, end: End) -> Result<(Sealer, RtcpOpener), KeyError> {
    if material.len() != profile.material_len() {
        return Err(KeyError::Length(material.len()));
    }
    let (keys, salts) = material.split_at(2 * profile.key_len());
    let (client_key, server_key) = keys.split_at(profile.key_len());
    let (client_salt, server_salt) = salts.split_at(profile.salt_len());
    let (ours, theirs) = match end {
        End::Client => ((client_key, client_salt), (server_key, server_salt)),
        End::Server => ((server_key, server_salt), (client_key, client_salt)),
    };
    let sealer = Sealer {
        rtp: Cipher::new(profile, ours.0, ours.1, derive::Use::Rtp)?,
        rtcp: Cipher::new(profile, ours.0, ours.1, derive::Use::Rtcp)?,
        profile,
        rtcp_index: 0,
        ssrcs: Vec::new(),
    };
    let opener = RtcpOpener {
        cipher: Cipher::new(profile, theirs.0, theirs.1, derive::Use::Rtcp)?,
        profile,
        windows: ReplayWindows::default(),
    };
    Ok((sealer, opener))
}

impl Sealer {
    /// The only stream of an SSRC. `None`: it was made before.
    pub fn stream(&mut self, ssrc: u32) -> Option<SendStream> {
        if self.ssrcs.contains(&ssrc) {
            return None;
        }
        self.ssrcs.push(ssrc);
        Some(SendStream::new(ssrc))
    }

    /// Bytes that [`seal_rtp`](Self::seal_rtp) adds.
    #[must_use]
    pub fn tag_len(&self) -> usize {
        self.profile.tag_len()
    }

    /// Seals the RTP packet that begins at `start` of `buffer` and ends with it: its first `header`
    /// bytes are authenticated, the rest is encrypted, and the tag is appended.
    #[inline]
    pub fn seal_rtp(&self, index: PacketIndex, buffer: &mut Vec<u8>, start: usize, header: usize) {
        self.rtp.seal_rtp(index, buffer, start, header);
    }

    /// Seals the RTCP compound that begins at `start` of `buffer` and ends with it.
    ///
    /// # Errors
    /// [`IndexExhausted`] after 2^31 packets; nothing was sealed then.
    pub fn seal_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), IndexExhausted> {
        if self.rtcp_index == RTCP_INDEX_MAX {
            return Err(IndexExhausted);
        }
        self.rtcp_index += 1;
        self.rtcp.seal_rtcp(self.rtcp_index, buffer, start);
        Ok(())
    }
}

impl RtcpOpener {
    /// Opens an SRTCP packet in place. Returns the compound.
    ///
    /// # Errors
    /// [`OpenError`]; the buffer's content is of no use then.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        if packet.len() < RTCP_HEADER + RTCP_TRAILER + self.profile.tag_len() {
            return Err(OpenError::Short);
        }
        let word = self.cipher.rtcp_trailer(packet);
        if word >> 31 == 0 {
            return Err(OpenError::Plain);
        }
        let index = word & RTCP_INDEX_MAX;
        // The sender's SSRC, in the header, which is authenticated.
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        if !self.windows.is_new(ssrc, index) {
            return Err(OpenError::Replayed);
        }
        let length = self.cipher.open_rtcp(index, packet)?;
        // Only what is authentic may move the window (RFC 3711 section 3.3.2).
        self.windows.mark(ssrc, index);
        Ok(&packet[..length])
    }
}

/// Senders of one peer whose windows are kept: a browser has one for each kind of media.
const SENDERS_MAX: usize = 8;

/// A window for each SSRC that a peer sends RTCP from: each counts its own index (RFC 3711
/// section 3.2.3). One more than [`SENDERS_MAX`] takes the place of the one that was opened first.
#[derive(Debug)]
struct ReplayWindows {
    senders: Vec<(u32, ReplayWindow)>,
    /// Where the next sender beyond the bound goes.
    oldest: usize,
}

impl Default for ReplayWindows {
    /// With its memory: a report allocates nothing.
    fn default() -> Self {
        Self {
            senders: Vec::with_capacity(SENDERS_MAX),
            oldest: 0,
        }
    }
}

impl ReplayWindows {
    fn is_new(&self, ssrc: u32, index: u32) -> bool {
        let known = self.senders.iter().find(|(sender, _)| *sender == ssrc);
        known.is_none_or(|(_, window)| window.is_new(index))
    }

    fn mark(&mut self, ssrc: u32, index: u32) {
        let known = self.senders.iter().position(|(sender, _)| *sender == ssrc);
        let at = known.unwrap_or_else(|| {
            let fresh = (ssrc, ReplayWindow::default());
            if self.senders.len() < SENDERS_MAX {
                self.senders.push(fresh);
                return self.senders.len() - 1;
            }
            let at = self.oldest;
            self.oldest = (at + 1) % SENDERS_MAX;
            self.senders[at] = fresh;
            at
        });
        self.senders[at].1.mark(index);
    }
}

/// Which of the last 64 indices were seen (RFC 3711 section 3.3.2).
#[derive(Debug, Default)]
struct ReplayWindow {
    highest: u32,
    /// Bit n: `highest - n` was seen.
    seen: u64,
}

impl ReplayWindow {
    fn is_new(&self, index: u32) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(back) => back < 64 && self.seen & (1 << back) == 0,
        }
    }

    fn mark(&mut self, index: u32) {
        match self.highest.checked_sub(index) {
            Some(back) => self.seen |= 1 << back.min(63),
            None => {
                let ahead = index - self.highest;
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = index;
            }
        }
    }
}

/// Opens the RTP that [`Sealer`] makes, for tests.
#[cfg(test)]
pub(crate) struct RtpOpener(Cipher, Profile);

#[cfg(test)]
impl RtpOpener {
    /// Of what `sender` sends.
    pub(crate) fn new(material: &[u8], profile: Profile, sender: End) -> Self {
        let (sealer, _) = keys(material, profile, sender).expect("of the right length");
        Self(sealer.rtp, profile)
    }

    /// Opens in place. Returns where the plain packet ends.
    pub(crate) fn open(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header: usize,
    ) -> Result<usize, OpenError> {
        self.0.open_rtp(ssrc, index, packet, header)?;
        Ok(packet.len() - self.1.tag_len())
    }
}

#[cfg(test)]
mod tests;
