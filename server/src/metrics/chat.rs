//! What is counted of the chat.

use super::definition::{Definition, Source, counter, gauge, shard};

pub(super) const METRICS: &[Definition] = &[
    gauge(
        "lightstick_chat_members",
        "Sessions in a chat over data channels, and those of them whose links are too slow for it",
        &["shard", "state"],
        Source::ShardBy(&[
            ("here", |s| s.chat.members.get() as f64),
            ("behind", |s| s.chat.behind.get() as f64),
            ("counts_only", |s| s.chat.counts_only.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_chat_channels",
        "Open data channels by label",
        &["shard", "channel"],
        Source::ShardBy(&[
            ("ctl", |s| s.chat.channels[0].get() as f64),
            ("chat", |s| s.chat.channels[1].get() as f64),
            ("fx", |s| s.chat.channels[2].get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_frames_sent_total",
        "Frames written to data channels",
        &["shard", "channel"],
        Source::ShardBy(&[
            ("ctl", |s| s.chat.frames_out[0].get() as f64),
            ("chat", |s| s.chat.frames_out[1].get() as f64),
            ("fx", |s| s.chat.frames_out[2].get() as f64),
        ]),
    ),
    shard(
        "lightstick_chat_sent_bytes_total",
        "Bytes of those, before encryption",
        |s| s.chat.bytes_out.get() as f64,
    ),
    shard(
        "lightstick_chat_frames_received_total",
        "Frames read from data channels",
        |s| s.chat.frames_in.get() as f64,
    ),
    shard(
        "lightstick_chat_received_bytes_total",
        "Bytes of those, after decryption",
        |s| s.chat.bytes_in.get() as f64,
    ),
    shard(
        "lightstick_chat_missed_total",
        "Messages not sent to members because their links were too slow; each member is told how many",
        |s| s.chat.missed.get() as f64,
    ),
    shard(
        "lightstick_chat_resyncs_total",
        "Times that a member had to be brought up to date from its room's history",
        |s| s.chat.resyncs.get() as f64,
    ),
    counter(
        "lightstick_chat_late_ticks_total",
        "Ticks that arrived before the one before was sent to all: merged with it, or lost for some",
        &["shard", "outcome"],
        Source::ShardBy(&[
            ("merged", |s| s.chat.late.get() as f64),
            ("lost", |s| s.chat.overrun.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_dropped_total",
        "Chat frames and SCTP packets dropped, by reason",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("flood", |s| s.chat.drop_flood.get() as f64),
            ("oversize", |s| s.chat.drop_oversize.get() as f64),
            ("text", |s| s.chat.drop_text.get() as f64),
            ("stray", |s| s.chat.drop_stray.get() as f64),
            ("queue", |s| s.chat.drop_queue.get() as f64),
            ("unsent", |s| s.chat.drop_unsent.get() as f64),
            ("packet", |s| s.chat.drop_packet.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_channels_closed_total",
        "Data channels closed by the server: unknown or too many, or of a session without a chat",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("refused", |s| s.chat.channels_refused.get() as f64),
            ("ignored", |s| s.chat.channels_ignored.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_chat_rooms",
        "Rooms with an open chat",
        &[],
        Source::Chat(|s| s.rooms.get() as f64),
    ),
    gauge(
        "lightstick_chat_clients",
        "Clients of chats over all transports",
        &[],
        Source::Chat(|s| s.clients.get() as f64),
    ),
    gauge(
        "lightstick_chat_websockets",
        "Open chat WebSockets",
        &[],
        Source::Chat(|s| s.sockets.get() as f64),
    ),
    counter(
        "lightstick_chat_accepted_total",
        "Chat messages accepted",
        &[],
        Source::Chat(|s| s.accepted.get() as f64),
    ),
    counter(
        "lightstick_chat_messages_total",
        "Accepted messages by outcome: shown, skipped to stay within the bit rate, or hidden",
        &["outcome"],
        Source::ChatBy(&[
            ("shown", |s| s.shown.get() as f64),
            ("skipped", |s| s.skipped.get() as f64),
            ("hidden", |s| s.hidden.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_held_total",
        "Messages held for a moderator",
        &[],
        Source::Chat(|s| s.held.get() as f64),
    ),
    counter(
        "lightstick_chat_refused_total",
        "Chat requests refused",
        &[],
        Source::Chat(|s| s.refused.get() as f64),
    ),
    counter(
        "lightstick_chat_reactions_total",
        "Reactions, counted or dropped",
        &["outcome"],
        Source::ChatBy(&[
            ("counted", |s| s.reactions.get() as f64),
            ("dropped", |s| s.reactions_dropped.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_lost_total",
        "Losses in the chat, by reason: unreadable frames, a room or shard that is behind, records not stored, events not sent to webhooks",
        &["reason"],
        Source::ChatBy(&[
            ("malformed", |s| s.malformed.get() as f64),
            ("room_behind", |s| s.overload.get() as f64),
            ("shard_behind", |s| s.commands_dropped.get() as f64),
            ("not_kept", |s| s.not_kept.get() as f64),
            ("events", |s| s.events_dropped.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_websocket_frames_sent_total",
        "Frames sent to WebSockets",
        &[],
        Source::Chat(|s| s.socket_frames.get() as f64),
    ),
    counter(
        "lightstick_chat_websocket_missed_total",
        "Messages not sent to slow WebSockets",
        &[],
        Source::Chat(|s| s.socket_missed.get() as f64),
    ),
    gauge(
        "lightstick_chat_webhooks_waiting",
        "Webhook events waiting or being sent",
        &[],
        Source::Chat(|s| s.webhooks_waiting.get() as f64),
    ),
    counter(
        "lightstick_chat_webhooks_total",
        "Webhook deliveries by outcome; dead: given up and stored, lost: given up and not stored, dropped: never tried",
        &["outcome"],
        Source::ChatBy(&[
            ("delivered", |s| s.webhooks_delivered.get() as f64),
            ("failed", |s| s.webhooks_failed.get() as f64),
            ("dead", |s| s.webhooks_dead.get() as f64),
            ("lost", |s| s.webhooks_lost.get() as f64),
            ("dropped", |s| s.webhooks_dropped.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_reviews_total",
        "Messages by verdict of the review hook",
        &["verdict"],
        Source::ChatBy(&[
            ("allow", |s| s.reviews_allowed.get() as f64),
            ("modify", |s| s.reviews_modified.get() as f64),
            ("deny", |s| s.reviews_denied.get() as f64),
            ("failed", |s| s.reviews_failed.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_archive_records_total",
        "Records of the chat archive by outcome",
        &["outcome"],
        Source::ArchiveBy(&[
            ("journalled", |s| s.journalled as f64),
            ("archived", |s| s.archived as f64),
            ("unarchived", |s| s.unarchived as f64),
            ("refused", |s| s.refused as f64),
            ("duplicate", |s| s.duplicates as f64),
            ("corrupt", |s| s.corrupt as f64),
        ]),
    ),
    counter(
        "lightstick_chat_archive_errors_total",
        "Failed writes of the chat archive; each is retried",
        &["where"],
        Source::ArchiveBy(&[
            ("disk", |s| s.disk_errors as f64),
            ("database", |s| s.database_errors as f64),
        ]),
    ),
    gauge(
        "lightstick_chat_archive_journal_bytes",
        "Size of the chat's journal on disk",
        &[],
        Source::Archive(|s| s.journal_bytes as f64),
    ),
    gauge(
        "lightstick_chat_archive_lag_bytes",
        "Bytes of the chat's journal that are not in the database yet",
        &[],
        Source::Archive(|s| s.lag_bytes as f64),
    ),
    gauge(
        "lightstick_chat_archive_lag_seconds",
        "Age of the oldest record that is not in the database yet",
        &[],
        Source::Archive(|s| s.lag.as_secs_f64()),
    ),
];
