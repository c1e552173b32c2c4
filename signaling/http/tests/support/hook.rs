//! A receiver of webhooks: takes requests, checks their signatures, answers as a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::task::AbortOnDropHandle;

use super::PATIENCE;

/// In base64 behind `whsec_`.
pub(crate) const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const KEY: &[u8] = b"01234567890123456789012345678901";

/// What to do with a request.
pub(crate) enum Answer {
    Status(u16),
    Json(Value),
    Hang,
}

#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) body: Value,
}

type Decide = Box<dyn FnMut(&Value) -> Answer + Send>;

struct Shared {
    decide: Mutex<Decide>,
    told: mpsc::Sender<Told>,
}

/// Requests that a test may leave unread.
const UNREAD_MAX: usize = 1_024;

pub(crate) struct Hook {
    pub(crate) addr: SocketAddr,
    told: mpsc::Receiver<Told>,
    _serving: AbortOnDropHandle<()>,
}

impl Hook {
    /// `decide` is asked with the body of each request.
    pub(crate) async fn start(decide: impl FnMut(&Value) -> Answer + Send + 'static) -> Self {
        let (sender, told) = mpsc::channel(UNREAD_MAX);
        let shared = Arc::new(Shared {
            decide: Mutex::new(Box::new(decide)),
            told: sender,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(shared);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            addr,
            told,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    pub(crate) async fn next(&mut self) -> Told {
        let told = tokio::time::timeout(PATIENCE, self.told.recv());
        told.await.expect("a request in time").unwrap()
    }

    /// What came and was not looked at.
    pub(crate) fn rest(&mut self) -> usize {
        let mut count = 0;
        while self.told.try_recv().is_ok() {
            count += 1;
        }
        count
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    // As a receiver checks it: over the raw bytes, within minutes, in constant time.
    let signature = header("webhook-signature");
    let mac = STANDARD
        .decode(signature.strip_prefix("v1,").unwrap())
        .unwrap();
    let mut signed = format!("{id}.{time}.").into_bytes();
    signed.extend_from_slice(&body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    hmac::verify(&key, &signed, &mac).expect("a good signature");
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    assert!(now.abs_diff(time.parse().unwrap()) < 300);
    assert_eq!(header("content-type"), "application/json");
    let body: Value = serde_json::from_slice(&body).unwrap();
    let answer = (shared.decide.lock().unwrap())(&body);
    let told = shared.told.try_send(Told { id, body });
    // The test may be over; one that leaves so much unread fails.
    assert!(
        !matches!(told, Err(TrySendError::Full(_))),
        "unread requests"
    );
    match answer {
        Answer::Status(status) => axum::http::StatusCode::from_u16(status)
            .unwrap()
            .into_response(),
        Answer::Json(json) => axum::Json(json).into_response(),
        Answer::Hang => std::future::pending().await,
    }
}
