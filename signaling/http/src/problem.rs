//! Refusals: RFC 9457 problem details with stable codes.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lightstick_chat_wire::RefusalCode;
use lightstick_sfu::{Refusal, SdpError, ShardError};
use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, in a form that programs may rely on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// The chat has refused the request.
            Chat(RefusalCode),
        }

        /// All but those of the chat.
        const OWN: &[Code] = &[$(Code::$variant,)*];

        impl Code {
            /// As it stands in the problem's `code`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Chat(code) => code.problem(),
                }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)*
                    Self::Chat(code) => StatusCode::from_u16(code.status())
                        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                }
            }

            /// One line for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                    Self::Chat(code) => code.title(),
                }
            }

            /// Position in [`Code::ALL`].
            pub(crate) const fn index(self) -> usize {
                match self {
                    $(Self::$variant => Own::$variant as usize,)*
                    Self::Chat(code) => OWN.len() + code as usize,
                }
            }
        }

        /// Numbers the codes of [`OWN`].
        enum Own {
            $($variant,)*
        }
    };
}

codes! {
    /// The path names no possible room.
    RoomName = "room_name", BAD_REQUEST, "Invalid room name";
    /// The offer is no SDP.
    MalformedOffer = "malformed_offer", BAD_REQUEST, "The offer is not SDP";
    /// The ICE fragment cannot be read.
    MalformedFragment = "malformed_fragment", BAD_REQUEST, "The ICE fragment is malformed";
    /// A header, query or JSON body cannot be read.
    MalformedRequest = "malformed_request", BAD_REQUEST, "The request is malformed";
    /// No bearer token.
    TokenMissing = "token_missing", UNAUTHORIZED, "A token is required";
    /// The bearer token is not one that this server issues.
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
    /// A page from elsewhere, in development mode.
    ForeignOrigin = "foreign_origin", FORBIDDEN, "This origin may not use this server";
    /// No such resource.
    NotFound = "not_found", NOT_FOUND, "No such resource";
    /// No such room.
    RoomNotFound = "room_not_found", NOT_FOUND, "No such room";
    /// No such session, or not any more.
    SessionNotFound = "session_not_found", NOT_FOUND, "No such session";
    /// The room has no such video track.
    TrackNotFound = "track_not_found", NOT_FOUND, "No such video track";
    /// The resource does not know the method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The body came too slowly.
    SlowBody = "slow_body", REQUEST_TIMEOUT, "The body arrived too slowly";
    /// Somebody else publishes.
    RoomBusy = "room_busy", CONFLICT, "Another publisher is live in this room";
    /// Nobody publishes, and viewers do not wait here.
    NotLive = "not_live", CONFLICT, "No publisher is live in this room";
    /// Another restart of ICE has not finished.
    RestartInProgress = "restart_in_progress", CONFLICT, "An ICE restart is already in progress";
    /// The entity tag is of an ICE session that is over.
    StaleEtag = "stale_etag", PRECONDITION_FAILED, "The ETag is out of date";
    /// The body is larger than allowed.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body's type is not the resource's.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "Unsupported content type";
    /// SDP, but nothing that can be served.
    UnacceptableOffer = "unacceptable_offer", UNPROCESSABLE_ENTITY, "The offer cannot be answered";
    /// The ICE details do not fit the session.
    UnacceptableIce = "unacceptable_ice", UNPROCESSABLE_ENTITY, "The ICE parameters do not match the session";
    /// JSON, but not what the resource takes.
    UnacceptableBody = "unacceptable_body", UNPROCESSABLE_ENTITY, "The body is not what the resource takes";
    /// The request needs `If-Match`.
    EtagRequired = "etag_required", PRECONDITION_REQUIRED, "An If-Match header is required";
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
    /// The server has no chat.
    ChatOff = "chat_off", NOT_FOUND, "This server has no chat";
    /// The dead letter cannot be tried again.
    ChatNoReceiver = "chat_no_receiver", CONFLICT, "No webhook takes this dead letter";
    /// The archive of the chat cannot be read or changed now.
    ChatArchive = "chat_archive", SERVICE_UNAVAILABLE, "The chat archive does not respond";
    /// The media thread of the room has ended: the server is about to restart.
    MediaGone = "media_gone", SERVICE_UNAVAILABLE, "The server is about to restart";
    /// The media thread took the request, and its answer never came.
    MediaLost = "media_lost", INTERNAL_SERVER_ERROR, "The server did not finish the request";
    /// A fault of the server.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal server error";
}

