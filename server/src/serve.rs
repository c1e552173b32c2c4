//! The server's life: open, serve, drain, end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lightstick_chat::archive::ArchiveConfig;
use lightstick_chat::{ChatConfig, ChatPlane, ChatTasks};
use lightstick_chat_http::ChatApi;
use lightstick_sfu::MediaPlane;
use lightstick_signaling::token::Grants;
use lightstick_signaling::{Auth, ConnectionLimits, Connections, Keys, Signaling};
use lightstick_tasks::Tasks;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::metrics::{ChatStats, Metrics};
use crate::supervise::{Readiness, Supervisor};
use crate::{keys, operations, pages, token};

/// How often key files are looked at.
const KEYS_EVERY: Duration = Duration::from_secs(5);
/// Guests of one address that have a user's limits each, in development mode.
const DEVELOPMENT_GUESTS: u32 = 1_000;
/// The room whose URLs are printed in development mode.
const DEMO_ROOM: &str = "demo";
const DEMO_TOKEN_SECS: u64 = 24 * 3_600;

/// A server that runs in this process.
#[derive(Debug)]
pub struct Running {
    /// Where the public listener is.
    pub http: SocketAddr,
    /// Where the operations listener is.
    pub operations: SocketAddr,
    /// A token for publishing into any room; only in development mode.
    pub publish_token: Option<String>,
}

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends the process at once.
///
/// # Errors
/// What kept the server from starting or from going on.
pub async fn serve_until_signal(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let public_url = config.http.public_url.clone();
    let (first, mut seen) = oneshot::channel();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        }
        // The receiver lives in this function, until the server has ended.
        let _ = first.send((terminate, interrupt));
    };
    let serving = serve(
        config,
        |running| banner(public_url.as_deref(), running),
        stop,
    );
    tokio::pin!(serving);
    let (mut terminate, mut interrupt) = tokio::select! {
        end = &mut serving => return end,
        Ok(signals) = &mut seen => signals,
    };
    tokio::select! {
        end = &mut serving => end,
        _ = terminate.recv() => bail!("stopped at once by a second signal"),
        _ = interrupt.recv() => bail!("stopped at once by a second signal"),
    }
}

/// Serves until `stop` resolves or a thread or task ends unexpectedly, then drains. `started` hears
/// where.
///
/// # Errors
/// What kept the server from starting or from going on.
pub async fn serve(
    config: Config,
    started: impl FnOnce(&Running),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let leeway = config.signaling.token_leeway.as_secs();
    let development = config.auth.keys.is_empty();
    let live_keys = Keys::new(keys::load_with(&config.auth, leeway)?);
    let auth = if development {
        Auth::development(leeway).context("cannot make a development key")?
    } else {
        Auth::keyed(live_keys.clone())
    };
    let grants = Grants {
        publish: true,
        watch: true,
        ..Grants::default()
    };
    let publish_token =
        auth.development_token(&token::claims("artist", "*", DEMO_TOKEN_SECS, grants)?);

    // Everything that can fail opens before anything runs.
    let http = listen(config.http.bind, "[http] bind").await?;
    let ops = listen(config.operations.bind, "[operations] bind").await?;
    let (plane, events, threads) =
        MediaPlane::start(config.media.clone()).context("cannot start the media plane")?;
    let shards = plane.stats().to_vec();
    let chat = Chatting::start(&config.chat, development, plane.clone()).await?;
    #[cfg(debug_assertions)]
    let media = plane.clone();
    let signaling = Signaling::start(
        config.signaling.clone(),
        auth,
        plane,
        events,
        chat.as_ref()
            .map(|chat| lightstick_chat_http::members(chat.guests_write)),
    )
    .context("in [signaling]")?;

    let running = Running {
        http: http.local_addr()?,
        operations: ops.local_addr()?,
        publish_token,
    };
    let (readiness, ready) = watch::channel(Readiness::Ready);
    let chat_stats = chat.as_ref().map(|chat| ChatStats {
        plane: Arc::clone(chat.plane.stats()),
        archive: Arc::clone(chat.plane.archive().stats()),
    });
    let metrics = Arc::new(Metrics::new(
        shards,
        Arc::clone(signaling.stats()),
        chat_stats.unwrap_or_default(),
    ));
    let ended = CancellationToken::new();
    let connections = Connections::default();
    let mut tasks = Tasks::default();
    let chat_plane = chat.as_ref().map(|chat| chat.plane.clone());
    let chat_api = ChatApi::new(chat_plane, &config.signaling);
    let chat_sockets = chat_api.sockets();
    let router = signaling.router(lightstick_chat_http::routes(chat_api));
    let router = pages::router(router, &config.chat.room.emote_hosts);
    let limits = config.http.limits(&config.signaling.trusted_proxies);
    let stats = signaling.stats().connections();
    let serving = lightstick_signaling::serve(
        http,
        router,
        limits,
        stats,
        connections.clone(),
        ended.clone(),
    );
    tasks.spawn("http-listener", serving);
    let router = operations::router(metrics, ready);
    #[cfg(debug_assertions)]
    let router = router.merge(crate::faults::router(media, &mut tasks, ended.clone()));
    let serving = lightstick_signaling::serve(
        ops,
        router,
        ConnectionLimits::default(),
        Arc::default(),
        connections.clone(),
        ended.clone(),
    );
    tasks.spawn("operations-listener", serving);
    // In development mode there are no keys to reload, and a SIGHUP must not end the process.
    tasks.spawn(
        "key-reload",
        reload_keys(config.clone(), live_keys, leeway, ended.clone()),
    );
    tracing::info!(http = %running.http, operations = %running.operations, development, "serving");
    started(&running);

    let supervisor = Supervisor {
        tasks,
        connections,
        signaling,
        chat_sockets,
        chat: chat.map(|chat| (chat.tasks, chat._folder)),
        media: threads,
        readiness,
        ended,
    };
    supervisor.run(stop, config.shutdown.deadline).await?;
    Ok(())
}

