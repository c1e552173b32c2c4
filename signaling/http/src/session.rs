//! A session's own resource: PATCH, DELETE, GET.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lightstick_sfu::CommandError;
use lightstick_signaling_core::sdpfrag::{self, Fragment, FragmentError};
use lightstick_types::Role;

use crate::App;
use crate::director::{Patch, Patched, SessionUrl};
use crate::extract::{ClientAddress, SessionPath, read_body, require_type};
use crate::problem::{Code, Problem, ProblemBody};

/// Writes the three handlers of one role: paths in attributes must be literals.
macro_rules! session_resource {
    ($module:ident, $role:expr, $path:literal, $tag:literal) => {
        pub(crate) mod $module {
            use super::*;

            /// Trickle ICE candidates, or restart ICE.
            ///
            /// With the session's ETag in `If-Match`, or none and the session's `ice-ufrag`, the
            /// fragment's candidates are added (204). With `If-Match: *` and new credentials ICE
            /// restarts (200, with our fragment and a new ETag); media goes on meanwhile.
            #[utoipa::path(
                patch,
                path = $path,
                tag = $tag,
                params(
                    ("room" = String, Path),
                    ("session" = String, Path, description = "As in the Location of the 201"),
                    ("If-Match" = Option<String>, Header, description = "The session's ETag, or *"),
                ),
                request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
                responses(
                    (status = 200, description = "ICE restarted", body = String, content_type = "application/trickle-ice-sdpfrag"),
                    (status = 204, description = "Candidates added"),
                    (status = "4XX", description = "Refused; the session goes on", body = ProblemBody, content_type = "application/problem+json"),
                )
            )]
            pub(crate) async fn patch(
                State(app): State<App>,
                path: SessionPath,
                client: ClientAddress,
                headers: HeaderMap,
                body: Body,
            ) -> Result<Response, Problem> {
                patch_session(&app, url($role, path, client), &headers, body).await
            }

            /// End the session, at once.
            ///
            /// A publisher's show is over then; a lost connection is waited for instead. The first
            /// DELETE is answered with 200, also where the session has ended by itself a while
            /// ago; later ones with 404.
            #[utoipa::path(
                delete,
                path = $path,
                tag = $tag,
                params(("room" = String, Path), ("session" = String, Path)),
                responses(
                    (status = 200, description = "It is over"),
                    (status = 404, description = "There never was one, or it has been deleted", body = ProblemBody, content_type = "application/problem+json"),
                )
            )]
            pub(crate) async fn delete(
                State(app): State<App>,
                path: SessionPath,
                client: ClientAddress,
            ) -> Result<StatusCode, Problem> {
                app.director.delete(url($role, path, client)).await?;
                Ok(StatusCode::OK)
            }

            /// Whether the session is alive.
            #[utoipa::path(
                get,
                path = $path,
                tag = $tag,
                params(("room" = String, Path), ("session" = String, Path)),
                responses(
                    (status = 204, description = "It is alive; the ETag is that of its ICE session"),
                    (status = 404, description = "It is not, or never was", body = ProblemBody, content_type = "application/problem+json"),
                )
            )]
            pub(crate) async fn get(
                State(app): State<App>,
                path: SessionPath,
                client: ClientAddress,
            ) -> Result<Response, Problem> {
                let found = app.director.find(url($role, path, client)).await?;
                let etag = HeaderValue::try_from(found.etag.to_string())
                    .map_err(|_| Problem::internal("the ETag could not be written"))?;
                Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag)]).into_response())
            }
        }
    };
}

session_resource!(whip, Role::Publisher, "/whip/{room}/{session}", "whip");
session_resource!(whep, Role::Viewer, "/whep/{room}/{session}", "whep");

/// The session that a path names, and who asks for it.
pub(crate) fn url(role: Role, path: SessionPath, client: ClientAddress) -> SessionUrl {
    SessionUrl {
        room: path.room,
        role,
        session: path.session,
        address: client.ip,
    }
}

async fn patch_session(
    app: &App,
    url: SessionUrl,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    require_type(headers, sdpfrag::CONTENT_TYPE)?;
    let body = read_body(app, body, sdpfrag::FRAGMENT_BYTES_MAX).await?;
    let fragment = Fragment::parse(&body)?;
    let patch = Patch {
        if_match: if_match(headers)?,
        fragment,
    };
    match app.director.patch(url, patch).await? {
        // RFC 9725 section 4.3.2: no ETag here.
        Patched::Trickle => Ok(StatusCode::NO_CONTENT.into_response()),
        Patched::Restarted { fragment, etag } => {
            let etag = HeaderValue::try_from(etag.to_string())
                .map_err(|_| Problem::internal("the ETag could not be written"))?;
            let kind = HeaderValue::from_static(sdpfrag::CONTENT_TYPE);
            let headers = [(header::ETAG, etag), (header::CONTENT_TYPE, kind)];
            Ok((StatusCode::OK, headers, fragment.write_lite()).into_response())
        }
    }
}

/// All `If-Match` lines as one list (RFC 9110 section 5.3).
fn if_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(header::IF_MATCH) {
        let value = value.to_str().map_err(|_| {
            Problem::new(Code::MalformedRequest, "the If-Match header is malformed")
        })?;
        match &mut joined {
            Some(list) => {
                list.push_str(", ");
                list.push_str(value);
            }
            None => joined = Some(value.to_owned()),
        }
    }
    Ok(joined)
}

impl From<FragmentError> for Problem {
    fn from(error: FragmentError) -> Self {
        let code = match error {
            FragmentError::TooLarge => Code::BodyTooLarge,
            FragmentError::SecondSession { .. } => Code::UnacceptableIce,
            _ => Code::MalformedFragment,
        };
        Self::new(code, error.to_string())
    }
}

pub(crate) fn command_problem(error: CommandError) -> Problem {
    match error {
        CommandError::NoSession => Problem::session_not_found(),
        CommandError::Shard(error) => error.into(),
        CommandError::Refused(why) => Problem::new(Code::UnacceptableIce, why),
    }
}
