//! `sockets`

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use lightstick_chat_proto::{ClientFrame, Hello, Send, ServerFrame, client_frame, part};
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::{LOOK, Reading};
use crate::cli::Sockets;
use crate::generator::{Generator, Strain};
use crate::report::{Chat, Delivery, Report, Server, SocketCosts};
use crate::session::{chat_text, count_part, unix_ms};
use crate::tally::ChatTally;

/// Connections that are opened at one time.
const OPENING_MAX: usize = 100;
/// How long all of them may take to be welcomed.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(120);
/// What a connection reads at once, in bytes.
const BUFFER_BYTES: usize = 2_048;

/// What all connections share.
struct Crowd {
    url: String,
    token: String,
    measuring: AtomicBool,
    tally: Mutex<ChatTally>,
    welcomed: AtomicU64,
    failed: AtomicU64,
}

impl Crowd {
    fn tally(&self) -> std::sync::MutexGuard<'_, ChatTally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn run(args: &Sockets) -> Result<Report> {
    let common = &args.common;
    if !args.url.starts_with("http://") {
        bail!(
            "{} is no http:// URL (the generator speaks no TLS)",
            args.url
        );
    }
    let before = Reading::take(common)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(common.threads))
        .enable_all()
        .build()
        .context("cannot start the threads")?;
    let host = args.url.trim_start_matches("http://").trim_end_matches('/');
    let crowd = Arc::new(Crowd {
        url: format!("ws://{host}/chat/{}", args.room),
        token: common.token.clone().unwrap_or_default(),
        measuring: AtomicBool::new(false),
        tally: Mutex::default(),
        welcomed: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let (stop, stopped) = watch::channel(false);
    let every = Duration::from_secs_f64(1.0 / args.rate);
    let opening = Arc::new(tokio::sync::Semaphore::new(OPENING_MAX));
    let mut clients = JoinSet::new();
    for id in 0..args.connections {
        let (crowd, stopped) = (Arc::clone(&crowd), stopped.clone());
        let opening = Arc::clone(&opening);
        let writes = (id < args.writers).then_some(every);
        let client = async move {
            if client(id, writes, &crowd, &opening, stopped).await.is_err() {
                crowd.failed.fetch_add(1, Ordering::Relaxed);
            }
        };
        clients.spawn_on(client, runtime.handle());
    }
    let begun = Instant::now();
    let there = || {
        let welcomed = crowd.welcomed.load(Ordering::Relaxed);
        welcomed + crowd.failed.load(Ordering::Relaxed) >= args.connections
    };
    while !there() && begun.elapsed() < WELCOME_TIMEOUT {
        thread::sleep(LOOK);
    }
    thread::sleep(args.settle);

    let from = Reading::take(common)?;
    let since = Instant::now();
    crowd.measuring.store(true, Ordering::Relaxed);
    thread::sleep(Duration::from_secs(args.secs));
    crowd.measuring.store(false, Ordering::Relaxed);
    let secs = since.elapsed().as_secs_f64();
    let to = Reading::take(common)?;
    let _ = stop.send(true);
    runtime.block_on(async { while clients.join_next().await.is_some() {} });

    let mut tally = crowd.tally().clone();
    tally.welcomed = crowd.welcomed.load(Ordering::Relaxed);
    let around = from.server.zip(to.server);
    let server = before.server.zip(around);
    let server = server.map(|(before, (from, to))| Server::new(before, from, to, secs));
    let costs = server.map(|server| SocketCosts {
        cpu_us_per_frame: server.cpu_secs * 1e6 / tally.frames.max(1) as f64,
        rss_per_connection: server.rss_after.saturating_sub(server.rss_before) as f64
            / tally.welcomed.max(1) as f64,
    });
    let mut failed = Vec::new();
    let missing = args.connections - tally.welcomed.min(args.connections);
    if missing > 0 {
        failed.push(format!("{missing} connections were not welcomed"));
    }
    Ok(Report {
        command: "sockets",
        url: args.url.clone(),
        delivery: Some(Delivery {
            secs,
            chat: Some(Chat::new(&tally, secs)),
            ..Delivery::default()
        }),
        server,
        sockets: costs,
        generator: Some(Generator::new(
            (from.own, to.own),
            (from.machine, to.machine),
            &Strain::default(),
            around,
            secs,
        )),
        failed,
        ..Report::default()
    })
}

/// One connection, until all stop.
async fn client(
    id: u64,
    every: Option<Duration>,
    crowd: &Crowd,
    opening: &tokio::sync::Semaphore,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    let permit = opening.acquire().await?;
    let mut request = crowd.url.as_str().into_client_request()?;
    let protocol = HeaderValue::from_static("lightstick.chat.v1");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0);
    let (mut socket, _) = connect_async_with_config(request, Some(config), true).await?;
    let hello = Hello {
        token: crowd.token.clone(),
        ..Hello::default()
    };
    socket
        .send(encoded(client_frame::Frame::Hello(hello)))
        .await?;
    let mut permit = Some(permit);
    // Writers are spread over their interval.
    let first = every.map(|every| every.mul_f64(fastrand::f64()));
    let mut due = tokio::time::Instant::now() + first.unwrap_or_default();
    let mut written = 0;
    loop {
        tokio::select! {
            message = socket.next() => {
                let bytes = match message.context("the server has closed")?? {
                    Message::Binary(bytes) => bytes,
                    Message::Close(_) => bail!("the server has closed"),
                    _ => continue,
                };
                let now_ms = unix_ms();
                let measuring = crowd.measuring.load(Ordering::Relaxed);
                let length = bytes.len() as u64;
                let Ok(frame) = ServerFrame::decode(bytes) else {
                    crowd.tally().unreadable += 1;
                    continue;
                };
                if permit.is_some()
                    && frame.parts.iter().any(|part| matches!(part.part, Some(part::Part::Welcome(_))))
                {
                    crowd.welcomed.fetch_add(1, Ordering::Relaxed);
                    permit = None;
                }
                if measuring {
                    let mut tally = crowd.tally();
                    tally.frames += 1;
                    tally.bytes += length;
                    for part in frame.parts.into_iter().filter_map(|part| part.part) {
                        count_part(part, now_ms, &mut tally);
                    }
                }
            }
            () = sleep_until(due), if every.is_some() && permit.is_none() => {
                written += 1;
                due += every.unwrap_or_default();
                let send = Send {
                    // All have one token, so one user: a nonce that came before would be no new message.
                    nonce: id << 32 | written,
                    text: chat_text(id << 32 | written),
                    reply_to: 0,
                };
                socket.send(encoded(client_frame::Frame::Send(send))).await?;
                if crowd.measuring.load(Ordering::Relaxed) {
                    crowd.tally().written += 1;
                }
            }
            _ = stopped.changed() => return Ok(()),
        }
    }
}

fn encoded(frame: client_frame::Frame) -> Message {
    Message::Binary(ClientFrame { frame: Some(frame) }.encode_to_vec().into())
}
