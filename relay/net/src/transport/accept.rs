//! Links that other nodes make.

use std::sync::Arc;
use std::time::Instant;

use lightstick_tasks::Tasks;
use quinn::Incoming;
use tokio::time::timeout;

use super::{HANDSHAKE_MAX, Hush, Shared};
use crate::event::{CloseReason, Direction, DownReason};
use crate::link::close;
use crate::refused::down_reason;

/// Links and handshakes beyond `links_max` that are told so before they are refused unheard.
const HANDSHAKES_MAX: usize = 64;

/// With more handshakes under way, peers must prove their address first (RFC 9000 section 8.1.2).
const UNPROVEN_MAX: usize = 16;

/// Accepts links until the endpoint ends.
pub(super) async fn run(shared: Arc<Shared>) -> Result<(), Fault> {
    let mut links = Tasks::default();
    let mut running = 0_usize;
    let mut refusals = Hush::default();
    let mut told = Hush::default();
    let (report, mut reports) = tokio::sync::mpsc::channel(HANDSHAKES_MAX);
    loop {
        tokio::select! {
            incoming = shared.endpoint.accept() => {
                let incoming = incoming.ok_or(Fault::Endpoint)?;
                let up = shared.counters.links_incoming();
                let busy = running.saturating_sub(up) >= HANDSHAKES_MAX;
                if busy {
                    shared.counters.refused_busy.add(1);
                    if let Some(hushed) = told.tell(Instant::now()) {
                        tracing::warn!(hushed, "too many handshakes at once: refused");
                    }
                    incoming.refuse();
                } else if running.saturating_sub(up) >= UNPROVEN_MAX && incoming.may_retry() {
                    // It fails only where the address is proven.
                    let _ = incoming.retry();
                } else {
                    running += 1;
                    let address = incoming.remote_address();
                    let (shared, report) = (Arc::clone(&shared), report.clone());
                    links.spawn("relay-link", async move {
                        if let Err(reason) = serve(&shared, incoming).await {
                            shared.counters.count(&reason);
                            // The receiver ends with the endpoint.
                            let _ = report.send((address, reason)).await;
                        }
                    });
                }
            }
            ended = links.ended() => {
                running -= 1;
                if ended.is_failure() {
                    return Err(Fault::Link(ended));
                }
            }
            Some((address, reason)) = reports.recv() => {
                if let Some(hushed) = refusals.tell(Instant::now()) {
                    tracing::warn!(%address, %reason, hushed, "a connection was not accepted");
                }
            }
        }
    }
}

/// Why no links are accepted any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the endpoint has ended")]
    Endpoint,
    #[error(transparent)]
    Link(#[from] lightstick_tasks::Ended),
}

/// # Errors
/// Why there was no link.
async fn serve(shared: &Shared, incoming: Incoming) -> Result<(), DownReason> {
    let connecting = incoming.accept().map_err(|error| down_reason(&error))?;
    let connection = timeout(HANDSHAKE_MAX, connecting).await;
    let connection = connection.map_err(|_| DownReason::TimedOut)?;
    let connection = connection.map_err(|error| down_reason(&error))?;
    if shared.counters.links_incoming() >= shared.config.links_max {
        close(&connection, &CloseReason::TooManyLinks);
        return Err(DownReason::ClosedHere(CloseReason::TooManyLinks));
    }
    shared
        .run_link(connection, Direction::Incoming)
        .await
        .map(drop)
}
