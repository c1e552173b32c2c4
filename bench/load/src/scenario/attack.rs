//! `attack`

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use lightstick_chat_proto::{ClientFrame, Hello, ServerFrame, client_frame, part};
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Reading, Workers, bind_address, next_window, sleep_until};
use crate::cli::Attack as Args;
use crate::joiner::{ChatCrowd, Joiner};
use crate::report::{Chat, Delivery, Report, Server};
use crate::session::{Attack, harm};
use crate::tally::ChatTally;

/// Joins of attackers by data channels a second.
const JOIN_RATE: f64 = 50.0;
/// How long one that joins with many others waits to be welcomed.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(60);
/// From one that was thrown out to its next try.
const AGAIN: Duration = Duration::from_millis(20);
/// A frame that the server rejects.
const OVERSIZE: usize = 64 * 1024;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a WebSocket is misused.
#[derive(Clone, Copy, Debug)]
enum Misuse {
    /// As data channels are.
    Like(Attack),
    /// Frames of [`OVERSIZE`] bytes.
    Oversize,
    /// It never says hello.
    Silent,
    Unread,
    /// It says hello and leaves.
    Visit,
    /// It pings and never reads, before its hello or after it.
    Pings {
        hello: bool,
    },
}

impl Misuse {
    fn of(index: u64) -> Self {
        const ALL: [Misuse; 11] = [
            Misuse::Like(Attack::Flood),
            Misuse::Like(Attack::Hello),
            Misuse::Like(Attack::Replay),
            Misuse::Like(Attack::Junk),
            Misuse::Like(Attack::Texts),
            Misuse::Oversize,
            Misuse::Silent,
            Misuse::Unread,
            Misuse::Visit,
            Misuse::Pings { hello: false },
            Misuse::Pings { hello: true },
        ];
        ALL[index as usize % ALL.len()]
    }
}

/// What all WebSockets share.
struct Crowd {
    url: String,
    stopped: AtomicBool,
    /// What happened, by its name.
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Crowd {
    fn count(&self, what: impl Into<String>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what.into()).or_default() += 1;
    }

    /// A connection that has said hello, if it is to.
    async fn open(&self, hello: bool) -> Result<Socket> {
        let mut request = self.url.as_str().into_client_request()?;
        let protocol = HeaderValue::from_static("lightstick.chat.v1");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", protocol);
        let (mut socket, _) = connect_async(request).await?;
        if hello {
            let frame = Some(client_frame::Frame::Hello(Hello::default()));
            let bytes = ClientFrame { frame }.encode_to_vec();
            socket.send(Message::Binary(bytes.into())).await?;
        }
        Ok(socket)
    }

