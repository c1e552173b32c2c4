//! Checks a peer's certificate.

use std::sync::Arc;

use lightstick_types::{NodeIdentity, NodeRole};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use super::Refusal;

/// What a certificate says about its node.
pub(crate) fn identity(certificate: &CertificateDer<'_>) -> Result<NodeIdentity, Refusal> {
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| Refusal::Unusable)?;
    let mut names = certificate.valid_uri_names();
    match (names.next(), names.next()) {
        (Some(uri), None) => uri.parse().map_err(|_| Refusal::NoIdentity),
        _ => Err(Refusal::NoIdentity),
    }
}

/// Accepts nodes of the cluster. Names of hosts do not matter: the certificate says who a node is, not
/// where.
#[derive(Debug)]
pub(super) struct Verifier {
    anchors: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(anchors: Vec<TrustAnchor<'static>>, provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self {
            anchors,
            algorithms: provider.signature_verification_algorithms,
        })
    }

    pub(super) fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        may: fn(NodeRole) -> bool,
    ) -> Result<NodeIdentity, Refusal> {
        let parsed = EndEntityCert::try_from(certificate).map_err(|_| Refusal::Unusable)?;
        parsed
            .verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                intermediates,
                now,
                usage,
                None,
                None,
            )
            .map_err(refusal)?;
        let identity = identity(certificate)?;
        if may(identity.role) {
            Ok(identity)
        } else {
            Err(Refusal::WrongRole)
        }
    }
}

fn refusal(error: webpki::Error) -> Refusal {
    match error {
        webpki::Error::CertExpired { .. } => Refusal::Expired,
        webpki::Error::CertNotValidYet { .. } => Refusal::NotYetValid,
        // The second: another CA of the same name.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            Refusal::ForeignCa
        }
        _ => Refusal::Unusable,
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let usage = KeyUsage::client_auth();
        self.check(
            certificate,
            intermediates,
            now,
            usage,
            NodeRole::may_be_child,
        )?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usage = KeyUsage::server_auth();
        self.check(
            certificate,
            intermediates,
            now,
            usage,
            NodeRole::may_be_parent,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls12_signature(self, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls13_signature(self, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
