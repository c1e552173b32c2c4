//! `/chat/{room}`: the chat over a WebSocket, for whoever has no data channel.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink as _, StreamExt as _};
use lightstick_chat::core::frame::{Channel, Frame};
use lightstick_chat::core::reader::Link;
use lightstick_chat::proto::{ClientFrame, client_frame::Frame as Request};
use lightstick_chat::{Refused, Socket};
use lightstick_signaling_core::token::{Claims, Grant, TokenError};
use lightstick_types::RoomName;
use prost::Message as _;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error as WebSocketError;

use crate::extract::{ClientAddress, RoomPath};
use crate::problem::{Code, Problem};
use crate::{App, chat};

/// Where it is.
pub(crate) const PATH: &str = "/chat/{room}";
/// Binary messages with protobuf.
const PROTOBUF: &str = "lightstick.chat.v1";
/// Text messages with the JSON of proto3.
const JSON: &str = "lightstick.chat.v1.json";
/// Longest message of a client, in bytes. Longer ones are refused, those of more than
/// [`TAKEN_BYTES_MAX`] unread: they end the connection.
const REQUEST_BYTES_MAX: usize = 4_096;
const TAKEN_BYTES_MAX: usize = 16 * 1_024;
/// What a connection reads at once, in bytes: requests are short, and connections many.
const READ_BUFFER_BYTES: usize = 1_024;
/// How long a client may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Silence after which a client is pinged, and after which it is given up.
const PING_AFTER: Duration = Duration::from_secs(25);
const GONE_AFTER: Duration = Duration::from_secs(60);
/// Messages of a client a second, and at once; more are waited with, so that the client waits.
const REQUESTS_PER_SECOND: u32 = 20;
const REQUESTS_AT_ONCE: u32 = 60;
/// How long a close may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Codes of RFC 6455 section 7.4.1, and of our own from 4000 on.
mod close {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const TRY_AGAIN_LATER: u16 = 1013;
    pub(super) const NO_HELLO: u16 = 4_000;
    pub(super) const TOKEN: u16 = 4_001;
    pub(super) const FULL: u16 = 4_002;
}

/// Upgrades to a WebSocket.
pub(crate) async fn connect(
    State(app): State<App>,
    path: Result<RoomPath, Problem>,
    client: ClientAddress,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let room = path?.0;
    if app.chat.is_none() {
        return Err(Problem::chat_off());
    }
    // A token in the header is good or refused here; without one, the hello may bring it.
    let claims = match app.auth.claims(&headers) {
        Err(TokenError::Missing) => None,
        claims => Some(allowed(claims?, &room)?),
    };
    let upgrade = upgrade
        .map_err(|rejection| Problem::new(Code::MalformedRequest, rejection.body_text()))?
        .protocols([PROTOBUF, JSON])
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_frame_size(TAKEN_BYTES_MAX)
        .max_message_size(TAKEN_BYTES_MAX);
    let json = upgrade
        .selected_protocol()
        .is_some_and(|protocol| protocol == JSON);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let (sink, stream) = socket.split();
        let mut connection = Connection {
            stream,
            out: Out {
                sink,
                queue: VecDeque::new(),
                bytes: 0,
                unflushed: false,
                json,
            },
            json,
        };
        let (code, reason) = connection.run(app, room, client.ip, claims).await;
        connection.close(code, reason).await;
    }))
}

fn allowed(claims: Claims, room: &RoomName) -> Result<Claims, TokenError> {
    // Whoever may watch may read along; whoever writes, moderates or publishes may as well.
    let any = [
        Grant::Watch,
        Grant::Chat,
        Grant::Moderate,
        Grant::Publish,
        Grant::Admin,
    ];
    let fits = |grant| claims.allow(grant, room).is_ok();
    match any.into_iter().any(fits) {
        true => Ok(claims),
        false => Err(claims
            .allow(Grant::Chat, room)
            .err()
            .unwrap_or(TokenError::WrongRoom)),
    }
}

