//! What the QUIC library says about an end, as a typed reason.

use quinn::{ConnectionError, TransportErrorCode};

use crate::event::{CloseReason, DownReason};
use crate::tls::refusal_of_alert;

/// Longest text of the library or the peer that is kept, in bytes.
const TEXT_MAX: usize = 200;

pub(crate) fn down_reason(error: &ConnectionError) -> DownReason {
    match error {
        ConnectionError::TransportError(error) => match alert(error.code) {
            Some(alert) => DownReason::Refused(refusal_of_alert(alert, &error.reason)),
            None => DownReason::Transport(cut(error.to_string())),
        },
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(alert) => {
                let text = String::from_utf8_lossy(&close.reason);
                DownReason::RefusedByPeer(refusal_of_alert(alert, &text))
            }
            None => DownReason::Transport(cut(close.to_string())),
        },
        ConnectionError::ApplicationClosed(close) => DownReason::ClosedByPeer(CloseReason::decode(
            close.error_code.into_inner(),
            &close.reason,
        )),
        ConnectionError::Reset => DownReason::Reset,
        ConnectionError::TimedOut => DownReason::TimedOut,
        // Links that this end closes say so themselves; this is the endpoint's end.
        ConnectionError::LocallyClosed => DownReason::ClosedHere(CloseReason::Shutdown),
        ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
            DownReason::Transport(error.to_string())
        }
    }
}

/// The TLS alert in an error code (RFC 9001 section 4.8).
fn alert(code: TransportErrorCode) -> Option<u8> {
    let alert = u64::from(code).checked_sub(0x100)?;
    u8::try_from(alert).ok()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}
