//! The sending side of a session: a publisher.

use std::time::{Duration, Instant};

use lightstick_types::TrackKind;
use str0m::Rtc;
use str0m::format::Codec as Str0mCodec;
use str0m::media::{Mid, Pt};
use str0m::rtp::RtpWrite;

use super::Gauges;
use crate::source::{MediaPacket, MediaSource, SourceConfig};
use crate::stamp;
use crate::tally::Burst;

/// Where a publisher's RTP sequence numbers start: far from a roll-over.
const FIRST_RTP_SEQ: u64 = 1_000;

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
    fn begin_window(&mut self) {
        (self.audio_in_window, self.video_in_window) = (0, 0);
        self.late_max_in_window = Duration::ZERO;
    }
}

pub(super) struct Publisher {
    config: SourceConfig,
    pub(super) audio: Mid,
    pub(super) video: Mid,
    /// None until connected.
    pub(super) sending: Option<Sending>,
    tally: PublisherTally,
    /// Requests for keyframes within the measured window.
    requests: Burst,
}

pub(super) struct Sending {
    pub(super) source: MediaSource,
    audio_pt: Pt,
    video_pt: Pt,
}

impl Publisher {
    /// Of tracks that are numbered as an answer to an offer of both has them.
    pub(super) fn new(config: SourceConfig) -> Self {
        Self {
            config,
            audio: Mid::from("0"),
            video: Mid::from("1"),
            sending: None,
            tally: PublisherTally::default(),
            requests: Burst::default(),
        }
    }

    /// Begins to send, once connected.
    pub(super) fn begin(&mut self, rtc: &Rtc, now: Instant) {
        let payload_types = payload_type(rtc, self.audio).zip(payload_type(rtc, self.video));
        if let Some((audio_pt, video_pt)) = payload_types {
            self.sending.get_or_insert_with(|| Sending {
                source: MediaSource::new(self.config, now),
                audio_pt,
                video_pt,
            });
        }
    }

    pub(super) fn keyframe_asked(&mut self, now: Instant, within: bool) {
        self.tally.keyframe_requests += 1;
        if within {
            self.requests.note(now);
        }
        if let Some(sending) = &mut self.sending {
            sending.source.request_keyframe();
        }
    }

    pub(super) fn begin_window(&mut self) {
        self.tally.begin_window();
        self.requests = Burst::default();
    }

    pub(super) fn tally(&self, lost: bool) -> PublisherTally {
        let sending = self.sending.as_ref();
        PublisherTally {
            keyframes: sending.map_or(0, |sending| sending.source.keyframes()),
            keyframe_requests_in_window: self.requests.all(),
            keyframe_requests_most: self.requests.most_in_a_second(),
            lost,
            ..self.tally
        }
    }

    pub(super) fn send_due(&mut self, rtc: &mut Rtc, now: Instant, gauges: &Gauges) {
        let Some(sending) = &mut self.sending else {
            return;
        };
        let tally = &mut self.tally;
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
                    (self.audio, sending.audio_pt)
                }
                TrackKind::Video => {
                    tally.video += 1;
                    tally.video_in_window += within;
                    (self.video, sending.video_pt)
                }
            };
            write(rtc, mid, pt, packet, now);
        }
    }
}

/// The payload type that the answer likes best and that our packetisation fits.
fn payload_type(rtc: &Rtc, mid: Mid) -> Option<Pt> {
    let fits = |pt: &Pt| {
        let params = rtc.codec_config().find(|p| p.pt() == *pt);
        params.is_some_and(|p| {
            let spec = p.spec();
            spec.codec != Str0mCodec::H264 || spec.format.packetization_mode == Some(1)
        })
    };
    rtc.media(mid)?.remote_pts().iter().copied().find(fits)
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
