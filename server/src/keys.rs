//! The keys of the configuration, and their change while the server runs.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use lightstick_signaling::token::{KeySet, SigningKey};

use crate::config::{AuthConfig, KeyConfig};

/// The keys that check tokens.
///
/// # Errors
/// A key without material, with too much of it, or with material that is no key.
pub fn load(auth: &AuthConfig) -> anyhow::Result<KeySet> {
    load_with(auth, 30)
}

pub(crate) fn load_with(auth: &AuthConfig, leeway_secs: u64) -> anyhow::Result<KeySet> {
    let mut keys = KeySet::new(leeway_secs);
    for (kid, key) in &auth.keys {
        let in_key = || format!("in [auth.keys.{kid}]");
        match material(key).with_context(in_key)? {
            Material::Secret(secret) => keys.add_hs256(kid, &secret).with_context(in_key)?,
            Material::Public(pem) => keys.add_ed25519(kid, &pem).with_context(in_key)?,
        }
    }
    Ok(keys)
}

/// The key that signs: the named one, or the only one.
pub(crate) fn signing_key(auth: &AuthConfig, kid: Option<&str>) -> anyhow::Result<SigningKey> {
    let (kid, key) = match kid {
        Some(kid) => auth
            .keys
            .get_key_value(kid)
            .with_context(|| format!("there is no key {kid:?} in [auth.keys]"))?,
        None if auth.keys.len() > 1 => {
            let names: Vec<&str> = auth.keys.keys().map(String::as_str).collect();
            bail!(
                "several keys are configured: choose one with --kid ({})",
                names.join(", ")
            )
        }
        None => auth.keys.iter().next().context(
            "no keys are configured, so there is nothing to sign with. In development mode the \
             server prints a publishing token when it starts",
        )?,
    };
    if let Some(path) = &key.private_key_file {
        return Ok(SigningKey::ed25519(kid, &read(path)?)?);
    }
    match material(key)? {
        Material::Secret(secret) => Ok(SigningKey::hs256(kid, &secret)?),
        Material::Public(_) => bail!("the key {kid:?} can only check tokens: set private_key_file"),
    }
}

enum Material {
    Secret(Vec<u8>),
    Public(Vec<u8>),
}

fn material(key: &KeyConfig) -> anyhow::Result<Material> {
    match (&key.secret, &key.secret_file, &key.public_key_file) {
        (Some(secret), None, None) => Ok(Material::Secret(secret.clone().into_bytes())),
        (None, Some(path), None) => {
            let mut secret = read(path)?;
            // Editors and `openssl rand` end the file with a newline that is no part of it.
            while secret.last().is_some_and(u8::is_ascii_whitespace) {
                secret.pop();
            }
            Ok(Material::Secret(secret))
        }
        (None, None, Some(path)) => Ok(Material::Public(read(path)?)),
        _ => bail!("set exactly one of secret, secret_file and public_key_file"),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Changes when a key file's content does. Unreadable files count as empty: loading explains.
pub(crate) fn fingerprint(auth: &AuthConfig) -> Vec<Vec<u8>> {
    let files = auth
        .keys
        .values()
        .flat_map(|key| [&key.secret_file, &key.public_key_file]);
    files
        .flatten()
        .map(|path| fs::read(path).unwrap_or_default())
        .collect()
}
