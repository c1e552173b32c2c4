//! Session keys from the master key (RFC 3711 section 4.3).

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::KeyError;

/// What a session key is for; its labels are in RFC 3711 section 4.3.1.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    Rtp,
    Rtcp,
}

/// The three values that are derived for each use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    Encryption,
    Authentication,
    Salt,
}

/// Fills `out` with the key of a label. The master salt is 14 bytes, or 12 for AEAD, which counts
/// as if zeros followed (RFC 7714 section 11). A key derivation rate of 0 is all that DTLS
/// negotiates.
pub(super) fn derive(
    master_key: &[u8],
    master_salt: &[u8],
    of: Use,
    label: Label,
    out: &mut [u8],
) -> Result<(), KeyError> {
    let mut iv = [0; 16];
    iv[..master_salt.len()].copy_from_slice(master_salt);
    let label = match label {
        Label::Encryption => 0,
        Label::Authentication => 1,
        Label::Salt => 2,
    };
    // The label stands before a 48-bit index of zero, against the low end of the 112-bit salt.
    iv[7] ^= match of {
        Use::Rtp => label,
        Use::Rtcp => label + 3,
    };
    out.fill(0);
    keystream(master_key, iv, out)
}

/// AES in counter mode over `data`.
fn keystream(key: &[u8], iv: [u8; 16], data: &mut [u8]) -> Result<(), KeyError> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| KeyError::Cipher)?;
    let key = EncryptingKey::ctr(key).map_err(|_| KeyError::Cipher)?;
    key.less_safe_encrypt(data, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| KeyError::Cipher)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .filter_map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
            .collect()
    }

    #[test]
    fn the_vectors_of_rfc_3711_b3() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let derived = |label, length| {
            let mut out = vec![0; length];
            derive(&key, &salt, Use::Rtp, label, &mut out).map(|()| out)
        };
        assert_eq!(
            derived(Label::Encryption, 16),
            Ok(hex("C61E7A93744F39EE10734AFE3FF7A087"))
        );
        assert_eq!(
            derived(Label::Salt, 14),
            Ok(hex("30CBBC08863D8C85D49DB34A9AE1"))
        );
        assert_eq!(
            derived(Label::Authentication, 20),
            Ok(hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"))
        );
    }
}