struct Connection {
    stream: SplitStream<WebSocket>,
    out: Out,
    json: bool,
}

/// What a client sent.
enum Came {
    Request(Request),
    /// Neither a request nor anything of the protocol's.
    Unreadable,
    /// A ping, a pong.
    Alive,
    Gone,
    /// What a WebSocket must not bring: the code to close it with.
    Broken(u16),
}

impl Connection {
    /// Serves until one side has enough. Returns the code and reason of the close.
    async fn run(
        &mut self,
        app: App,
        room: RoomName,
        address: IpAddr,
        claims: Option<Claims>,
    ) -> (u16, &'static str) {
        let first = loop {
            match timeout(HELLO_WITHIN, self.next()).await {
                Ok(Came::Request(Request::Hello(hello))) => break hello,
                Ok(Came::Alive) => {}
                Ok(Came::Gone) => return (close::GOING_AWAY, ""),
                Ok(Came::Broken(code)) => return (code, ""),
                Ok(_) | Err(_) => return (close::NO_HELLO, "the first frame is a hello"),
            }
        };
        let claims = match (claims, first.token.as_str()) {
            (None, "") if !app.watch_open() => return (close::TOKEN, "token_missing"),
            (None, "") => None,
            (Some(claims), _) => Some(claims),
            (None, token) => {
                let claims = app.auth.verify(token);
                match claims.and_then(|claims| allowed(claims, &room)) {
                    Ok(claims) => Some(claims),
                    Err(error) => return (close::TOKEN, Problem::from(error).code.as_str()),
                }
            }
        };
        let member = chat::member(&app, claims.as_ref(), &room, address);
        let Some((chat, member)) = app.chat.as_ref().zip(member) else {
            return (close::GOING_AWAY, "");
        };
        let seat = match chat.plane.connect(member).await {
            Ok(seat) => seat,
            Err(Refused::TooMany | Refused::TooManyOfAddress) => return (close::FULL, "full"),
            Err(Refused::Room(_)) => return (close::TRY_AGAIN_LATER, "overloaded"),
        };
        drop(app);
        if !seat.request(Request::Hello(first)).await {
            return (close::TRY_AGAIN_LATER, "closing");
        }
        self.serve(seat).await
    }

    async fn serve(&mut self, mut seat: Socket) -> (u16, &'static str) {
        let mut heard_at = Instant::now();
        let mut allowance = Allowance::new(heard_at);
        let mut pinged = false;
        // Set anew when it rings, not at each word: what was heard meanwhile counts then.
        let mut alarm = pin!(tokio::time::sleep(PING_AFTER));
        loop {
            let reading_from = allowance.next_at();
            tokio::select! {
                biased;
                sent = self.out.flush(), if self.out.unflushed => {
                    if sent.is_err() {
                        return (close::GOING_AWAY, "");
                    }
                    if !seat.settle(Instant::now(), &mut self.out).await {
                        return (close::TRY_AGAIN_LATER, "closing");
                    }
                }
                heard = seat.heard() => {
                    if !seat.give(Instant::now(), heard, &mut self.out).await {
                        return (close::TRY_AGAIN_LATER, "closing");
                    }
                }
                came = next(&mut self.stream, self.json, reading_from) => {
                    heard_at = Instant::now();
                    pinged = false;
                    let open = match came {
                        Came::Request(request) => {
                            allowance.spend(heard_at);
                            seat.request(request).await
                        }
                        Came::Unreadable => {
                            allowance.spend(heard_at);
                            seat.malformed().await
                        }
                        Came::Alive => true,
                        Came::Gone => return (close::GOING_AWAY, ""),
                        Came::Broken(code) => return (code, ""),
                    };
                    if !open {
                        return (close::TRY_AGAIN_LATER, "closing");
                    }
                }
                () = &mut alarm => {
                    let silent = heard_at.elapsed();
                    if silent >= GONE_AFTER {
                        return (close::GOING_AWAY, "");
                    }
                    if silent >= PING_AFTER && !std::mem::replace(&mut pinged, true) {
                        self.out.push(Message::Ping(Default::default()), 0);
                    }
                    let next = if pinged { GONE_AFTER } else { PING_AFTER };
                    alarm.as_mut().reset((heard_at + next).into());
                }
            }
        }
    }

