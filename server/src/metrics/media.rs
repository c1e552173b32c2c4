//! What is counted of rooms, sessions, media and HTTP.

use std::sync::atomic::Ordering::Relaxed;

use lightstick_sfu::{DELAY_BOUNDS_US, ESTIMATE_BOUNDS_KBPS, ShardStats};
use lightstick_types::HintCode;

use super::definition::{Definition, Kind, ShardValue, Source, counter, gauge, shard};
use super::histogram;

/// A row of [`HINTS`].
macro_rules! hint {
    ($code:ident) => {
        (HintCode::$code.as_str(), |stats: &ShardStats| {
            stats.hinted[HintCode::$code.index()].get() as f64
        })
    };
}

const HINTS: &[(&str, ShardValue); HintCode::COUNT] = &[
    hint!(BFrames),
    hint!(LongKeyframeInterval),
    hint!(NoKeyframes),
    hint!(KeyframeRequestsIgnored),
    hint!(NoParameterSets),
    hint!(NoVideoPackets),
    hint!(NoAudioPackets),
    hint!(UnplacedPackets),
    hint!(ChangingSsrc),
    hint!(MonoAudio),
];

pub(super) const METRICS: &[Definition] = &[
    gauge(
        "lightstick_build_info",
        "Always 1. The version is a label",
        &["version"],
        Source::Build,
    ),
    gauge(
        "lightstick_rooms",
        "Rooms by state: started once a publisher has joined, waiting before",
        &["state"],
        Source::Signaling(|s| {
            let waiting = s.rooms.saturating_sub(s.rooms_started);
            vec![
                (vec!["started"], s.rooms_started as f64),
                (vec!["waiting"], waiting as f64),
            ]
        }),
    ),
    gauge(
        "lightstick_sessions",
        "WebRTC sessions, connecting ones included",
        &["shard", "role"],
        Source::ShardBy(&[
            ("publisher", |s| s.publishers.get() as f64),
            ("viewer", |s| s.viewers.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_shard_entries",
        "Entries in a shard's tables; every table is empty without sessions",
        &["shard", "table"],
        Source::ShardBy(&[
            ("rooms", |s| s.held_rooms.get() as f64),
            ("addresses", |s| s.held_addresses.get() as f64),
            ("names", |s| s.held_names.get() as f64),
            ("timers", |s| s.held_timers.get() as f64),
            ("joins", |s| s.joins_waiting.get() as f64),
            ("chat_rooms", |s| s.held_chat_rooms.get() as f64),
        ]),
    ),
    counter(
        "lightstick_joins_total",
        "WHIP and WHEP joins by outcome",
        &["role", "outcome"],
        Source::Signaling(|s| {
            let row = |(role, outcome, n): &(
                lightstick_types::Role,
                lightstick_signaling::JoinOutcome,
                u64,
            )| { (vec![role.as_str(), outcome.as_str()], *n as f64) };
            s.joins.iter().map(row).collect()
        }),
    ),
    counter(
        "lightstick_sessions_left_total",
        "Ended sessions by reason",
        &["reason"],
        Source::Signaling(|s| {
            s.left
                .iter()
                .map(|(r, n)| (vec![r.as_str()], *n as f64))
                .collect()
        }),
    ),
    counter(
        "lightstick_http_requests_total",
        "HTTP requests by route and status class",
        &["route", "class"],
        Source::Signaling(|s| {
            const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
            let class = |c: u8| CLASSES[usize::from(c.clamp(1, 5)) - 1];
            s.requests
                .iter()
                .map(|(r, c, n)| (vec![r.as_str(), class(*c)], *n as f64))
                .collect()
        }),
    ),
    gauge(
        "lightstick_http_connections",
        "Open connections of the public listener, WebSockets included",
        &[],
        Source::Signaling(|s| vec![(vec![], s.connections as f64)]),
    ),
    counter(
        "lightstick_http_connections_refused_total",
        "Connections refused by the public listener, by the limit reached",
        &["limit"],
        Source::Signaling(|s| {
            s.connections_refused
                .iter()
                .map(|(limit, n)| (vec![limit.as_str()], *n as f64))
                .collect()
        }),
    ),
    counter(
        "lightstick_refusals_total",
        "Problem details sent, by code",
        &["code"],
        Source::Signaling(|s| {
            s.refusals
                .iter()
                .map(|(c, n)| (vec![c.as_str()], *n as f64))
                .collect()
        }),
    ),
    shard(
        "lightstick_datagrams_received_total",
        "Datagrams and TCP frames received",
        |s| s.datagrams_in.get() as f64,
    ),
    shard("lightstick_received_bytes_total", "Bytes of those", |s| {
        s.bytes_in.get() as f64
    }),
    shard(
        "lightstick_datagrams_sent_total",
        "Datagrams and TCP frames sent",
        |s| s.datagrams_out.get() as f64,
    ),
    shard("lightstick_sent_bytes_total", "Bytes of those", |s| {
        s.bytes_out.get() as f64
    }),
    shard(
        "lightstick_send_calls_total",
        "Send system calls; one carries many datagrams",
        |s| s.send_calls.get() as f64,
    ),
    shard(
        "lightstick_rtp_received_total",
        "RTP packets received from publishers",
        |s| s.rtp_in.get() as f64,
    ),
    shard(
        "lightstick_rtp_forwarded_total",
        "RTP packets forwarded to viewers",
        |s| s.rtp_out.get() as f64,
    ),
    shard(
        "lightstick_rtp_paced_total",
        "Forwarded RTP packets that were delayed by pacing: keyframes, and the start of new viewers",
        |s| s.paced_out.get() as f64,
    ),
    shard(
        "lightstick_rtp_missing_total",
        "RTP packets missing from publishers when a later one arrived; some are repaired afterwards",
        |s| s.rtp_in_lost.get() as f64,
    ),
    shard(
        "lightstick_viewer_lost_total",
        "RTP packets that viewers reported as lost",
        |s| s.rtp_out_lost.get() as f64,
    ),
    shard(
        "lightstick_retransmissions_sent_total",
        "Packets retransmitted to viewers",
        |s| s.rtx_out.get() as f64,
    ),
    shard(
        "lightstick_nacks_received_total",
        "NACKs received from viewers",
        |s| s.nacks_in.get() as f64,
    ),
    shard(
        "lightstick_nacks_sent_total",
        "NACKs sent to publishers",
        |s| s.nacks_out.get() as f64,
    ),
    shard(
        "lightstick_keyframe_requests_received_total",
        "PLI and FIR received from viewers",
        |s| s.keyframe_requests_in.get() as f64,
    ),
    shard(
        "lightstick_keyframe_requests_sent_total",
        "PLI sent to publishers, after merging",
        |s| s.keyframe_requests_out.get() as f64,
    ),
    shard(
        "lightstick_layer_switches_total",
        "Layer switches of viewers, the first layer included",
        |s| s.layer_switches.get() as f64,
    ),
    counter(
        "lightstick_layer_wishes_total",
        "Requests to publishers to pause or resume a layer",
        &["shard", "wish"],
        Source::ShardBy(&[
            ("pause", |s| s.layers_paused.get() as f64),
            ("resume", |s| s.layers_resumed.get() as f64),
        ]),
    ),
    counter(
        "lightstick_dropped_total",
        "Datagrams and packets dropped, by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("junk", |s| s.drop_junk.get() as f64),
            ("stranger", |s| s.drop_stranger.get() as f64),
            ("stun", |s| s.drop_stun.get() as f64),
            ("refused", |s| s.drop_refused.get() as f64),
            ("media", |s| s.drop_media.get() as f64),
            ("flood", |s| s.drop_flood.get() as f64),
            ("socket", |s| s.drop_socket.get() as f64),
            ("ring", |s| s.drop_ring.get() as f64),
            ("join", |s| s.joins_shed.get() as f64),
            ("behind", |s| s.drop_behind.get() as f64),
            ("tap", |s| s.attached.taps_missed.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_attached",
        "Taps and sources without SDP attached to rooms",
        &["shard", "kind"],
        Source::ShardBy(&[
            ("tap", |s| s.attached.taps.get() as f64),
            ("source", |s| s.attached.sources.get() as f64),
        ]),
    ),
    counter(
        "lightstick_taps_ended_total",
        "Ended taps by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("room_ended", |s| s.attached.taps_room_ended.get() as f64),
            ("overrun", |s| s.attached.taps_overrun.get() as f64),
            ("detached", |s| s.attached.taps_detached.get() as f64),
        ]),
    ),
    counter(
        "lightstick_sources_ended_total",
        "Ended sources without SDP, by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("room_ended", |s| s.attached.sources_room_ended.get() as f64),
            ("replaced", |s| s.attached.sources_replaced.get() as f64),
            ("bitrate_exceeded", |s| {
                s.attached.sources_bitrate.get() as f64
            }),
            ("detached", |s| s.attached.sources_detached.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_tcp_connections",
        "Open TCP connections to the media ports",
        &["shard"],
        Source::Shard(|s| s.tcp.connections.get() as f64),
    ),
    gauge(
        "lightstick_tcp_queued_bytes",
        "Bytes queued for slow TCP connections",
        &["shard"],
        Source::Shard(|s| s.tcp.queued_bytes.get() as f64),
    ),
    counter(
        "lightstick_tcp_refused_total",
        "TCP connections to the media ports refused, by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("network", |s| s.tcp.refused_network.get() as f64),
            ("full", |s| s.tcp.refused_full.get() as f64),
            ("descriptors", |s| s.tcp.refused_descriptors.get() as f64),
        ]),
    ),
    counter(
        "lightstick_tcp_closed_total",
        "TCP connections to the media ports closed, by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("junk", |s| s.tcp.closed_junk.get() as f64),
            ("oversize", |s| s.tcp.closed_oversize.get() as f64),
            ("stranger", |s| s.tcp.closed_stranger.get() as f64),
            ("evicted", |s| s.tcp.closed_evicted.get() as f64),
            ("session", |s| s.tcp.closed_session.get() as f64),
            ("peer", |s| s.tcp.closed_peer.get() as f64),
        ]),
    ),
    counter(
        "lightstick_starts_total",
        "Starts of new viewers, by the keyframe they started from; a viewer that waited in vain counts again",
        &["shard", "from"],
        Source::ShardBy(&[
            ("replay", |s| s.starts_replayed.get() as f64),
            ("asked", |s| s.starts_asked.get() as f64),
            ("waited", |s| s.starts_waited.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_history_bytes",
        "Payload bytes of video kept for new viewers and retransmissions; shards share packets",
        &["shard"],
        Source::Shard(|s| s.history_bytes.get() as f64),
    ),
    gauge(
        "lightstick_publishers_hinted",
        "Publishers with a fault in their stream, by the hint sent to the artist",
        &["shard", "hint"],
        Source::ShardBy(HINTS),
    ),
    shard(
        "lightstick_withheld_bytes_total",
        "Bytes not sent to addresses that are not validated yet",
        |s| s.drop_unproven.get() as f64,
    ),
    counter(
        "lightstick_shard_commands_unanswered_total",
        "Commands to a shard that were not answered, by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("full", |s| s.unanswered.full.load(Relaxed) as f64),
            ("gone", |s| s.unanswered.gone.load(Relaxed) as f64),
            ("lost", |s| s.unanswered.lost.load(Relaxed) as f64),
        ]),
    ),
    shard(
        "lightstick_session_panics_total",
        "Sessions ended by a contained panic",
        |s| s.panics.get() as f64,
    ),
    shard(
        "lightstick_shard_busy_seconds_total",
        "Time a shard spent working; its rate is the shard's load",
        |s| s.busy_us.get() as f64 / 1e6,
    ),
    Definition {
        name: "lightstick_forward_delay_seconds",
        kind: Kind::Histogram,
        help: "Time from a publisher's datagram to a viewer's socket, per packet and viewer, without pacing",
        labels: &["shard"],
        source: Source::Histogram(|s| {
            let bounds = DELAY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
            histogram(
                &s.forward_delay,
                bounds,
                s.forward_delay_us.get() as f64 / 1e6,
            )
        }),
    },
    Definition {
        name: "lightstick_viewer_estimate_bits_per_second",
        kind: Kind::Histogram,
        help: "Current viewers by estimated bandwidth; a gauge histogram, so do not use rate()",
        labels: &["shard"],
        source: Source::Histogram(|s| {
            let bounds = ESTIMATE_BOUNDS_KBPS.iter().map(|kbps| *kbps as f64 * 1e3);
            histogram(&s.estimates, bounds, s.estimates_bps.get() as f64)
        }),
    },
];
