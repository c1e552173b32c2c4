//! A chat client over a WebSocket.

use std::collections::VecDeque;

use futures_util::{SinkExt as _, StreamExt as _};
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::part::Part;
use lightstick_chat_proto::{
    ClientFrame, Hello, Message as ChatMessage, Position, Send, ServerFrame, Welcome,
};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{PATIENCE, Server};

pub(crate) const PROTOBUF: &str = "lightstick.chat.v1";
pub(crate) const JSON: &str = "lightstick.chat.v1.json";

pub(crate) struct Ws {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    parts: VecDeque<Part>,
    json: bool,
}

#[derive(Debug)]
pub(crate) enum Next {
    Part(Box<Part>),
    /// With code and reason.
    Closed(u16, String),
}

impl Ws {
    /// Connects and says nothing.
    pub(crate) async fn open(server: &Server, room: &str, protocol: &str) -> Self {
        let url = format!("ws://{}/chat/{room}", server.addr);
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.parse().unwrap());
        let (socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
        let chosen = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(chosen.unwrap(), protocol);
        Self {
            socket,
            parts: VecDeque::new(),
            json: protocol == JSON,
        }
    }

    /// Connects by a socket that holds little of what is not read.
    pub(crate) async fn narrow(server: &Server, room: &str) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(server.addr).await.unwrap();
        let mut request = format!("ws://{}/chat/{room}", server.addr)
            .into_client_request()
            .unwrap();
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, PROTOBUF.parse().unwrap());
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .unwrap();
        Self {
            socket,
            parts: VecDeque::new(),
            json: false,
        }
    }

    /// Connects and says hello with a token, or as a guest.
    pub(crate) async fn join(server: &Server, room: &str, token: &str) -> (Self, Welcome) {
        let mut ws = Self::open(server, room, PROTOBUF).await;
        let welcome = ws.hello(token, None).await;
        (ws, welcome)
    }

    pub(crate) async fn hello(&mut self, token: &str, position: Option<Position>) -> Welcome {
        let hello = Hello {
            position,
            token: token.into(),
        };
        self.ask(Request::Hello(hello)).await;
        self.until(|part| match part {
            Part::Welcome(welcome) => Some(welcome),
            _ => None,
        })
        .await
    }

    pub(crate) async fn ask(&mut self, request: Request) {
        let frame = ClientFrame {
            frame: Some(request),
        };
        let message = match self.json {
            true => Message::text(serde_json::to_string(&frame).unwrap()),
            false => Message::binary(frame.encode_to_vec()),
        };
        self.raw(message).await;
    }

    pub(crate) async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub(crate) async fn say(&mut self, nonce: u64, text: &str) {
        let send = Send {
            nonce,
            text: text.into(),
            reply_to: 0,
        };
        self.ask(Request::Send(send)).await;
    }

    /// What comes next; pings are passed over.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Next::Part(Box::new(part));
            }
            let came = tokio::time::timeout(PATIENCE, self.socket.next());
            let frame = match came.await.expect("a frame in time") {
                Some(Ok(Message::Binary(bytes))) => {
                    assert!(!self.json);
                    ServerFrame::decode(bytes).unwrap()
                }
                Some(Ok(Message::Text(text))) => {
                    assert!(self.json);
                    serde_json::from_str(&text).unwrap()
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Next::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => {
                    return Next::Closed(0, String::new());
                }
                Some(Ok(_)) => continue,
            };
            self.parts
                .extend(frame.parts.into_iter().filter_map(|part| part.part));
        }
    }

    /// The first part that is wanted; those before it wait for who wants them.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Part) -> Option<T>) -> T {
        let mut before = Vec::new();
        loop {
            match self.next().await {
                Next::Part(part) => {
                    if let Some(found) = wanted(Part::clone(&part)) {
                        for part in before.into_iter().rev() {
                            self.parts.push_front(part);
                        }
                        return found;
                    }
                    before.push(*part);
                }
                Next::Closed(code, reason) => panic!("closed: {code} {reason}"),
            }
        }
    }

    /// Waits for the end: its code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Next::Closed(code, reason) = self.next().await {
                return (code, reason);
            }
        }
    }

    /// The answer to a request: the id, or the code of the refusal.
    pub(crate) async fn answer(&mut self, wanted: u64) -> Result<u64, String> {
        self.until(|part| match part {
            Part::Ack(ack) if ack.nonce == wanted => Some(Ok(ack.id)),
            Part::Refusal(refusal) if refusal.nonce == wanted => Some(Err(refusal.code)),
            _ => None,
        })
        .await
    }

    /// The next message that everybody is shown.
    pub(crate) async fn message(&mut self) -> ChatMessage {
        self.entry(|entry| match entry {
            Entry::Message(message) => Some(message),
            _ => None,
        })
        .await
    }

    /// The first entry that is wanted; those before it in its batch are passed over.
    pub(crate) async fn entry<T>(&mut self, mut wanted: impl FnMut(Entry) -> Option<T>) -> T {
        let (found, rest) = self
            .until(|part| {
                let Part::Batch(mut batch) = part else {
                    return None;
                };
                let mut entries = std::mem::take(&mut batch.entries).into_iter();
                let found = entries.find_map(|entry| wanted(entry.entry?))?;
                batch.entries = entries.collect();
                Some((found, batch))
            })
            .await;
        if !rest.entries.is_empty() {
            self.parts.push_front(Part::Batch(rest));
        }
        found
    }
}
