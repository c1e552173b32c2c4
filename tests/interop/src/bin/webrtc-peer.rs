//! The `webrtc` crate as a program: publishes a clip, or watches. `tests/clients/README.md` says what it prints.
//!
//! `webrtc-peer publish|view URL ADDRESS [TOKEN CLIP]`: ADDRESS is where its media leaves from, CLIP an IVF file.

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use lightstick_bench::clip::Clip;
use lightstick_bench::signal::Opened;
use lightstick_bench::source::{MediaSource, SourceConfig};
use lightstick_bench::stamp;
use lightstick_interop::{Publisher, Repair, VIDEO_BITRATE, Viewer, signal};
use lightstick_types::{Bitrate, Codec, TrackKind};
use tokio::sync::oneshot;

const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Tells the test what happened, and when. `more` is the inside of a JSON object.
fn say(event: &str, more: &str) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH);
    let at = at.unwrap_or_default().as_millis();
    println!("{{\"at\":{at},\"event\":\"{event}\"{more}}}");
}

async fn post(url: &str, token: Option<&str>, offer: String) -> Result<Opened> {
    say("posted", "");
    signal(url, token, move |signal| signal.open(&offer)).await
}

/// Completes when standard input ends.
fn told_to_stop() -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        // However it ends: whoever started this is gone.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    told
}

async fn publish(publisher: &Publisher, clip: &'static Clip) -> Result<()> {
    let config = SourceConfig {
        clip: Some(clip),
        codec: clip.codec,
        video: VIDEO_BITRATE,
        audio: Bitrate(64_000),
        gop: Duration::from_secs(1),
    };
    let mut source = MediaSource::new(config, Instant::now());
    loop {
        tokio::time::sleep_until(source.next_due().into()).await;
        while let Some(packet) = source.poll(Instant::now(), stamp::now_us()) {
            publisher.send(&packet).await?;
        }
    }
}

/// Counts the frames of one track, with the longest wait for one of them.
struct Counter {
    kind: &'static str,
    frames: u64,
    gap: Duration,
    last: Instant,
    told: Instant,
}

impl Counter {
    fn new(kind: &'static str) -> Self {
        let now = Instant::now();
        Self {
            kind,
            frames: 0,
            gap: Duration::ZERO,
            last: now,
            told: now,
        }
    }

    fn take(&mut self) {
        let now = Instant::now();
        if self.frames > 0 {
            self.gap = self.gap.max(now - self.last);
        }
        self.last = now;
        self.frames += 1;
        if now - self.told < REPORT_EVERY {
            return;
        }
        self.told = now;
        let (kind, frames, gap) = (self.kind, self.frames, self.gap.as_millis());
        say(
            "frames",
            &format!(",\"kind\":\"{kind}\",\"frames\":{frames},\"gap\":{gap}"),
        );
        self.gap = Duration::ZERO;
    }
}

async fn view(viewer: &mut Viewer) -> Result<()> {
    let [mut audio, mut video] = ["audio", "video"].map(Counter::new);
    loop {
        let received = viewer.next().await?;
        match received.kind {
            TrackKind::Audio => audio.take(),
            // Only the last packet of a picture has the marker bit.
            TrackKind::Video if received.packet.header.marker => video.take(),
            TrackKind::Video => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, url, address, rest @ ..] = args.as_slice() else {
        bail!("webrtc-peer publish|view URL ADDRESS [TOKEN CLIP]");
    };
    let address: IpAddr = address.parse().context("ADDRESS")?;
    let token = rest.first().map(String::as_str);
    let stop = told_to_stop();
    let joined = || {
        say("state", ",\"state\":\"connected\"");
        say("joined", "");
    };
    let opened = match role.as_str() {
        "publish" => {
            let clip = Clip::load(Path::new(rest.get(1).context("CLIP")?))?;
            let (mut publisher, offer) =
                Publisher::offer_from(address, clip.codec, Repair::Rtx).await?;
            let opened = post(url, token, offer).await?;
            publisher.accept(&opened.answer).await?;
            joined();
            tokio::select! {
                ended = publish(&publisher, clip) => ended?,
                _ = stop => {}
            }
            opened
        }
        "view" => {
            let (mut viewer, offer) = Viewer::offer_from(address, Codec::H264, Repair::Rtx).await?;
            let opened = post(url, token, offer).await?;
            viewer.accept(&opened.answer).await?;
            joined();
            tokio::select! {
                ended = view(&mut viewer) => ended?,
                _ = stop => {}
            }
            opened
        }
        other => bail!("no such role: {other}"),
    };
    signal(url, token, move |signal| signal.close(&opened.url)).await?;
    say("left", "");
    Ok(())
}