struct Chatting {
    plane: ChatPlane,
    guests_write: bool,
    tasks: ChatTasks,
    /// Where a chat without keys keeps what nobody will need: it goes when the server does.
    _folder: Option<TempDir>,
}

impl Chatting {
    async fn start(
        config: &ChatConfig,
        development: bool,
        media: MediaPlane,
    ) -> anyhow::Result<Option<Self>> {
        if !config.enabled {
            return Ok(None);
        }
        let mut config = config.clone();
        // In development mode tokens die with the process, and so do those whom they named.
        let unset = config.archive.data_dir == ArchiveConfig::default().data_dir;
        let folder = match development && unset {
            true => Some(tempfile::tempdir().context("cannot make a folder for the chat")?),
            false => None,
        };
        if let Some(folder) = &folder {
            config.archive.data_dir = folder.path().join("chat");
        }
        if development {
            // All who try it out come from one machine.
            let guests = &mut config.room.guests_per_address;
            *guests = (*guests).max(DEVELOPMENT_GUESTS);
        }
        let (plane, tasks) = ChatPlane::start(&config, media)
            .await
            .context("in [chat]")?;
        Ok(Some(Self {
            plane,
            guests_write: config.guests_write || development,
            tasks,
            _folder: folder,
        }))
    }
}

async fn listen(addr: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("cannot listen on {addr} ({key})"))
}

/// Takes over changed keys: of the key files, and of the configuration file's `[auth]`.
async fn reload_keys(
    config: Config,
    live: Keys,
    leeway: u64,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut every = tokio::time::interval(KEYS_EVERY);
    let mut auth = config.auth;
    let mut before = keys::fingerprint(&auth);
    loop {
        let asked = tokio::select! {
            () = ended.cancelled() => return Ok(()),
            _ = every.tick() => false,
            _ = hangup.recv() => true,
        };
        if asked {
            match config::load(config.file.as_deref(), &[]) {
                Ok(fresh) if !fresh.auth.keys.is_empty() => auth = fresh.auth,
                Ok(_) => {
                    tracing::warn!("the configuration has no keys; keeping the old ones");
                    continue;
                }
                // The files of the old keys are looked at again with the next tick.
                Err(error) => {
                    tracing::warn!("the keys were not reloaded: {error:#}");
                    continue;
                }
            }
        }
        let now = keys::fingerprint(&auth);
        if now == before && !asked {
            continue;
        }
        match keys::load_with(&auth, leeway) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "keys reloaded");
                live.replace(keys);
                before = now;
            }
            Err(error) => tracing::warn!("the keys were not reloaded: {error:#}"),
        }
    }
}

/// Says where everything is, on standard output.
fn banner(public_url: Option<&str>, running: &Running) {
    let base = public_url.map_or_else(|| format!("http://{}", running.http), str::to_owned);
    let base = base.trim_end_matches('/');
    println!("Lightstick {} is ready.", env!("CARGO_PKG_VERSION"));
    match &running.publish_token {
        Some(token) => {
            println!("  Development mode: no keys are configured, anyone may watch.");
            println!("  Studio:  {base}/studio/{DEMO_ROOM}#token={token}");
            println!("  Watch:   {base}/watch/{DEMO_ROOM}");
            println!("  WHIP:    {base}/whip/{DEMO_ROOM}");
            println!("  Token:   {token}");
        }
        None => {
            println!("  Studio:  {base}/studio/{{room}}");
            println!("  Watch:   {base}/watch/{{room}}");
            println!("  Tokens:  lightstick token --room NAME --publish");
        }
    }
    println!("  Metrics: http://{}/metrics", running.operations);
}
