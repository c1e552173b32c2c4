//! This node's certificate and key, and the CA that it trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use lightstick_types::NodeIdentity;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use webpki::{KeyUsage, anchor_from_trusted_cert};

use super::Refusal;
use super::verify::Verifier;

/// The application protocol (ALPN) of links.
const PROTOCOL: &[u8] = b"lightstick-relay/1";

/// Where certificates and keys are, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Certificates of the cluster's CA: several while one takes the place of another.
    pub ca: PathBuf,
    /// The node's certificate, then intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Changes when a file's content does. Unreadable files count as empty: loading explains.
    pub(crate) fn fingerprint(&self) -> [Vec<u8>; 3] {
        [&self.ca, &self.certificate, &self.key].map(|path| fs::read(path).unwrap_or_default())
    }
}

/// What a node shows of itself, and whom it accepts.
#[derive(Clone)]
pub struct Credentials {
    identity: NodeIdentity,
    server: Arc<QuicServerConfig>,
    client: Arc<QuicClientConfig>,
}

impl std::fmt::Debug for Credentials {
    /// Nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credentials").field(&self.identity).finish()
    }
}

/// Why a node cannot show who it is.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("cannot read {file}: {error}; `lightstick cert` makes certificates")]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{file} holds no {wanted} in PEM")]
    Empty { file: PathBuf, wanted: &'static str },
    #[error("{file}, of this node itself: {refusal}")]
    Refused { file: PathBuf, refusal: Refusal },
    #[error("the certificate in {certificate} and the key in {key}: {error}")]
    Unusable {
        certificate: PathBuf,
        key: PathBuf,
        error: rustls::Error,
    },
}

impl Credentials {
    /// Reads the files, and checks that other nodes of the cluster would accept the certificate now.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub fn load(files: &CertificateFiles) -> Result<Self, CredentialsError> {
        Self::load_at(files, UnixTime::now())
    }

    /// The same as if it were `now`.
    pub(crate) fn load_at(
        files: &CertificateFiles,
        now: UnixTime,
    ) -> Result<Self, CredentialsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let anchors = certificates(&files.ca)?;
        let anchors: Vec<_> = anchors
            .iter()
            .map(|certificate| anchor_from_trusted_cert(certificate).map(|a| a.to_owned()))
            .collect::<Result<_, _>>()
            .map_err(|_| CredentialsError::Refused {
                file: files.ca.clone(),
                refusal: Refusal::Unusable,
            })?;
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|_| {
            CredentialsError::Empty {
                file: files.key.clone(),
                wanted: "private key",
            }
        })?;
        let verifier = Verifier::new(anchors, &provider);
        let identity =
            own_identity(&verifier, &chain, now).map_err(|refusal| CredentialsError::Refused {
                file: files.certificate.clone(),
                refusal,
            })?;
        let unusable = |error| CredentialsError::Unusable {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            error,
        };
        let server = server(&provider, &verifier, &chain, key.clone_key()).map_err(unusable)?;
        let client = client(provider, verifier, Some((chain, key))).map_err(unusable)?;
        Ok(Self {
            identity,
            server,
            client,
        })
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    pub(crate) fn server(&self) -> Arc<QuicServerConfig> {
        Arc::clone(&self.server)
    }

    pub(crate) fn client(&self) -> Arc<QuicClientConfig> {
        Arc::clone(&self.client)
    }

    /// The same node without a certificate to show when it connects.
    #[cfg(test)]
    pub(crate) fn anonymous(&self, ca: &Path) -> Self {
        self.connecting(ca, None)
    }

    /// The same node with the certificate in `files`, which accepts parents of another CA.
    #[cfg(test)]
    pub(crate) fn trusting(&self, ca: &Path, files: &CertificateFiles) -> Self {
        let chain = certificates(&files.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key).unwrap()).unwrap();
        self.connecting(ca, Some((chain, key)))
    }

    #[cfg(test)]
    fn connecting(
        &self,
        ca: &Path,
        shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let anchors = certificates(ca).unwrap();
        let anchors = anchors
            .iter()
            .map(|c| anchor_from_trusted_cert(c).unwrap().to_owned());
        let verifier = Verifier::new(anchors.collect(), &provider);
        Self {
            client: client(provider, verifier, shown).unwrap(),
            ..self.clone()
        }
    }
}

/// Both usages are checked: each node connects and is connected to by the same certificate.
fn own_identity(
    verifier: &Verifier,
    chain: &[CertificateDer<'static>],
    now: UnixTime,
) -> Result<NodeIdentity, Refusal> {
    let (own, intermediates) = chain.split_first().ok_or(Refusal::NoCertificate)?;
    let any = |_| true;
    verifier.check(own, intermediates, now, KeyUsage::server_auth(), any)?;
    verifier.check(own, intermediates, now, KeyUsage::client_auth(), any)
}

// Neither resumes sessions: a resumed one would not show its certificate again. Without tickets there is
// no 0-RTT either, which could be replayed.

fn server(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<Verifier>,
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
) -> Result<Arc<QuicServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(verifier) as _)
        .with_single_cert(chain.to_vec(), key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config)
        .map(Arc::new)
        .map_err(|error| rustls::Error::General(error.to_string()))
}

fn client(
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<QuicClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::try_from(config)
        .map(Arc::new)
        .map_err(|error| rustls::Error::General(error.to_string()))
}

fn read(file: &Path) -> Result<Vec<u8>, CredentialsError> {
    fs::read(file).map_err(|error| CredentialsError::Unreadable {
        file: file.to_owned(),
        error,
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let pem = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(CredentialsError::Empty {
            file: file.to_owned(),
            wanted: "certificate",
        }),
    }
}
