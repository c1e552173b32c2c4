//! DTLS for every session: one configuration for all, and a viewer's media keys go to our egress.
//!
//! str0m makes its DTLS through the provider here. What the handshake of a viewer derives for SRTP
//! is put into a [`KeyDrop`] instead of being shown to str0m, so that nobody else can ever seal
//! anything under those keys.

mod rsa;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls};
use lightstick_sfu_core::fingerprint::Fingerprints;
use lightstick_sfu_core::sctp::Guard;
use lightstick_sfu_core::srtp::{self, End, KeyError, Profile, RtcpOpener, Sealer};
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion, SrtpProfile,
};

/// str0m's cryptography with our DTLS in it.
pub(crate) fn crypto() -> CryptoProvider {
    static PROVIDER: OnceLock<Provider> = OnceLock::new();
    let standard = str0m::crypto::from_feature_flags();
    let dtls = standard.dtls_provider;
    let provider = PROVIDER.get_or_init(|| Provider {
        standard: dtls,
        config: OnceLock::new(),
    });
    CryptoProvider {
        dtls_provider: provider,
        ..standard
    }
}

/// Where a handshake leaves its SRTP keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyDrop(Arc<Mutex<Option<Keys>>>);

/// Keying material as the DTLS exporter gave it (RFC 5764 section 4.2).
struct Keys {
    material: Vec<u8>,
    profile: Profile,
    end: End,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl KeyDrop {
    /// Makes sessions in `build` whose keys are left in the returned drop.
    pub(crate) fn while_building<T>(build: impl FnOnce() -> T) -> (T, Self) {
        let keys = Self::default();
        DROP.set(Some(keys.clone()));
        let built = build();
        DROP.set(None);
        (built, keys)
    }

    /// Takes the keys, which are there once the handshake is done. `None`: it agreed on none, or
    /// they were taken before.
    pub(crate) fn take(&self) -> Option<Result<(Sealer, RtcpOpener), KeyError>> {
        let keys = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        Some(srtp::keys(&keys.material, keys.profile, keys.end))
    }

    fn leave(&self, keys: Keys) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(keys);
    }
}

/// Whose certificate a handshake must show.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    fingerprints: Arc<Fingerprints>,
    refused: Arc<AtomicBool>,
}

impl Peer {
    /// Makes a session in `build` that talks to the holder of one of those certificates only.
    pub(crate) fn while_building<T>(
        fingerprints: Fingerprints,
        build: impl FnOnce() -> T,
    ) -> (T, Self) {
        let peer = Self {
            fingerprints: Arc::new(fingerprints),
            refused: Arc::default(),
        };
        PEER.set(Some(peer.clone()));
        let built = build();
        PEER.set(None);
        (built, peer)
    }

    /// Whether the handshake has shown another certificate.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn accepts(&self, certificate: &[u8]) -> bool {
        let accepts = self.fingerprints.matches(certificate);
        self.refused.fetch_or(!accepts, Ordering::Relaxed);
        accepts
    }
}

/// Authentic data that DTLS has opened on this thread, so far.
pub(crate) fn opened() -> u64 {
    OPENED.get()
}

/// SCTP packets that were refused on this thread.
pub(crate) fn refused() -> u64 {
    REFUSED.get()
}

thread_local! {
    static OPENED: Cell<u64> = const { Cell::new(0) };
    static REFUSED: Cell<u64> = const { Cell::new(0) };
    /// Of the session that is being built on this thread.
    static DROP: RefCell<Option<KeyDrop>> = const { RefCell::new(None) };
    static PEER: RefCell<Option<Peer>> = const { RefCell::new(None) };
}

/// A flight is first repeated after so long, then twice as long each time: 19 s in all. RFC 6347
/// section 4.2.4.1 has 1 s, less where time matters; some clients drop the first ClientHello.
const REPEAT_AFTER: Duration = Duration::from_millis(150);
const REPEATS: usize = 7;

/// Makes DTLS instances that share a configuration: building one tests all ciphers, which costs
/// more than the rest of a join.
#[derive(Debug)]
struct Provider {
    standard: &'static dyn DtlsProvider,
    config: OnceLock<(Option<usize>, Arc<Config>)>,
}

impl Provider {
    fn config(&self, mtu: Option<usize>) -> Result<Arc<Config>, CryptoError> {
        if let Some((_, config)) = self.config.get().filter(|(of, _)| *of == mtu) {
            return Ok(Arc::clone(config));
        }
        // No cookies: a session's address has answered a connectivity check before its DTLS is read.
        let mut builder = Config::builder()
            .with_crypto_provider(rsa::provider())
            .flight_start_rto(REPEAT_AFTER)
            .flight_retries(REPEATS)
            .use_server_cookie(false);
        if let Some(mtu) = mtu {
            builder = builder.mtu(mtu);
        }
        let config = builder.build().map(Arc::new)?;
        let _ = self.config.set((mtu, Arc::clone(&config)));
        Ok(config)
    }
}

