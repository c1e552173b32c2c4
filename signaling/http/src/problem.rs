//! Refusals: RFC 9457 problem details with stable codes.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, in a form that programs may rely on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As it stands in the problem's `code`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// One line for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// The path names no possible room.
    RoomName = "room_name", BAD_REQUEST, "Not a room name";
    /// The offer is no SDP.
    MalformedOffer = "malformed_offer", BAD_REQUEST, "The offer is not SDP";
    /// The ICE fragment cannot be read.
    MalformedFragment = "malformed_fragment", BAD_REQUEST, "The ICE fragment is malformed";
    /// A header, query or JSON body cannot be read.
    MalformedRequest = "malformed_request", BAD_REQUEST, "The request is malformed";
    /// No bearer token.
    TokenMissing = "token_missing", UNAUTHORIZED, "A token is needed";
    /// The bearer token is no token of ours.
    TokenMalformed = "token_malformed", UNAUTHORIZED, "The token is malformed";
    /// The token's key is not configured.
    TokenUnknownKey = "token_unknown_key", UNAUTHORIZED, "The token's key is unknown";
    /// The token's signature is wrong.
    TokenBadSignature = "token_bad_signature", UNAUTHORIZED, "The token's signature is wrong";
    /// The token has expired.
    TokenExpired = "token_expired", UNAUTHORIZED, "The token has expired";
    /// The token is not valid yet.
    TokenNotYetValid = "token_not_yet_valid", UNAUTHORIZED, "The token is not valid yet";
    /// The token is for another room.
    TokenWrongRoom = "token_wrong_room", FORBIDDEN, "The token is for another room";
    /// The token lacks the grant.
    TokenNoGrant = "token_no_grant", FORBIDDEN, "The token does not grant this";
    /// No such resource.
    NotFound = "not_found", NOT_FOUND, "There is nothing here";
    /// No such room.
    RoomNotFound = "room_not_found", NOT_FOUND, "There is no such room";
    /// No such session, or not any more.
    SessionNotFound = "session_not_found", NOT_FOUND, "There is no such session";
    /// The resource does not know the method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The body came too slowly.
    SlowBody = "slow_body", REQUEST_TIMEOUT, "The body came too slowly";
    /// Somebody else publishes.
    RoomBusy = "room_busy", CONFLICT, "Somebody else publishes in this room";
    /// Nobody publishes, and viewers do not wait here.
    NotLive = "not_live", CONFLICT, "Nobody is live in this room";
    /// Another restart of ICE has not finished.
    RestartInProgress = "restart_in_progress", CONFLICT, "ICE is being restarted already";
    /// The entity tag is of an ICE session that is over.
    StaleEtag = "stale_etag", PRECONDITION_FAILED, "The ETag is out of date";
    /// The body is larger than allowed.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body's type is not the resource's.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The content type is wrong";
    /// SDP, but nothing that can be served.
    UnacceptableOffer = "unacceptable_offer", UNPROCESSABLE_ENTITY, "The offer cannot be answered";
    /// The ICE details do not fit the session.
    UnacceptableIce = "unacceptable_ice", UNPROCESSABLE_ENTITY, "The ICE details do not fit";
    /// JSON, but not what the resource takes.
    UnacceptableBody = "unacceptable_body", UNPROCESSABLE_ENTITY, "The body does not fit";
    /// The request needs `If-Match`.
    EtagRequired = "etag_required", PRECONDITION_REQUIRED, "An If-Match header is needed";
    /// Too many sessions from this address.
    AddressFull = "address_full", TOO_MANY_REQUESTS, "Too many sessions from this address";
    /// Too many joins or requests in a short time.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// The room holds as many viewers as it may.
    RoomFull = "room_full", SERVICE_UNAVAILABLE, "The room is full";
    /// The server holds as many rooms as it may.
    RoomsFull = "rooms_full", SERVICE_UNAVAILABLE, "The server is full";
    /// The server cannot keep up.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "The server is overloaded";
    /// The server is about to stop.
    Draining = "draining", SERVICE_UNAVAILABLE, "The server is shutting down";
    /// A fault of the server.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The server has failed";
}

impl Code {
    /// Position in [`Code::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// The media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A refusal on its way to the client.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
}

/// A problem's body.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Stable, for programs: `room_busy`, `token_expired`, ...
    #[schema(example = "room_busy")]
    code: &'a str,
    /// One line for people, the same for every problem of this code.
    #[schema(example = "Somebody else publishes in this room")]
    title: &'a str,
    /// What exactly is wrong with this request.
    #[schema(example = "somebody else publishes in this room")]
    detail: &'a str,
    /// The HTTP status once more.
    #[schema(example = 409)]
    status: u16,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// Tells the client when to come again.
    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(crate) fn overloaded() -> Self {
        Self::new(Code::Overloaded, "too much is going on; come again")
            .retry_after(Duration::from_secs(2))
    }

    pub(crate) fn draining(retry_after: Duration) -> Self {
        Self::new(Code::Draining, "the server is shutting down").retry_after(retry_after)
    }

    pub(crate) fn internal(detail: &'static str) -> Self {
        tracing::error!(detail, "a request met a fault of the server");
        Self::new(Code::Internal, detail)
    }

    pub(crate) fn session_not_found() -> Self {
        Self::new(
            Code::SessionNotFound,
            "the session does not exist, or is over",
        )
    }

    pub(crate) fn room_not_found() -> Self {
        Self::new(Code::RoomNotFound, "nobody is in such a room")
    }
}

/// Whole seconds, rounded up, at least 1: a `Retry-After` (RFC 9110 section 10.2.3).
pub(crate) fn retry_seconds(after: Duration) -> u64 {
    let rounded = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    rounded.max(1)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemBody {
            code: self.code.as_str(),
            title: self.code.title(),
            detail: &self.detail,
            status: status.as_u16(),
        };
        // Strings and a number: this cannot fail.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, retry_seconds(after).into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 section 3.1: no error code where the request had no token.
            let challenge = match self.code {
                Code::TokenMissing => r#"Bearer realm="lightstick""#,
                _ => r#"Bearer realm="lightstick", error="invalid_token""#,
            };
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        response.extensions_mut().insert(self.code);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_indexed() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.index(), index);
            let status = code.status();
            assert!(status.is_client_error() || status.is_server_error());
        }
    }

    #[test]
    fn retry_after_rounds_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_500, 60)] {
            assert_eq!(retry_seconds(Duration::from_millis(millis)), seconds);
        }
    }

    #[test]
    fn challenges_only_with_401() {
        for code in Code::ALL {
            let response = Problem::new(*code, "x").into_response();
            assert_eq!(
                response.headers().contains_key(header::WWW_AUTHENTICATE),
                code.status() == StatusCode::UNAUTHORIZED
            );
        }
    }
}