    /// Takes one message. False: the server has had enough.
    fn hear(&self, message: Option<Message>) -> bool {
        match message {
            Some(Message::Binary(bytes)) => {
                let parts = ServerFrame::decode(bytes).unwrap_or_default().parts;
                for part in parts.into_iter().filter_map(|part| part.part) {
                    if let part::Part::Refusal(refusal) = part {
                        self.count(format!("refused: {}", refusal.code));
                    }
                }
                true
            }
            Some(Message::Close(frame)) => {
                let why = frame.map_or_else(String::new, |frame| {
                    format!(" ({} {})", u16::from(frame.code), frame.reason)
                });
                self.count(format!("thrown out{why}"));
                false
            }
            Some(_) => true,
            None => {
                self.count("cut off");
                false
            }
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Report> {
    let (common, place) = (&args.common, &args.place);
    if !place.url.starts_with("http://") {
        bail!(
            "{} is no http:// URL (the generator speaks no TLS)",
            place.url
        );
    }
    let before = Reading::take(common)?;
    let host = place
        .url
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let crowd = Arc::new(Crowd {
        url: format!("ws://{host}/chat/{}", place.room),
        stopped: AtomicBool::new(false),
        counts: Mutex::default(),
    });
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(common.threads))
        .enable_all()
        .build()
        .context("cannot start the threads")?;
    let mut clients = JoinSet::new();
    for id in 0..args.sockets {
        let client = misuse(Arc::clone(&crowd), id, stopped.clone());
        clients.spawn_on(client, runtime.handle());
    }
    for _ in 0..args.joins {
        let client = join(Arc::clone(&crowd), stopped.clone());
        clients.spawn_on(client, runtime.handle());
    }

    let workers = Workers::start(1)?;
    let joiner = Joiner {
        signal: place.watching(common.watch_token.as_deref())?,
        bind: bind_address(common, &place.url)?,
        workers: workers.handles(),
        full: usize::MAX,
        link: None,
        chat: Some(ChatCrowd::Attackers),
    };
    let never = AtomicBool::new(false);
    let outcome = joiner.join_all(0, args.channels as usize, JOIN_RATE, &never, |_| ());
    let window = next_window(Duration::from_secs(args.secs));
    joiner.workers.iter().for_each(|w| w.measure(window));
    sleep_until(window.from_us);
    let from = Reading::take(common)?;
    sleep_until(window.to_us);
    let to = Reading::take(common)?;

    crowd.stopped.store(true, Ordering::Relaxed);
    let _ = stop.send(true);
    runtime.block_on(async { while clients.join_next().await.is_some() {} });
    joiner.leave_all(&outcome.joined);
    drop(joiner);
    let mut chat = ChatTally::default();
    for worker in &workers.finish()? {
        chat.add(&worker.gauges.chat);
    }
    let secs = args.secs as f64;
    let around = from.server.zip(to.server);
    let mut counts = crowd.counts.lock().unwrap_or_else(PoisonError::into_inner);
    for (why, count) in &outcome.failures {
        counts.insert(format!("viewers that could not join: {why}"), *count);
    }
    Ok(Report {
        command: "attack",
        url: place.url.clone(),
        delivery: Some(Delivery {
            secs,
            chat: Some(Chat::new(&chat, secs)),
            ..Delivery::default()
        }),
        server: before
            .server
            .zip(around)
            .map(|(before, (from, to))| Server::new(before, from, to, secs)),
        sockets_attack: Some(std::mem::take(&mut *counts)),
        ..Report::default()
    })
}

/// Joins once, with all the others, and stays.
async fn join(crowd: Arc<Crowd>, mut stopped: watch::Receiver<bool>) {
    let begun = Instant::now();
    let welcome = async {
        let mut socket = crowd.open(true).await?;
        let first = socket.next().await;
        anyhow::Ok((socket, first.transpose()?))
    };
    match timeout(WELCOME_TIMEOUT, welcome).await {
        Ok(Ok((mut socket, Some(Message::Binary(_))))) => {
            let secs = begun.elapsed().as_secs();
            crowd.count(format!("joined at once, welcomed within {} s", secs + 1));
            loop {
                tokio::select! {
                    message = socket.next() => {
                        if !crowd.hear(message.and_then(Result::ok)) {
                            return;
                        }
                    }
                    _ = stopped.changed() => return,
                }
            }
        }
        Ok(Ok(_)) => crowd.count("joined at once, not welcomed"),
        Ok(Err(error)) => crowd.count(format!("joined at once, refused: {error}")),
        Err(_) => crowd.count("joined at once, not answered in time"),
    }
}

/// Misuses a WebSocket, and another when that is closed, until all stop.
async fn misuse(crowd: Arc<Crowd>, id: u64, mut stopped: watch::Receiver<bool>) {
    let misuse = Misuse::of(id);
    let mut count = 0;
    while !crowd.stopped.load(Ordering::Relaxed) {
        let result = tokio::select! {
            result = once(&crowd, misuse, id, &mut count) => result,
            _ = stopped.changed() => return,
        };
        if let Err(error) = result {
            crowd.count(format!("failed: {error}"));
        }
        sleep(AGAIN).await;
    }
}

async fn once(crowd: &Crowd, misuse: Misuse, id: u64, count: &mut u64) -> Result<()> {
    let silent = matches!(misuse, Misuse::Silent | Misuse::Pings { hello: false });
    let mut socket = crowd.open(!silent).await?;
    crowd.count("connected");
    if let Misuse::Pings { .. } = misuse {
        return flood_with_pings(crowd, socket).await;
    }
    let every = match misuse {
        Misuse::Unread => std::future::pending().await,
        Misuse::Visit => {
            crowd.hear(socket.next().await.transpose()?);
            return Ok(());
        }
        Misuse::Silent | Misuse::Pings { .. } => Duration::from_secs(3_600),
        Misuse::Oversize => Duration::from_millis(10),
        Misuse::Like(attack) => attack.every(),
    };
    let mut tick = tokio::time::interval(every);
    tick.tick().await;
    loop {
        tokio::select! {
            message = socket.next() => {
                // An error is the end of the connection, as the end itself is.
                if !crowd.hear(message.and_then(Result::ok)) {
                    return Ok(());
                }
            }
            _ = tick.tick() => {
                *count += 1;
                let (binary, bytes) = match misuse {
                    Misuse::Like(attack) => harm(attack, *count, id as u16),
                    _ => (true, vec![0; OVERSIZE]),
                };
                crowd.count("frames written");
                socket.send(match binary {
                    true => Message::Binary(bytes.into()),
                    false => Message::Text(String::from_utf8_lossy(&bytes).into_owned().into()),
                }).await?;
            }
        }
    }
}

/// Writes pings of the longest payload as fast as they are taken, until the connection ends.
async fn flood_with_pings(crowd: &Crowd, socket: Socket) -> Result<()> {
    const AT_ONCE: usize = 512;
    let MaybeTlsStream::Plain(mut stream) = socket.into_inner() else {
        bail!("the generator speaks no TLS");
    };
    // FIN and ping; masked with zeros, 125 bytes.
    let frame = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[7; 125]].concat();
    let frames = frame.repeat(AT_ONCE);
    while stream.write_all(&frames).await.is_ok() {
        for _ in 0..AT_ONCE {
            crowd.count("pings written");
        }
    }
    crowd.count("thrown out for its pings");
    Ok(())
}
