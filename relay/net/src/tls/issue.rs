//! Makes a private CA and certificates of nodes, for development and small set-ups.

use std::time::Duration;

use lightstick_types::NodeIdentity;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

/// Certificates are valid since so long before they were made: clocks of nodes may differ by minutes.
pub const NOT_BEFORE_MARGIN: Duration = Duration::from_secs(3_600);

/// A certificate and its private key, both PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the CA's key is not usable: {0}")]
    CaKey(rcgen::Error),
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// A new CA, valid from [`NOT_BEFORE_MARGIN`] before `now`.
///
/// # Errors
/// A validity that no certificate can express.
pub fn issue_ca(now: OffsetDateTime, validity: Duration) -> Result<Issued, IssueError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = ca_name(&key);
    set_validity(&mut params, now, validity);
    let certificate = params.self_signed(&key)?;
    Ok(Issued {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// A certificate of a node by a CA that [`issue_ca`] made, for links in both directions.
///
/// # Errors
/// A CA of another kind, or a key that is none.
pub fn issue_node(
    ca_key: &str,
    identity: &NodeIdentity,
    now: OffsetDateTime,
    validity: Duration,
) -> Result<Issued, IssueError> {
    let ca_key = KeyPair::from_pem(ca_key).map_err(IssueError::CaKey)?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name = ca_name(&ca_key);
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(identity.name.as_str());
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(identity.to_string())?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, validity);
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Issued {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Follows from the key, and so is unlike any other CA's.
fn ca_name(key: &KeyPair) -> DistinguishedName {
    let end = key.public_key_raw().iter().rev().take(8);
    let end: String = end.map(|byte| format!("{byte:02x}")).collect();
    common_name(&format!("Lightstick cluster {end}"))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn set_validity(params: &mut CertificateParams, now: OffsetDateTime, validity: Duration) {
    params.not_before = now - NOT_BEFORE_MARGIN;
    params.not_after = now + validity;
}
