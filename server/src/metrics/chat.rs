//! What is counted of the chat.

use super::definition::{Definition, Source, counter, gauge, shard};

pub(super) const METRICS: &[Definition] = &[
    gauge(
        "lightstick_chat_members",
        "Sessions that take part in a chat, and of those the ones whose links are too slow for it",
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
        "Frames written to data channels, by the channel that they are meant for",
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
        "Frames taken from data channels",
        |s| s.chat.frames_in.get() as f64,
    ),
    shard(
        "lightstick_chat_received_bytes_total",
        "Bytes of those, after decryption",
        |s| s.chat.bytes_in.get() as f64,
    ),
    shard(
        "lightstick_chat_missed_total",
        "Messages that members were not sent because their links were too slow; each is told how many",
        |s| s.chat.missed.get() as f64,
    ),
    shard(
        "lightstick_chat_resyncs_total",
        "Times that a member had to be brought up to date from its room's history",
        |s| s.chat.resyncs.get() as f64,
    ),
    counter(
        "lightstick_chat_late_ticks_total",
        "Ticks that met others not shown to all yet: shown together with them, or lost for some",
        &["shard", "outcome"],
        Source::ShardBy(&[
            ("merged", |s| s.chat.late.get() as f64),
            ("lost", |s| s.chat.overrun.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_dropped_total",
        "Chat frames and SCTP packets that were not processed or not sent, by reason",
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
        "Data channels closed by us: of unknown labels or too many, and of sessions without a chat",
        &["shard", "reason"],
        Source::ShardBy(&[
            ("refused", |s| s.chat.channels_refused.get() as f64),
            ("ignored", |s| s.chat.channels_ignored.get() as f64),
        ]),
    ),
    gauge(
        "lightstick_chat_rooms",
        "Rooms with a chat",
        &[],
        Source::Chat(|s| s.rooms.get() as f64),
    ),
    gauge(
        "lightstick_chat_clients",
        "Connections to chats over whatever transport",
        &[],
        Source::Chat(|s| s.clients.get() as f64),
    ),
    gauge(
        "lightstick_chat_websockets",
        "WebSockets of chats",
        &[],
        Source::Chat(|s| s.sockets.get() as f64),
    ),
    counter(
        "lightstick_chat_accepted_total",
        "Messages that were accepted",
        &[],
        Source::Chat(|s| s.accepted.get() as f64),
    ),
    counter(
        "lightstick_chat_messages_total",
        "Accepted messages by what became of them: shown to all, left out for want of room, or hidden",
        &["outcome"],
        Source::ChatBy(&[
            ("shown", |s| s.shown.get() as f64),
            ("skipped", |s| s.skipped.get() as f64),
            ("hidden", |s| s.hidden.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_held_total",
        "Messages that waited for a moderator",
        &[],
        Source::Chat(|s| s.held.get() as f64),
    ),
    counter(
        "lightstick_chat_refused_total",
        "Requests that chats refused",
        &[],
        Source::Chat(|s| s.refused.get() as f64),
    ),
    counter(
        "lightstick_chat_reactions_total",
        "Reactions, counted and not",
        &["outcome"],
        Source::ChatBy(&[
            ("counted", |s| s.reactions.get() as f64),
            ("dropped", |s| s.reactions_dropped.get() as f64),
        ]),
    ),
    counter(
        "lightstick_chat_lost_total",
        "What chats could not take or pass on: unreadable frames, frames for a room that is behind, commands for a shard that is behind, records that could not be kept, events that webhooks were not told of",
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
        "Messages that slow WebSockets were not sent",
        &[],
        Source::Chat(|s| s.socket_missed.get() as f64),
    ),
    gauge(
        "lightstick_chat_webhooks_waiting",
        "Events that wait for a receiver of webhooks, or are on their way",
        &[],
        Source::Chat(|s| s.webhooks_waiting.get() as f64),
    ),
    counter(
        "lightstick_chat_webhooks_total",
        "Webhooks by outcome: delivered, one try failed, given up and kept, given up and not kept, not sent",
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
        "Messages by what the review hook said in time",
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
        "Records of the chat's archive: in the journal, in the database, messages left out, refused, there already, unreadable",
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
        "Failed writes of the chat's archive, each tried again",
        &["where"],
        Source::ArchiveBy(&[
            ("disk", |s| s.disk_errors as f64),
            ("database", |s| s.database_errors as f64),
        ]),
    ),
    gauge(
        "lightstick_chat_archive_journal_bytes",
        "What the chat's journal takes on the disk",
        &[],
        Source::Archive(|s| s.journal_bytes as f64),
    ),
    gauge(
        "lightstick_chat_archive_lag_bytes",
        "What of the chat's journal the database does not have yet",
        &[],
        Source::Archive(|s| s.lag_bytes as f64),
    ),
    gauge(
        "lightstick_chat_archive_lag_seconds",
        "How long the oldest of that has been waiting",
        &[],
        Source::Archive(|s| s.lag.as_secs_f64()),
    ),
];
