//! Clients with RSA certificates.
//!
//! dimpl asks clients for ECDSA certificates alone, and a client that has only an RSA one, as GStreamer does, sends
//! none (RFC 5246 section 7.4.6). As the DTLS 1.2 server, we therefore widen the request by RSA on its way out, and
//! in the transcript that both sides hash and the client signs: the primitives that dimpl calls are ours to give.
//! Verification of RSA is here as well. As the client we still need a server with ECDSA.

use std::cell::Cell;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RsaParameters, UnparsedPublicKey,
};
use dimpl::CryptoError;
use dimpl::crypto::aws_lc_rs::default_provider as aws_lc;
use dimpl::crypto::{
    Buf, CryptoProvider, HashAlgorithm, HashContext, HashProvider, SignatureAlgorithm,
    SignatureVerifier,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;

/// How much longer a datagram with a request is than dimpl made it.
pub(super) const WIDENED_BY: usize = 5;

const RECORD_HEADER: usize = 13;
const HANDSHAKE: u8 = 22;
/// RFC 6347 section 4.2.2: type, length, sequence number, fragment's offset and length.
const MESSAGE_HEADER: usize = 12;
const CLIENT_HELLO: u8 = 1;
const CERTIFICATE_REQUEST: u8 = 13;
/// `ClientCertificateType` (RFC 5246 section 7.4.4, RFC 8422 section 5.5).
const RSA_SIGN: u8 = 1;
const ECDSA_SIGN: u8 = 64;
/// `SignatureAndHashAlgorithm`: RSA (PKCS #1) with SHA-256 and SHA-384.
const RSA_SCHEMES: [u8; 4] = [4, 1, 5, 1];
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

thread_local! {
    /// Whether the handshake that runs on this thread is one in which we are the server.
    static SERVING: Cell<bool> = const { Cell::new(false) };
}

/// Does a step of a handshake. As the server, the transcript has the wider request.
pub(super) fn step<T>(serving: bool, step: impl FnOnce() -> T) -> T {
    SERVING.set(serving);
    let done = step();
    SERVING.set(false);
    done
}

/// aws-lc's cryptography, which also verifies RSA.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        signature_verification: &Verifier,
        hash_provider: &Hashes,
        ..aws_lc()
    }
}

/// A datagram of the server's: the same with a wider request, if there is one in it.
pub(super) fn widen_datagram(mut datagram: &[u8]) -> Vec<u8> {
    let mut wide = Vec::with_capacity(datagram.len() + WIDENED_BY);
    while let Some((header, rest)) = datagram.split_at_checked(RECORD_HEADER) {
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let Some((fragment, behind)) = rest.split_at_checked(len) else {
            break;
        };
        let start = wide.len();
        wide.extend_from_slice(header);
        let plain = header[3..5] == [0, 0];
        if header[0] == HANDSHAKE && plain {
            widen_messages(fragment, &mut wide);
        } else {
            wide.extend_from_slice(fragment);
        }
        // It fits: a request is a few dozen bytes long.
        let len = (wide.len() - start - RECORD_HEADER) as u16;
        wide[start + 11..start + RECORD_HEADER].copy_from_slice(&len.to_be_bytes());
        datagram = behind;
    }
    wide.extend_from_slice(datagram);
    wide
}

/// Appends handshake messages to `wide`, with a wider request in place of dimpl's.
fn widen_messages(mut messages: &[u8], wide: &mut Vec<u8>) {
    while let Some((header, rest)) = messages.split_at_checked(MESSAGE_HEADER) {
        let number =
            |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
        let (len, offset, fragment) = (number(1), number(6), number(9));
        let Some((body, behind)) = rest.split_at_checked(fragment as usize) else {
            break;
        };
        let whole = offset == 0 && len == fragment;
        match body {
            // One type, and the length of the schemes, which is one byte's worth.
            [1, ECDSA_SIGN, 0, schemes, rest @ ..]
                if header[0] == CERTIFICATE_REQUEST
                    && whole
                    && rest.len() >= usize::from(*schemes) =>
            {
                let (ecdsa, authorities) = rest.split_at(usize::from(*schemes));
                let len = (len + WIDENED_BY as u32).to_be_bytes();
                wide.push(CERTIFICATE_REQUEST);
                wide.extend_from_slice(&len[1..]);
                wide.extend_from_slice(&header[4..9]);
                wide.extend_from_slice(&len[1..]);
                wide.extend_from_slice(&[2, ECDSA_SIGN, RSA_SIGN, 0]);
                wide.push(schemes + RSA_SCHEMES.len() as u8);
                wide.extend_from_slice(ecdsa);
                wide.extend_from_slice(&RSA_SCHEMES);
                wide.extend_from_slice(authorities);
            }
            _ => {
                wide.extend_from_slice(header);
                wide.extend_from_slice(body);
            }
        }
        messages = behind;
    }
    wide.extend_from_slice(messages);
}