impl Code {
    /// Every code, those of the chat last.
    pub const ALL: &'static [Self] = &{
        let mut all = [Self::Internal; OWN.len() + RefusalCode::ALL.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = match at < OWN.len() {
                true => OWN[at],
                false => Self::Chat(RefusalCode::ALL[at - OWN.len()]),
            };
            at += 1;
        }
        all
    };
}

/// When clients come again that met a full queue, and those that met a server about to restart.
const BUSY_FOR: Duration = Duration::from_secs(2);
const RESTARTS_WITHIN: Duration = Duration::from_secs(10);

/// The media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A refusal on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    fault: Option<Box<OfferFault>>,
}

/// What is wrong with an offer, for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfferFault {
    /// Why, of `unacceptable_offer`: `codec`, `profile`, `not_bundled`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "codec")]
    reason: Option<&'static str>,
    /// The section at fault, counted from 0; none where it is the offer as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    section: Option<usize>,
    /// The section's media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "video")]
    kind: Option<Box<str>>,
    /// The section's `a=mid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1")]
    mid: Option<Box<str>>,
    /// The line at fault, of `malformed_offer`, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 12)]
    line: Option<usize>,
}

impl From<&Refusal> for OfferFault {
    fn from(refusal: &Refusal) -> Self {
        let section = refusal.section.as_ref();
        Self {
            reason: Some(refusal.reason.code()),
            section: section.map(|section| section.index),
            kind: section.map(|section| section.kind.clone()),
            mid: section.and_then(|section| section.mid.clone()),
            line: None,
        }
    }
}

impl From<&SdpError> for OfferFault {
    fn from(error: &SdpError) -> Self {
        Self {
            line: Some(error.line),
            ..Self::default()
        }
    }
}

/// A problem's body.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Stable, for programs: `room_busy`, `token_expired`, ...
    #[schema(example = "room_busy")]
    code: &'a str,
    /// One line for people, the same for every problem of this code.
    #[schema(example = "Another publisher is live in this room")]
    title: &'a str,
    /// What exactly is wrong with this request.
    #[schema(example = "somebody else publishes in this room")]
    detail: &'a str,
    /// The HTTP status once more.
    #[schema(example = 409)]
    status: u16,
    /// Where an offer is at fault.
    #[serde(flatten)]
    fault: Option<&'a OfferFault>,
}

impl Problem {
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after: None,
            fault: None,
        }
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Says where an offer is at fault.
    pub(crate) fn fault(mut self, fault: impl Into<OfferFault>) -> Self {
        self.fault = Some(Box::new(fault.into()));
        self
    }

    /// Sets `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(crate) fn overloaded() -> Self {
        Self::new(Code::Overloaded, "The server is busy. Try again later.").retry_after(BUSY_FOR)
    }

    pub(crate) fn draining(retry_after: Duration) -> Self {
        Self::new(Code::Draining, "the server is shutting down").retry_after(retry_after)
    }

    pub(crate) fn internal(detail: &'static str) -> Self {
        tracing::error!(detail, "internal error while handling a request");
        Self::new(Code::Internal, detail)
    }

    pub(crate) fn session_not_found() -> Self {
        Self::new(
            Code::SessionNotFound,
            "the session does not exist or has ended",
        )
    }

    pub(crate) fn track_not_found() -> Self {
        Self::new(Code::TrackNotFound, "the room has no such video track")
    }

    pub(crate) fn room_not_found() -> Self {
        Self::new(Code::RoomNotFound, "no such room")
    }
}

impl From<ShardError> for Problem {
    fn from(error: ShardError) -> Self {
        match error {
            ShardError::Full => Self::overloaded(),
            ShardError::Gone => {
                let detail = "A media thread of the server has ended. Try again later.";
                Self::new(Code::MediaGone, detail).retry_after(RESTARTS_WITHIN)
            }
            ShardError::Lost => Self::new(
                Code::MediaLost,
                "The server took the request, but its result is not known.",
            ),
        }
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
            fault: self.fault.as_deref(),
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
        response.extensions_mut().insert(self);
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
    fn a_shard_that_does_not_answer_is_told_in_three_ways() {
        for (error, status, code, again) in [
            (ShardError::Full, 503, "overloaded", Some("2")),
            (ShardError::Gone, 503, "media_gone", Some("10")),
            (ShardError::Lost, 500, "media_lost", None),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.code.as_str(), code);
            let response = problem.into_response();
            let after = response.headers().get(header::RETRY_AFTER);
            let after = after.map(|value| value.to_str().unwrap());
            assert_eq!((response.status().as_u16(), after), (status, again));
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
