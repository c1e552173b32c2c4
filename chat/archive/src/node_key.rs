//! The node key: what wraps the users' keys, and what makes user ids findable but not readable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::{hmac, rand};

use crate::error::OpenError;
use crate::hex::parse_hex;

/// Bytes of a random nonce, in front of what is sealed with it.
pub(crate) const NONCE_BYTES: usize = 12;
/// Name of a user in tables: a keyed hash, cut to what makes collisions unthinkable.
pub(crate) type UserHash = [u8; 16];

/// Keys derived from the node key, one a purpose.
pub(crate) struct NodeKey {
    root: Prk,
    wrap: LessSafeKey,
    blob: LessSafeKey,
    index: hmac::Key,
    head: hmac::Key,
    check: [u8; 32],
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

fn expand(root: &Prk, purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    root.expand(&[purpose], Bytes32)
        .and_then(|okm| okm.fill(&mut key))
        .expect("32 bytes are within HKDF's limit");
    key
}

impl NodeKey {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let root = Salt::new(HKDF_SHA256, b"lightstick chat archive").extract(secret);
        let derive = |purpose: &[u8]| expand(&root, purpose);
        Self {
            wrap: aead_key(&derive(b"wrap")),
            blob: aead_key(&derive(b"blob")),
            index: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"index")),
            head: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"head")),
            check: derive(b"check"),
            root,
        }
    }

    /// A key for another purpose than those of the archive.
    pub(crate) fn derived(&self, purpose: &str) -> [u8; 32] {
        expand(&self.root, format!("for {purpose}").as_bytes())
    }

    /// Reads the key from its file, or makes both.
    pub(crate) fn load(path: &Path) -> Result<Self, OpenError> {
        match fs::read_to_string(path) {
            Ok(text) => {
                if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                    return Err(OpenError::NodeKeyFile);
                }
                let secret = parse_hex(text.trim()).ok_or(OpenError::NodeKeyFile)?;
                Ok(Self::new(&secret))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut secret = [0; 32];
                random(&mut secret);
                write_secret(path, &secret)?;
                Ok(Self::new(&secret))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(OpenError::NodeKeyFile),
            Err(error) => Err(error.into()),
        }
    }

    /// What the database keeps to notice a wrong key. Says nothing of the key.
    pub(crate) const fn check(&self) -> &[u8; 32] {
        &self.check
    }

    pub(crate) fn user_hash(&self, user: &str) -> UserHash {
        let tag = hmac::sign(&self.index, user.as_bytes());
        let mut hash = UserHash::default();
        hash.copy_from_slice(&tag.as_ref()[..16]);
        hash
    }

    /// Wraps a user's key for its row.
    pub(crate) fn wrap(&self, key_id: &[u8], key: &[u8; 32]) -> Vec<u8> {
        seal_random(&self.wrap, key_id, key)
    }

    /// Opens a wrapped key. None if it is not ours or was changed.
    pub(crate) fn unwrap(&self, key_id: &[u8], wrapped: &[u8]) -> Option<LessSafeKey> {
        let secret = open(&self.wrap, key_id, wrapped)?;
        UnboundKey::new(&AES_256_GCM, &secret)
            .ok()
            .map(LessSafeKey::new)
    }

    /// Seals what belongs to no single user.
    pub(crate) fn seal_blob(&self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        seal_random(&self.blob, aad, plain)
    }

    pub(crate) fn open_blob(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        open(&self.blob, aad, sealed)
    }

    /// Signs the head of an audit chain.
    pub(crate) fn sign_head(&self, head: &[u8]) -> Vec<u8> {
        hmac::sign(&self.head, head).as_ref().to_vec()
    }

    pub(crate) fn verify_head(&self, head: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.head, head, mac).is_ok()
    }
}

/// Fills with random bytes. Without them nothing here is safe, so their lack is fatal.
pub(crate) fn random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system gives random bytes");
}

pub(crate) fn aead_key(secret: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).expect("32 bytes are a key"))
}

/// Nonce, ciphertext and tag in one run.
pub(crate) fn seal(
    key: &LessSafeKey,
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(NONCE_BYTES + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut sealed[NONCE_BYTES..],
        )
        .expect("records are far below the limit of AES-GCM");
    sealed.extend_from_slice(tag.as_ref());
    sealed
}

/// The reverse of [`seal`]. None if key or context are others, or a bit was changed.
pub(crate) fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let mut plain = rest.to_vec();
    let len = key
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            &mut plain,
        )
        .ok()?
        .len();
    plain.truncate(len);
    Some(plain)
}

fn seal_random(key: &LessSafeKey, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    random(&mut nonce);
    seal(key, nonce, aad, plain)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(b & 15)])
        .collect()
}

// A crash must not leave half a key under the final name: everything sealed with it would be lost.
fn write_secret(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{}", to_hex(secret))?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let first = NodeKey::load(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let second = NodeKey::load(&path).unwrap();
        assert_eq!(first.user_hash("u"), second.user_hash("u"));
        assert_eq!(first.check(), second.check());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(NodeKey::load(&path), Err(OpenError::NodeKeyFile)));
    }

    #[test]
    fn a_broken_key_file_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        for content in [&b"short"[..], &[0xff; 64], b""] {
            let _ = fs::remove_file(&path);
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .unwrap();
            file.write_all(content).unwrap();
            assert!(matches!(NodeKey::load(&path), Err(OpenError::NodeKeyFile)));
        }
    }

    #[test]
    fn what_is_sealed_opens_in_its_context_only() {
        let node = NodeKey::new(&[7; 32]);
        let sealed = node.seal_blob(b"room a", b"state");
        assert_eq!(node.open_blob(b"room a", &sealed).unwrap(), b"state");
        assert_eq!(node.open_blob(b"room b", &sealed), None);
        assert_eq!(NodeKey::new(&[8; 32]).open_blob(b"room a", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(node.open_blob(b"room a", &changed), None, "byte {at}");
            assert_eq!(
                node.open_blob(b"room a", &sealed[..at]),
                None,
                "cut at {at}"
            );
        }
    }
}