/// What is hashed or signed: the transcript as the client knows it, and anything else as it is.
fn as_sent(data: &[u8]) -> Option<Vec<u8>> {
    if !SERVING.get() || data.first() != Some(&CLIENT_HELLO) {
        return None;
    }
    let mut wide = Vec::with_capacity(data.len() + WIDENED_BY);
    widen_messages(data, &mut wide);
    Some(wide)
}

#[derive(Debug)]
struct Hashes;

impl HashProvider for Hashes {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(Hash(aws_lc().hash_provider.create_hash(algorithm)))
    }
}

#[derive(Debug)]
struct Hash(Box<dyn HashContext>);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        let wide = as_sent(data);
        self.0.update(wide.as_deref().unwrap_or(data));
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.0.clone_and_finalize(out);
    }
}

#[derive(Debug)]
struct Verifier;

impl SignatureVerifier for Verifier {
    fn verify_signature(
        &self,
        certificate: &[u8],
        data: &[u8],
        signature: &[u8],
        hash: HashAlgorithm,
        algorithm: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let wide = as_sent(data);
        let data = wide.as_deref().unwrap_or(data);
        if algorithm == SignatureAlgorithm::RSA {
            verify_rsa(certificate, data, signature, hash)
        } else {
            let ecdsa = aws_lc().signature_verification;
            ecdsa.verify_signature(certificate, data, signature, hash, algorithm)
        }
    }
}

fn verify_rsa(
    certificate: &[u8],
    data: &[u8],
    signature: &[u8],
    hash: HashAlgorithm,
) -> Result<(), CryptoError> {
    let scheme: &RsaParameters = match hash {
        HashAlgorithm::SHA256 => &RSA_PKCS1_2048_8192_SHA256,
        HashAlgorithm::SHA384 => &RSA_PKCS1_2048_8192_SHA384,
        _ => {
            return Err(CryptoError::UnsupportedSignaturePair {
                signature: SignatureAlgorithm::RSA,
                hash,
            });
        }
    };
    let certificate =
        Certificate::from_der(certificate).map_err(|_| CryptoError::CertificateParseFailed)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    if key.algorithm.oid != RSA_ENCRYPTION {
        return Err(CryptoError::UnsupportedPublicKeyAlgorithm);
    }
    let key = key.subject_public_key.as_bytes();
    let key = key.ok_or(CryptoError::InvalidSubjectPublicKey)?;
    UnparsedPublicKey::new(scheme, key)
        .verify(data, signature)
        .map_err(|_| CryptoError::InvalidSignatureFormat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
        let len = [0, 0, body.len() as u8];
        let mut message = vec![kind];
        message.extend(len);
        message.extend([0, sequence, 0, 0, 0]);
        message.extend(len);
        message.extend(body);
        message
    }

    fn record(epoch: u8, fragment: &[u8]) -> Vec<u8> {
        let mut record = vec![HANDSHAKE, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 7, 0];
        record.push(fragment.len() as u8);
        record.extend(fragment);
        record
    }

    const NARROW: [u8; 10] = [1, ECDSA_SIGN, 0, 4, 4, 3, 5, 3, 0, 0];
    const WIDE: [u8; 15] = [2, ECDSA_SIGN, RSA_SIGN, 0, 8, 4, 3, 5, 3, 4, 1, 5, 1, 0, 0];

    #[test]
    fn a_request_is_widened_where_it_stands() {
        let done = message(14, 4, &[]);
        let narrow = [record(0, &message(13, 3, &NARROW)), record(0, &done)].concat();
        let wide = [record(0, &message(13, 3, &WIDE)), record(0, &done)].concat();
        assert_eq!(widen_datagram(&narrow), wide);
        assert_eq!(wide.len(), narrow.len() + WIDENED_BY);
        let together = [message(13, 3, &NARROW), done.clone()].concat();
        let widened = [message(13, 3, &WIDE), done].concat();
        assert_eq!(widen_datagram(&record(0, &together)), record(0, &widened));
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let encrypted = record(1, &message(13, 3, &NARROW));
        let other = record(0, &message(13, 3, &WIDE));
        let cut = record(0, &message(13, 3, &NARROW)[..14]);
        let short = record(0, &message(13, 3, &[1, ECDSA_SIGN, 0, 9, 4, 3]));
        for datagram in [encrypted, other, cut, short, vec![HANDSHAKE; 5], vec![]] {
            assert_eq!(widen_datagram(&datagram), datagram);
        }
    }

    #[test]
    fn the_transcript_is_widened_for_a_server_alone() {
        let transcript = [message(1, 0, &[3; 40]), message(13, 3, &NARROW)].concat();
        let sent = [message(1, 0, &[3; 40]), message(13, 3, &WIDE)].concat();
        assert_eq!(step(true, || as_sent(&transcript)), Some(sent));
        assert_eq!(step(false, || as_sent(&transcript)), None);
        assert_eq!(step(true, || as_sent(b"another hash")), None);
    }
}
