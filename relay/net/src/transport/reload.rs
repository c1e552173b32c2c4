//! Certificates that change while links are up: new links show and ask for the new ones.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::{Shared, settings};
use crate::tls::{CertificateFiles, Credentials};

/// Looks at the files until the transport ends.
pub(super) async fn run(shared: Arc<Shared>) -> Result<(), tokio::task::JoinError> {
    let config = &shared.config;
    let files = CertificateFiles {
        ca: config.ca_file.clone(),
        certificate: config.cert_file.clone(),
        key: config.key_file.clone(),
    };
    let mut every = interval(config.reload_every);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was loaded at the start may have changed since: the first look compares with nothing.
    let mut before = None;
    loop {
        every.tick().await;
        let looked = files.clone();
        // Disks may be slow, and links must not wait.
        let now = spawn_blocking(move || looked.fingerprint()).await?;
        if before.as_ref() == Some(&now) {
            continue;
        }
        let is_first = before.replace(now).is_none();
        let looked = files.clone();
        match spawn_blocking(move || Credentials::load(&looked)).await? {
            Ok(credentials) => {
                let server = settings::server(&credentials, &config.link);
                shared.endpoint.set_server_config(Some(server));
                let identity = credentials.identity().clone();
                shared.credentials.send_replace(credentials);
                if !is_first {
                    tracing::info!(node = %identity, "the relay's certificates were reloaded");
                }
            }
            Err(error) => {
                shared.counters.reloads_failed.add(1);
                tracing::warn!(%error, "the relay's certificates were not reloaded; keeping the old ones");
            }
        }
    }
}
