//! The sending side of a session: a publisher.

use std::time::{Duration, Instant};

use lightstick_types::TrackKind;
use str0m::Rtc;
use str0m::format::Codec as Str0mCodec;
use str0m::media::{Mid, Pt};
use str0m::rtp::RtpWrite;

use super::{Gauges, Session, State};
use crate::source::{MediaPacket, MediaSource, SourceConfig};
use crate::stamp;
use crate::tally::Burst;

/// Where a publisher's RTP sequence numbers start: far from a roll-over.
const FIRST_RTP_SEQ: u64 = 1_000;

/// What a publisher did.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublisherTally {
    pub audio: u64,
    pub video: u64,
    /// Audio packets sent within the measured window.
    pub audio_in_window: u64,
    /// Video packets sent within the measured window.
    pub video_in_window: u64,
    /// PLI and FIR that came.
    pub keyframe_requests: u64,
    /// The same within the measured window.
    pub keyframe_requests_in_window: u64,
    /// The most of those that came within one second; see [`Burst::most_in_a_second`].
    pub keyframe_requests_most: u64,
    pub keyframes: u64,
    /// The most that a packet left behind its time.
    pub late_max: Duration,
    /// The same within the measured window.
    pub late_max_in_window: Duration,
    /// The connection ended before the publisher left.
    pub lost: bool,
}

impl PublisherTally {
    pub(super) fn begin_window(&mut self) {
        (self.audio_in_window, self.video_in_window) = (0, 0);
        self.late_max_in_window = Duration::ZERO;
    }
}

pub(super) struct Publisher {
    pub(super) config: SourceConfig,
    pub(super) audio: Mid,
    pub(super) video: Mid,
    /// None until connected.
    pub(super) sending: Option<Sending>,
    pub(super) tally: PublisherTally,
    /// Requests for keyframes within the measured window.
    pub(super) requests: Burst,
}

pub(super) struct Sending {
    pub(super) source: MediaSource,
    pub(super) audio_pt: Pt,
    pub(super) video_pt: Pt,
}

impl Session {
    pub(super) fn send_due(&mut self, now: Instant, gauges: &Gauges) {
        let State::Publish(publisher) = &mut self.side else {
            return;
        };
        let Some(sending) = &mut publisher.sending else {
            return;
        };
        let tally = &mut publisher.tally;
        loop {
            let now_us = stamp::now_us();
            let Some(packet) = sending.source.poll(now, now_us) else {
                return;
            };
            let within = u64::from(gauges.window.holds(now_us));
            let late = now - packet.due;
            tally.late_max = tally.late_max.max(late);
            if within > 0 {
                tally.late_max_in_window = tally.late_max_in_window.max(late);
            }
            let (mid, pt) = match packet.kind {
                TrackKind::Audio => {
                    tally.audio += 1;
                    tally.audio_in_window += within;
                    (publisher.audio, sending.audio_pt)
                }
                TrackKind::Video => {
                    tally.video += 1;
                    tally.video_in_window += within;
                    (publisher.video, sending.video_pt)
                }
            };
            write(&mut self.rtc, mid, pt, packet, now);
        }
    }

    /// The payload type that the answer likes best and that our packetisation fits.
    pub(super) fn pt(&self, mid: Mid) -> Option<Pt> {
        let fits = |pt: &Pt| {
            let params = self.rtc.codec_config().find(|p| p.pt() == *pt);
            params.is_some_and(|p| {
                let spec = p.spec();
                spec.codec != Str0mCodec::H264 || spec.format.packetization_mode == Some(1)
            })
        };
        self.rtc.media(mid)?.remote_pts().iter().copied().find(fits)
    }
}

fn write(rtc: &mut Rtc, mid: Mid, pt: Pt, packet: MediaPacket, now: Instant) {
    let mut direct = rtc.direct_api();
    let Some(stream) = direct.stream_tx_by_mid(mid, None) else {
        return;
    };
    let seq = (FIRST_RTP_SEQ + u64::from(packet.seq)).into();
    let write = RtpWrite::new(pt, seq, packet.rtp_time, now, packet.payload)
        .marker(packet.marker)
        .nackable(packet.kind == TrackKind::Video);
    stream.write_rtp(write);
}
