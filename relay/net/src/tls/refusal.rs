//! Why a certificate is not accepted.

use rustls::{AlertDescription, CertificateError, OtherError};

/// Why a peer is refused before there is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("no certificate was sent")]
    NoCertificate,
    #[error("the certificate is not from this cluster's CA")]
    ForeignCa,
    #[error("the certificate has expired, or a clock is wrong")]
    Expired,
    #[error("the certificate is not valid yet, or a clock is wrong")]
    NotYetValid,
    #[error("the certificate names no node")]
    NoIdentity,
    /// An edge was connected to, or an origin connected.
    #[error("the certificate's role does not allow this link")]
    WrongRole,
    /// Malformed, for another purpose, or its key was not proven.
    #[error("the certificate is not usable")]
    Unusable,
    /// The other end does not speak this protocol, or not this version of it.
    #[error("the peer speaks another protocol")]
    Protocol,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 8] = [
        Self::NoCertificate,
        Self::ForeignCa,
        Self::Expired,
        Self::NotYetValid,
        Self::NoIdentity,
        Self::WrongRole,
        Self::Unusable,
        Self::Protocol,
    ];

    /// As labels of metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::ForeignCa => "foreign_ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoIdentity => "no_identity",
            Self::WrongRole => "wrong_role",
            Self::Unusable => "unusable",
            Self::Protocol => "protocol",
        }
    }
}

/// What a verifier answers, chosen so that `refusal_of_alert` finds the refusal again at both ends.
impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(match refusal {
            Refusal::NoCertificate => return Self::NoCertificatesPresented,
            Refusal::Protocol => return Self::NoApplicationProtocol,
            Refusal::ForeignCa => CertificateError::UnknownIssuer,
            Refusal::Expired => CertificateError::Expired,
            Refusal::NotYetValid => CertificateError::NotValidYet,
            Refusal::NoIdentity => {
                CertificateError::Other(OtherError(std::sync::Arc::new(refusal)))
            }
            Refusal::WrongRole => CertificateError::ApplicationVerificationFailure,
            Refusal::Unusable => CertificateError::BadEncoding,
        })
    }
}

/// The refusal behind a TLS alert. One alert stands for both ends of a certificate's validity
/// (RFC 8446 section 6.2); `text` comes with it and tells them apart.
pub(crate) fn refusal_of_alert(alert: u8, text: &str) -> Refusal {
    match AlertDescription::from(alert) {
        AlertDescription::CertificateRequired => Refusal::NoCertificate,
        AlertDescription::UnknownCA => Refusal::ForeignCa,
        AlertDescription::CertificateExpired if text.contains("NotValidYet") => {
            Refusal::NotYetValid
        }
        AlertDescription::CertificateExpired => Refusal::Expired,
        AlertDescription::CertificateUnknown => Refusal::NoIdentity,
        AlertDescription::AccessDenied => Refusal::WrongRole,
        AlertDescription::BadCertificate
        | AlertDescription::DecryptError
        | AlertDescription::UnsupportedCertificate => Refusal::Unusable,
        _ => Refusal::Protocol,
    }
}
