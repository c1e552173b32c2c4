//! The operators' listener: metrics and health.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::supervise::Readiness;

#[derive(Clone)]
struct Operations {
    metrics: Arc<Metrics>,
    ready: watch::Receiver<Readiness>,
}

/// `/healthz`: the process answers. `/readyz`: new sessions are welcome, or
/// why not. `/metrics`: Prometheus.
pub(crate) fn router(metrics: Arc<Metrics>, ready: watch::Receiver<Readiness>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Operations { metrics, ready })
}

async fn readyz(State(operations): State<Operations>) -> impl IntoResponse {
    let readiness = operations.ready.borrow();
    let status = match *readiness {
        Readiness::Ready => StatusCode::OK,
        Readiness::Draining | Readiness::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{}\n", *readiness))
}

async fn scrape(State(operations): State<Operations>) -> impl IntoResponse {
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    match operations.metrics.scrape() {
        Ok(text) => (content_type, text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
