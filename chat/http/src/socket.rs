//! `/chat/{room}`: the chat over a WebSocket, for whoever has no data channel.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, Sink as _, StreamExt as _};
use lightstick_chat::proto::{ClientFrame, Hello, client_frame::Frame as Request, nonce};
use lightstick_chat::wire::{Channel, Frame, Link, REQUEST_BYTES_MAX};
use lightstick_chat::{NoRoom, Place, Refused, Socket, SocketEvent};
use lightstick_signaling::token::{Claims, Grant, TokenError};
use lightstick_signaling::{App, ClientAddress, RoomPath};
use lightstick_tasks::panic_message;
use lightstick_types::RoomName;
use lightstick_types::rate::{Bucket, Limit};
use prost::Message as _;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error as WebSocketError;

use crate::problem::{Code, Problem};
use crate::{Chat, ChatApi};

pub(crate) const PATH: &str = "/chat/{room}";
/// Binary messages with protobuf.
const PROTOBUF: &str = "lightstick.chat.v1";
/// Text messages with the JSON of proto3.
const JSON: &str = "lightstick.chat.v1.json";
/// Longest message that is read, in bytes. A longer one ends the connection; one of more than
/// [`REQUEST_BYTES_MAX`] is refused.
const TAKEN_BYTES_MAX: usize = 16 * 1_024;
/// What a connection reads at once, in bytes: requests are short, and connections many.
const READ_BUFFER_BYTES: usize = 1_024;
/// What waits in a connection's write buffer, in bytes: a tick's longest frame as JSON, and a pong.
/// What would not fit is an error, so nothing is handed over before the buffer is empty.
const WRITE_BUFFER_BYTES_MAX: usize = 128 * 1_024;
/// Silence after which a client is pinged, and after which it is given up. Whoever leaves what was
/// sent unread for so long is given up too.
const PING_AFTER: Duration = Duration::from_secs(25);
const GONE_AFTER: Duration = Duration::from_secs(60);
/// Messages that are read from a client, pings and pongs included. No more are read before their
/// time, so that the client waits.
const REQUESTS: Limit = Limit {
    every: Duration::from_millis(50),
    burst: 60,
};
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
    Extension(chat): Chat,
    path: Result<RoomPath, lightstick_signaling::Problem>,
    client: ClientAddress,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let room = path?.0;
    let plane = chat.plane.as_ref().ok_or_else(Problem::chat_off)?;
    let opened = chat
        .opens
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(Instant::now(), client.ip.into());
    if let Err(after) = opened {
        let detail = "too many WebSockets were opened from this address";
        return Err(Problem::new(Code::RateLimited, detail).retry_after(after));
    }
    // A token in the header is good or refused here; without one, the hello may bring it.
    let claims = match app.auth().claims(&headers) {
        Err(TokenError::Missing) => None,
        claims => Some(allowed(claims?, &room)?),
    };
    let upgrade = upgrade
        .map_err(|rejection| Problem::new(Code::MalformedRequest, rejection.body_text()))?
        .protocols([PROTOBUF, JSON])
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_frame_size(TAKEN_BYTES_MAX)
        .max_message_size(TAKEN_BYTES_MAX);
    let json = upgrade
        .selected_protocol()
        .is_some_and(|protocol| protocol == JSON);
    // Counted before anything is read. Browsers learn only from a close why there is no place.
    let place = plane.place(client.ip);
    let sockets = chat.sockets();
    Ok(upgrade.on_upgrade(move |socket| {
        let served = async move {
            let mut connection = Connection::new(socket, json);
            let (code, reason) = match place {
                Ok(place) => {
                    connection
                        .run(app, &chat, room, client.ip, claims, place)
                        .await
                }
                Err(refused) => full(refused),
            };
            connection.close(code, reason).await;
        };
        // Nobody joins the task that axum starts for it, so its panic is told here.
        let contained = AssertUnwindSafe(served).catch_unwind();
        sockets.track_future(async move {
            if let Err(panic) = contained.await {
                let panic = panic_message(&*panic);
                tracing::error!(panic, "a WebSocket's handling panicked; it is closed");
            }
        })
    }))
}

