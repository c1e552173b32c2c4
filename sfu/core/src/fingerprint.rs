//! Fingerprints of a peer's certificate (RFC 8122 section 5).

use aws_lc_rs::digest::{self, Algorithm};

/// Most lines of an offer that are read.
const LINES_MAX: usize = 32;

/// The hash functions, best last, as RFC 8122 section 5 names them. MD5 and MD2 prove nothing.
const HASHES: [(&str, &Algorithm); 5] = [
    ("sha-1", &digest::SHA1_FOR_LEGACY_USE_ONLY),
    ("sha-224", &digest::SHA224),
    ("sha-256", &digest::SHA256),
    ("sha-384", &digest::SHA384),
    ("sha-512", &digest::SHA512),
];

/// What a session description says about the certificates of its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints {
    /// With the strongest hash function that was named: its place in [`HASHES`].
    hash: usize,
    digests: Vec<Vec<u8>>,
}

impl Fingerprints {
    /// Reads `a=fingerprint` lines of a session and of its sections: bundled, they are the same
    /// transport's.
    #[must_use]
    pub fn read(sdp: &str) -> Self {
        let values = sdp
            .lines()
            .filter_map(|line| line.trim_end().strip_prefix("a=fingerprint:"));
        let mut read = Self::default();
        for (hash, digest) in values.take(LINES_MAX).filter_map(parse) {
            if read.digests.is_empty() || hash > read.hash {
                read = Self {
                    hash,
                    digests: vec![digest],
                };
            } else if hash == read.hash && !read.digests.contains(&digest) {
                read.digests.push(digest);
            }
        }
        read
    }

    /// Whether there is none whose hash function we know.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether a certificate, in DER, is one of them. Of several hash functions the strongest
    /// counts, and of several certificates each (RFC 8122 section 5.1).
    #[must_use]
    pub fn matches(&self, certificate: &[u8]) -> bool {
        let (_, algorithm) = HASHES[self.hash];
        let digest = digest::digest(algorithm, certificate);
        self.digests.iter().any(|known| known == digest.as_ref())
    }
}

/// `sha-256 AB:CD:...`, in either case: the grammar is ABNF's, which knows no difference.
fn parse(value: &str) -> Option<(usize, Vec<u8>)> {
    let (name, digits) = value.trim().split_once(' ')?;
    let named = |(known, _): &(&str, &Algorithm)| name.eq_ignore_ascii_case(known);
    let hash = HASHES.iter().position(named)?;
    let pairs = digits.trim().split(':');
    let bytes = pairs.map(|pair| {
        let hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        hex.then(|| u8::from_str_radix(pair, 16).ok())?
    });
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    (bytes.len() == HASHES[hash].1.output_len()).then_some((hash, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(hash: usize, certificate: &[u8], upper: bool) -> String {
        let (name, algorithm) = HASHES[hash];
        let digest = digest::digest(algorithm, certificate);
        let pairs: Vec<String> = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let line = format!("{name} {}", pairs.join(":"));
        let line = if upper { line.to_uppercase() } else { line };
        format!("a=fingerprint:{line}\r\n")
    }

    #[test]
    fn each_hash_function_in_either_case() {
        for hash in 0..HASHES.len() {
            for upper in [false, true] {
                let read =
                    Fingerprints::read(&format!("v=0\r\n{}m=audio\r\n", line(hash, b"a", upper)));
                assert!(read.matches(b"a") && !read.matches(b"b"), "{hash}");
            }
        }
    }

    #[test]
    fn the_strongest_of_several_and_any_certificate_of_it() {
        let lines = [
            line(0, b"weak", true),
            line(2, b"a", true),
            line(2, b"b", false),
        ]
        .concat();
        let read = Fingerprints::read(&format!("v=0\r\nm=audio\r\n{lines}m=video\r\n{lines}"));
        assert!(read.matches(b"a") && read.matches(b"b"));
        assert!(!read.matches(b"weak"), "a weaker hash may be forged");
    }

    #[test]
    fn what_is_no_fingerprint() {
        let good = line(2, b"a", true);
        for bad in [
            "",
            "a=fingerprint:",
            "a=fingerprint:sha-256",
            "a=fingerprint:sha-256 AB:CD",
            &good.replace("SHA-256", "MD5"),
            &good.replace("SHA-256", "SHA-384"),
            &good.replacen(':', "", 2),
            &good.trim_end()[..good.trim_end().len() - 1],
            &format!("{}:", good.trim_end()),
            &good.replacen(':', ":+", 2),
        ] {
            let read = Fingerprints::read(bad);
            assert!(read.is_empty() && !read.matches(b"a"), "{bad}");
        }
    }
}
