//! Live captions: cues in, WebVTT out.

use std::fmt::Write as _;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use lightstick_chat::core::refusal::{Code as Refused, Refusal};
use lightstick_chat::proto::CaptionCue;
use lightstick_types::{ChatRole, RoomName};
use serde::Deserialize;

use lightstick_signaling::{App, RoomPath};

use super::{DoneBody, json, plane, query};
use crate::Chat;
use crate::operator::Operator;
use crate::problem::{Problem, ProblemBody};

/// Show a live caption. Needs a lead moderator, the artist or `admin`.
#[utoipa::path(
    post,
    path = "/api/v1/rooms/{room}/chat/captions",
    tag = "chat",
    params(("room" = String, Path)),
    request_body(content = Object, description = "`CaptionCue` of the chat's protocol"),
    security(("bearer" = [])),
    responses(
        (status = 200, body = DoneBody),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post(
    State(app): State<App>,
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DoneBody>, Problem> {
    let actor = operator.moderates(&room)?;
    if actor.role < ChatRole::LeadModerator {
        return Err(Refusal::from(Refused::NotModerator).into());
    }
    let plane = plane(&chat)?;
    let cue: CaptionCue = json(&app, &headers, body).await?;
    Ok(Json(plane.caption(room, cue).await?.into()))
}

/// Which cues, and what their times count from.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct Cues {
    /// Only of this language, such as `ko`.
    language: Option<String>,
    /// What is 00:00:00 in the file, in milliseconds of the Unix time, such as the beginning of a recording; else
    /// the first cue.
    origin_ms: Option<u64>,
}

/// The last 1,000 captions of a room as WebVTT, while its chat is open.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/chat/captions.vtt",
    tag = "chat",
    params(("room" = String, Path), Cues),
    security(("bearer" = [])),
    responses(
        (status = 200, body = String, content_type = "text/vtt"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn webvtt(
    chat: Chat,
    RoomPath(room): RoomPath,
    operator: Operator,
    cues: Result<Query<Cues>, QueryRejection>,
) -> Result<Response, Problem> {
    operator.moderates(&room)?;
    let plane = plane(&chat)?;
    let Cues {
        language,
        origin_ms,
    } = query(cues)?;
    let mut kept = plane.captions(room.clone()).await?;
    kept.retain(|cue| {
        language
            .as_ref()
            .is_none_or(|wanted| cue.language == *wanted)
    });
    kept.sort_by_key(|cue| cue.at_ms);
    let text = written(&room, origin_ms, &kept);
    let headers = [
        (header::CONTENT_TYPE, "text/vtt; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}

/// WebVTT of cues in order. What began before the origin is left out.
fn written(room: &RoomName, origin_ms: Option<u64>, cues: &[CaptionCue]) -> String {
    let origin = origin_ms.or_else(|| cues.first().map(|cue| cue.at_ms));
    let origin = origin.unwrap_or_default();
    let mut text = format!("WEBVTT - {room}\n\nNOTE originMs={origin}\n");
    for cue in cues {
        let Some(from) = cue.at_ms.checked_sub(origin) else {
            continue;
        };
        let to = from.saturating_add(cue.duration_ms.into());
        // Writing into a string cannot fail.
        let _ = write!(text, "\n{} --> {}\n", Clock(from), Clock(to));
        // An empty line would end the cue.
        for line in cue.text.lines().filter(|line| !line.trim().is_empty()) {
            for c in line.chars() {
                match c {
                    '&' => text.push_str("&amp;"),
                    '<' => text.push_str("&lt;"),
                    // Also takes the arrow apart.
                    '>' => text.push_str("&gt;"),
                    '\0' | '\r' => {}
                    c => text.push(c),
                }
            }
            text.push('\n');
        }
    }
    text
}

/// A time of WebVTT: hours as many as it takes.
struct Clock(u64);

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, ms) = (self.0 / 1_000, self.0 % 1_000);
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_are_escaped_and_timed() {
        let cue = |at_ms, text: &str| CaptionCue {
            language: "ko".into(),
            text: text.into(),
            at_ms,
            duration_ms: 4_000,
            nonce: 0,
        };
        let room = "stage".parse().unwrap();
        let cues = [
            cue(1_000, "안녕 <b>&amp; --> x"),
            cue(3_601_500, "one\r\n\n\u{0}two"),
        ];
        assert_eq!(
            written(&room, None, &cues),
            "WEBVTT - stage\n\nNOTE originMs=1000\n\n\
             00:00:00.000 --> 00:00:04.000\n안녕 &lt;b&gt;&amp;amp; --&gt; x\n\n\
             01:00:00.500 --> 01:00:04.500\none\ntwo\n"
        );
        let later = written(&room, Some(3_601_000), &cues);
        assert!(later.contains("00:00:00.500 --> ") && !later.contains("안녕"));
        assert_eq!(Clock(360_000_000).to_string(), "100:00:00.000");
        assert_eq!(
            written(&room, None, &[]),
            "WEBVTT - stage\n\nNOTE originMs=0\n"
        );
    }
}