fn full(refused: Refused) -> End {
    match refused {
        Refused::TooMany => (close::FULL, "full"),
        Refused::TooManyOfAddress => (close::FULL, "address_full"),
        Refused::Room(NoRoom::TooManyOfAddress) => (close::FULL, "address_rooms_full"),
        Refused::Room(NoRoom::TooMany) => (close::TRY_AGAIN_LATER, "rooms_full"),
        Refused::Room(NoRoom::NotOpen | NoRoom::Closing) => (close::TRY_AGAIN_LATER, "closing"),
    }
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

/// The code and reason of a close.
type End = (u16, &'static str);

struct Connection {
    stream: SplitStream<WebSocket>,
    out: Out,
    requests: Bucket,
    json: bool,
}

/// What a client sent.
enum Incoming {
    Request(Request),
    /// Neither a request nor anything of the protocol's. The nonce, as far as it can be read.
    Unreadable(u64),
    /// Answered by the library as soon as the peer takes it.
    Ping,
    Pong(Bytes),
    Gone,
    /// What a WebSocket must not bring.
    Broken(End),
}

const GONE: End = (close::GOING_AWAY, "gone");

impl Connection {
    fn new(socket: WebSocket, json: bool) -> Self {
        let (sink, stream) = socket.split();
        Self {
            stream,
            out: Out {
                sink,
                queue: VecDeque::new(),
                bytes: 0,
                waiting_since: None,
                owes_pong: false,
                json,
            },
            requests: Bucket::default(),
            json,
        }
    }

    /// Serves until one side has enough. Returns the code and reason of the close.
    async fn run(
        &mut self,
        app: App,
        chat: &ChatApi,
        room: RoomName,
        address: IpAddr,
        claims: Option<Claims>,
        place: Place,
    ) -> End {
        let Some(plane) = &chat.plane else {
            return (close::GOING_AWAY, "chat_off");
        };
        let first = match timeout(plane.hello_within(), self.hello()).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(end)) => return end,
            Err(_) => return (close::NO_HELLO, "no hello in time"),
        };
        let claims = match (claims, first.token.as_str()) {
            (None, "") if !app.watch_open() => return (close::TOKEN, "token_missing"),
            (None, "") => None,
            (Some(claims), _) => Some(claims),
            (None, token) => {
                let claims = app.auth().verify(token);
                match claims.and_then(|claims| allowed(claims, &room)) {
                    Ok(claims) => Some(claims),
                    Err(error) => return (close::TOKEN, Problem::from(error).code().as_str()),
                }
            }
        };
        let Some(member) = app.member(claims.as_ref(), &room, address).await else {
            return (close::GOING_AWAY, "chat_off");
        };
        let seat = match plane.connect(member, place).await {
            Ok(seat) => seat,
            Err(refused) => return full(refused),
        };
        drop(app);
        if !seat.request(Request::Hello(first)).await {
            return (close::TRY_AGAIN_LATER, "closing");
        }
        self.serve(seat).await
    }

    /// When the next message may be read; `None`: now.
    fn reading_from(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let wait = self.requests.wait(now, REQUESTS);
        (!wait.is_zero()).then(|| now + wait)
    }

    /// Waits for the first frame. Pings are answered, and count for nothing.
    async fn hello(&mut self) -> Result<Hello, End> {
        loop {
            let reading_from = self.reading_from();
            let incoming = next(&mut self.stream, self.json, reading_from).await;
            self.requests.spend(Instant::now(), REQUESTS);
            match incoming {
                Incoming::Request(Request::Hello(hello)) => return Ok(hello),
                Incoming::Ping => self.out.flush().await.map_err(|_| GONE)?,
                Incoming::Pong(_) => {}
                Incoming::Gone => return Err(GONE),
                Incoming::Broken(end) => return Err(end),
                Incoming::Request(_) | Incoming::Unreadable(_) => {
                    return Err((close::NO_HELLO, "the first frame is a hello"));
                }
            }
        }
    }

    async fn serve(&mut self, mut seat: Socket) -> End {
        let mut heard_at = Instant::now();
        // What a ping carried whose pong has not come.
        let mut pinged: Option<Bytes> = None;
        // Set anew when it rings, not at each word: what was heard meanwhile counts then.
        let mut alarm = pin!(tokio::time::sleep(PING_AFTER));
        loop {
            let reading_from = self.reading_from();
            tokio::select! {
                biased;
                sent = self.out.flush(), if self.out.waiting_since.is_some() => {
                    if sent.is_err() {
                        return GONE;
                    }
                    if !seat.settle(Instant::now(), &mut self.out).await {
                        return (close::TRY_AGAIN_LATER, "closing");
                    }
                }
                heard = seat.next_event() => {
                    if let SocketEvent::Closed(reason) = heard {
                        return (close::TRY_AGAIN_LATER, reason);
                    }
                    if !seat.give(Instant::now(), heard, &mut self.out).await {
                        return (close::TRY_AGAIN_LATER, "closing");
                    }
                }
                // Whoever does not take the pong of a ping is not read: one at most is owed.
                incoming = next(&mut self.stream, self.json, reading_from), if !self.out.owes_pong => {
                    let now = Instant::now();
                    self.requests.spend(now, REQUESTS);
                    let open = match incoming {
                        Incoming::Request(request) => {
                            heard_at = now;
                            seat.request(request).await
                        }
                        Incoming::Unreadable(nonce) => {
                            heard_at = now;
                            seat.malformed(nonce).await
                        }
                        Incoming::Ping => {
                            self.out.owes_pong = true;
                            self.out.waiting_since.get_or_insert(now);
                            true
                        }
                        // Only the answer to a ping of ours tells of a reader (RFC 6455 5.5.3).
                        Incoming::Pong(data) => {
                            if pinged.as_ref() == Some(&data) {
                                heard_at = now;
                                pinged = None;
                            }
                            true
                        }
                        Incoming::Gone => return GONE,
                        Incoming::Broken(end) => return end,
                    };
                    if !open {
                        return (close::TRY_AGAIN_LATER, "closing");
                    }
                }
                () = &mut alarm => {
                    let now = Instant::now();
                    let unread = |since: Instant| now.saturating_duration_since(since) >= GONE_AFTER;
                    if unread(heard_at) {
                        return (close::GOING_AWAY, "silent");
                    }
                    if self.out.waiting_since.is_some_and(unread) {
                        return (close::GOING_AWAY, "unread");
                    }
                    if heard_at.elapsed() >= PING_AFTER && pinged.is_none() {
                        let data = Bytes::copy_from_slice(&fastrand::u64(..).to_be_bytes());
                        pinged = Some(data.clone());
                        self.out.push(Message::Ping(data), 0);
                    }
                    let next = if pinged.is_some() { GONE_AFTER } else { PING_AFTER };
                    alarm.as_mut().reset((heard_at + next).min(now + PING_AFTER).into());
                }
            }
        }
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
async fn next(stream: &mut SplitStream<WebSocket>, json: bool, from: Option<Instant>) -> Incoming {
    if let Some(from) = from {
        tokio::time::sleep_until(from.into()).await;
    }
    let fits = |length| length <= REQUEST_BYTES_MAX;
    let frame: Result<ClientFrame, u64> = match stream.next().await {
        Some(Ok(Message::Binary(bytes))) if !json && fits(bytes.len()) => {
            ClientFrame::decode(bytes.clone()).map_err(|_| nonce::of_protobuf(&bytes))
        }
        Some(Ok(Message::Text(text))) if json && fits(text.len()) => {
            serde_json::from_str(&text).map_err(|_| nonce::of_json(&text))
        }
        Some(Ok(Message::Binary(bytes))) if !json => Err(nonce::of_protobuf(&bytes)),
        Some(Ok(Message::Text(text))) if json => Err(nonce::of_json(&text)),
        Some(Ok(Message::Binary(_) | Message::Text(_))) => Err(0),
        Some(Ok(Message::Ping(_))) => return Incoming::Ping,
        Some(Ok(Message::Pong(data))) => return Incoming::Pong(data),
        Some(Err(error)) => return broken(error),
        Some(Ok(Message::Close(_))) | None => return Incoming::Gone,
    };
    match frame.map(|frame| frame.frame) {
        Ok(Some(request)) => Incoming::Request(request),
        Ok(None) => Incoming::Unreadable(0),
        Err(nonce) => Incoming::Unreadable(nonce),
    }
}

fn broken(error: axum::Error) -> Incoming {
    match error.into_inner().downcast_ref() {
        Some(WebSocketError::Capacity(_)) => {
            Incoming::Broken((close::TOO_BIG, "a frame is too long"))
        }
        Some(WebSocketError::Protocol(_) | WebSocketError::Utf8(_)) => {
            Incoming::Broken((close::PROTOCOL, "this is no WebSocket"))
        }
        _ => Incoming::Gone,
    }
}

/// What waits to be sent.
struct Out {
    sink: SplitSink<WebSocket, Message>,
    queue: VecDeque<Message>,
    /// Of what is queued, or with the sink and not sent.
    bytes: usize,
    /// Something is to be sent, since then.
    waiting_since: Option<Instant>,
    /// The library has a pong that is not sent.
    owes_pong: bool,
    json: bool,
}

impl Out {
    fn push(&mut self, message: Message, bytes: usize) {
        self.bytes += bytes;
        self.waiting_since.get_or_insert_with(Instant::now);
        self.queue.push_back(message);
    }

    /// Sends all that waits. Safe to cancel.
    async fn flush(&mut self) -> Result<(), axum::Error> {
        loop {
            // Empties the write buffer, pongs included, so that it takes the next message.
            poll_fn(|cx| Pin::new(&mut self.sink).poll_flush(cx)).await?;
            let Some(message) = self.queue.pop_front() else {
                break;
            };
            Pin::new(&mut self.sink).start_send(message)?;
        }
        (self.bytes, self.waiting_since, self.owes_pong) = (0, None, false);
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