    async fn next(&mut self) -> Came {
        next(&mut self.stream, self.json, None).await
    }

    async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        self.out.push(Message::Close(Some(frame)), 0);
        // The peer may be gone already.
        let _ = timeout(CLOSE_WITHIN, self.out.flush()).await;
    }
}

/// The next message, not before a time. Safe to cancel.
async fn next(stream: &mut SplitStream<WebSocket>, json: bool, from: Option<Instant>) -> Came {
    if let Some(from) = from {
        tokio::time::sleep_until(from.into()).await;
    }
    let fits = |length| length <= REQUEST_BYTES_MAX;
    let frame = match stream.next().await {
        Some(Ok(Message::Binary(bytes))) if !json && fits(bytes.len()) => {
            ClientFrame::decode(bytes).ok()
        }
        Some(Ok(Message::Text(text))) if json && fits(text.len()) => {
            serde_json::from_str(&text).ok()
        }
        Some(Ok(Message::Binary(_) | Message::Text(_))) => None,
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Came::Alive,
        Some(Err(error)) => return broken(error),
        Some(Ok(Message::Close(_))) | None => return Came::Gone,
    };
    frame
        .and_then(|frame: ClientFrame| frame.frame)
        .map_or(Came::Unreadable, Came::Request)
}

fn broken(error: axum::Error) -> Came {
    match error.into_inner().downcast_ref() {
        Some(WebSocketError::Capacity(_)) => Came::Broken(close::TOO_BIG),
        Some(WebSocketError::Protocol(_) | WebSocketError::Utf8(_)) => {
            Came::Broken(close::PROTOCOL)
        }
        _ => Came::Gone,
    }
}

/// How fast a client is read.
struct Allowance {
    /// When the allowance will be whole again.
    full_at: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    fn spend(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + Duration::from_secs(1) / REQUESTS_PER_SECOND;
    }

    /// When the next message may be read; `None`: now.
    fn next_at(&self) -> Option<Instant> {
        let ahead = Duration::from_secs(1) / REQUESTS_PER_SECOND * REQUESTS_AT_ONCE;
        let at = self.full_at.checked_sub(ahead)?;
        (at > Instant::now()).then_some(at)
    }
}

/// What waits to be sent.
struct Out {
    sink: SplitSink<WebSocket, Message>,
    queue: VecDeque<Message>,
    /// Of what is queued, or with the sink and not sent.
    bytes: usize,
    unflushed: bool,
    json: bool,
}

impl Out {
    fn push(&mut self, message: Message, bytes: usize) {
        self.bytes += bytes;
        self.unflushed = true;
        self.queue.push_back(message);
    }

    /// Sends all that waits. Safe to cancel.
    async fn flush(&mut self) -> Result<(), axum::Error> {
        while !self.queue.is_empty() {
            poll_fn(|cx| Pin::new(&mut self.sink).poll_ready(cx)).await?;
            if let Some(message) = self.queue.pop_front() {
                Pin::new(&mut self.sink).start_send(message)?;
            }
        }
        poll_fn(|cx| Pin::new(&mut self.sink).poll_flush(cx)).await?;
        (self.bytes, self.unflushed) = (0, false);
        Ok(())
    }
}

impl Link for Out {
    fn unsent_bytes(&mut self) -> usize {
        self.bytes
    }

    fn write(&mut self, _channel: Channel, frame: &Frame) -> bool {
        let message = match self.json {
            // What serde writes is UTF-8.
            true => match Utf8Bytes::try_from(frame.json().clone()) {
                Ok(text) => Message::Text(text),
                Err(_) => return false,
            },
            false => Message::Binary(frame.proto().clone()),
        };
        self.push(message, frame.len());
        true
    }
}