impl DtlsProvider for Provider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.standard.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let (config, cert) = (self.config(mtu)?, cert.clone());
        let dtls = match version {
            DtlsVersion::Dtls12 => Dtls::new_12(config, cert, now),
            DtlsVersion::Dtls13 => Dtls::new_13(config, cert, now),
            _ => Dtls::new_auto(config, cert, now),
        };
        Ok(Box::new(Instance {
            dtls,
            keys: DROP.with_borrow(Clone::clone),
            peer_shown: false,
            peer: PEER.with_borrow(Clone::clone),
            accepted: false,
            refused: false,
            guard: Guard::default(),
            now,
        }))
    }
}

/// Longer than any session lasts after its handshake has failed.
const NEVER: Duration = Duration::from_secs(3_600);

struct Instance {
    dtls: Dtls,
    keys: Option<KeyDrop>,
    /// Whether the peer has shown its certificate, so that nobody asks for it any more.
    peer_shown: bool,
    peer: Option<Peer>,
    /// It has shown a certificate of the offer.
    accepted: bool,
    /// It has not: nothing more goes in or out.
    refused: bool,
    guard: Guard,
    now: Instant,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl Instance {
    /// Output of a server whose peer has not shown its certificate: with what it asks for it.
    fn poll_asking<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let mut narrow = vec![0; buf.len().saturating_sub(rsa::WIDENED_BY)];
        let output = rsa::step(true, || self.dtls.poll_output(&mut narrow));
        let shown = match output {
            DtlsOutput::Packet(packet) => {
                let wide = rsa::widen_datagram(packet);
                let packet = &mut buf[..wide.len()];
                packet.copy_from_slice(&wide);
                return DtlsOutput::Packet(packet);
            }
            DtlsOutput::PeerCert(certificate) => certificate,
            DtlsOutput::Timeout(at) => return DtlsOutput::Timeout(at),
            DtlsOutput::BufferTooSmall { needed } => {
                return DtlsOutput::BufferTooSmall {
                    needed: needed + rsa::WIDENED_BY,
                };
            }
            DtlsOutput::CloseNotify => return DtlsOutput::CloseNotify,
            // All else comes after the certificate.
            _ => return DtlsOutput::Timeout(self.now),
        };
        self.peer_shown = true;
        let certificate = &mut buf[..shown.len()];
        certificate.copy_from_slice(shown);
        DtlsOutput::PeerCert(certificate)
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        if self.refused {
            return Ok(());
        }
        rsa::step(!self.dtls.is_active(), || self.dtls.handle_packet(packet))
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        if self.refused {
            return DtlsOutput::Timeout(self.now + NEVER);
        }
        let end = if self.dtls.is_active() {
            End::Client
        } else {
            End::Server
        };
        let output = if !self.peer_shown && !self.dtls.is_active() {
            self.poll_asking(buf)
        } else {
            self.dtls.poll_output(buf)
        };
        let accepted = match &output {
            DtlsOutput::PeerCert(certificate) => {
                let accepts = |peer: &Peer| peer.accepts(certificate);
                self.accepted = self.peer.as_ref().is_some_and(accepts);
                self.accepted
            }
            DtlsOutput::Connected
            | DtlsOutput::KeyingMaterial(..)
            | DtlsOutput::ApplicationData(_) => self.accepted,
            _ => true,
        };
        if !accepted {
            // str0m ends the session as if the peer had.
            self.refused = true;
            return DtlsOutput::CloseNotify;
        }
        if let DtlsOutput::ApplicationData(packet) = &output {
            OPENED.set(OPENED.get() + 1);
            // `self.now` stands still between timeouts.
            if self.guard.admits(packet, Instant::now()) {
                return output;
            }
            REFUSED.set(REFUSED.get() + 1);
            // Too short for SCTP: str0m goes on with what follows.
            return DtlsOutput::ApplicationData(&[]);
        }
        let (DtlsOutput::KeyingMaterial(material, profile), Some(keys)) = (&output, &self.keys)
        else {
            return output;
        };
        let profile = match *profile {
            SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
            SrtpProfile::AEAD_AES_128_GCM => Profile::Aes128Gcm,
            SrtpProfile::AEAD_AES_256_GCM => Profile::Aes256Gcm,
            // Of no use to anybody: without keys the session is closed as soon as it connects.
            _ => return DtlsOutput::Timeout(self.now),
        };
        keys.leave(Keys {
            material: material.to_vec(),
            profile,
            end,
        });
        // A time that has come: there may be more to poll for.
        DtlsOutput::Timeout(self.now)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        rsa::step(!self.dtls.is_active(), || self.dtls.handle_timeout(now))
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.dtls.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}
