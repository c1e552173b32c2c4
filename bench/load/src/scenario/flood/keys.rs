//! The SRTP keys of the generator's own session: an attacker forges reports with them.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use lightstick_sfu_core::srtp::{self, End, Profile, Sealer};
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion, SrtpProfile,
};

thread_local! {
    /// Of the session that is being built on this thread.
    static KEYS: RefCell<Option<Keys>> = const { RefCell::new(None) };
}

/// Keying material as the DTLS exporter gave it (RFC 5764 section 4.2).
#[derive(Debug)]
struct Material {
    bytes: Vec<u8>,
    profile: Profile,
}

/// Where a handshake leaves what it agreed on.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Arc<Mutex<Option<Material>>>);

impl Keys {
    /// Makes a session in `build` whose keys are left in what is returned.
    pub(super) fn of<T>(build: impl FnOnce() -> T) -> (T, Self) {
        install();
        let keys = Self::default();
        KEYS.set(Some(keys.clone()));
        let built = build();
        KEYS.set(None);
        (built, keys)
    }

    /// What seals under them; none before the handshake is done.
    pub(super) fn sealer(&self) -> Option<Sealer> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Material { bytes, profile } = keys.as_ref()?;
        // The server answers our offer as the passive side.
        let (sealer, _) = srtp::keys(bytes, *profile, End::Client).ok()?;
        Some(sealer)
    }
}

fn install() {
    static PROVIDER: OnceLock<Provider> = OnceLock::new();
    let standard = str0m::crypto::from_feature_flags();
    let dtls = standard.dtls_provider;
    let provider = PROVIDER.get_or_init(|| Provider(dtls));
    let provider = CryptoProvider {
        dtls_provider: provider,
        ..standard
    };
    provider.install_process_default();
}

#[derive(Debug)]
struct Provider(&'static dyn DtlsProvider);

impl DtlsProvider for Provider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.0.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = self.0.new_dtls(cert, now, version, mtu)?;
        let keys = KEYS.with_borrow(Clone::clone);
        Ok(Box::new(Overheard { inner, keys }))
    }
}

#[derive(Debug)]
struct Overheard {
    inner: Box<dyn DtlsInstance>,
    keys: Option<Keys>,
}

impl DtlsInstance for Overheard {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.inner.poll_output(buf);
        if let (DtlsOutput::KeyingMaterial(material, profile), Some(keys)) = (&output, &self.keys) {
            let profile = match *profile {
                SrtpProfile::AEAD_AES_128_GCM => Profile::Aes128Gcm,
                SrtpProfile::AEAD_AES_256_GCM => Profile::Aes256Gcm,
                _ => Profile::Aes128CmSha1_80,
            };
            let mut place = keys.0.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = material.to_vec();
            *place = Some(Material { bytes, profile });
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}
