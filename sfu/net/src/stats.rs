//! What a shard counts. One writer, so no atomic read-modify-write; a scrape reads and adds up.

mod attached;
mod cell;
mod chat;
mod tcp;
mod unanswered;

use lightstick_types::HintCode;

pub use attached::AttachedStats;
pub use cell::Cell;
pub use chat::ChatStats;
pub use tcp::TcpStats;
pub use unanswered::UnansweredStats;

/// Upper bounds of the forwarding delay buckets, in microseconds; one more bucket holds the rest.
pub const DELAY_BOUNDS_US: [u64; 10] = [
    100, 250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 25_000, 100_000,
];

/// Upper bounds of the buckets of viewers' estimates, in kbit/s; one more bucket holds the rest.
pub const ESTIMATE_BOUNDS_KBPS: [u64; 9] = [150, 300, 500, 800, 1_200, 2_000, 3_000, 5_000, 8_000];

/// Everything one shard counts.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Sessions held now: publishers.
    pub publishers: Cell,
    /// Sessions held now: viewers.
    pub viewers: Cell,
    /// Datagrams and TCP frames received.
    pub datagrams_in: Cell,
    pub bytes_in: Cell,
    /// Datagrams and TCP frames sent.
    pub datagrams_out: Cell,
    pub bytes_out: Cell,
    /// Send system calls (one carries many datagrams).
    pub send_calls: Cell,
    /// RTP packets received from publishers.
    pub rtp_in: Cell,
    /// RTP packets handed to viewers.
    pub rtp_out: Cell,
    /// Of these, packets that pacing sent later than they came: of keyframes, and for newcomers.
    pub paced_out: Cell,
    /// Packets missing from publishers' sequences when the next ones came (may be repaired later).
    pub rtp_in_lost: Cell,
    /// Packets that viewers reported lost.
    pub rtp_out_lost: Cell,
    /// Packets sent to viewers again.
    pub rtx_out: Cell,
    /// NACKs received from viewers.
    pub nacks_in: Cell,
    /// NACKs sent to publishers.
    pub nacks_out: Cell,
    /// Keyframe requests (PLI and FIR) received from viewers.
    pub keyframe_requests_in: Cell,
    /// Keyframe requests sent to publishers after merging.
    pub keyframe_requests_out: Cell,
    /// Datagrams that are none of STUN, DTLS, RTP, RTCP.
    pub drop_junk: Cell,
    /// Datagrams from an address that no session knows.
    pub drop_stranger: Cell,
    /// STUN for no session here, or with a wrong password.
    pub drop_stun: Cell,
    /// Packets that the WebRTC stack refused (bad SRTP, truncated, wrong payload type).
    pub drop_refused: Cell,
    /// RTP from publishers over their limit or of an unknown codec.
    pub drop_media: Cell,
    /// Bytes withheld from addresses that have not proven themselves.
    pub drop_unproven: Cell,
    /// Datagrams of a session beyond what it may make us verify and decrypt.
    pub drop_flood: Cell,
    /// Datagrams that a full socket refused.
    pub drop_socket: Cell,
    /// Frames dropped because a ring to another shard was full.
    pub drop_ring: Cell,
    /// Offers and handshake datagrams that wait for their turn now.
    pub joins_waiting: Cell,
    /// Offers refused and handshake datagrams dropped because too many waited.
    pub joins_shed: Cell,
    /// Rooms that have somebody here.
    pub held_rooms: Cell,
    pub held_addresses: Cell,
    /// ICE user names of sessions.
    pub held_names: Cell,
    pub held_timers: Cell,
    /// Rooms whose chat somebody here takes part in.
    pub held_chat_rooms: Cell,
    /// Times that a viewer was further behind than packets are kept, and had to wait for a keyframe.
    pub drop_behind: Cell,
    /// Newcomers that started from the last keyframe.
    pub starts_replayed: Cell,
    /// Newcomers for which a keyframe was asked for.
    pub starts_asked: Cell,
    /// Newcomers that waited for a keyframe which came anyhow.
    pub starts_waited: Cell,
    /// Layer switches of viewers.
    pub layer_switches: Cell,
    /// Layers that publishers were asked to pause.
    pub layers_paused: Cell,
    /// Paused layers that publishers were asked to send again.
    pub layers_resumed: Cell,
    /// Sessions whose handling panicked and was contained.
    pub panics: Cell,
    /// Microseconds spent working, of those that passed: its rate is the shard's load.
    pub busy_us: Cell,
    /// From the socket to the viewers' sockets, by [`DELAY_BOUNDS_US`], each bucket alone.
    pub forward_delay: [Cell; DELAY_BOUNDS_US.len() + 1],
    /// Sum of the forwarding delays, in microseconds.
    pub forward_delay_us: Cell,
    /// Payload of the video packets that are kept, to be replayed and sent again. Counted twice a
    /// second.
    pub history_bytes: Cell,
    /// Publishers of now by what is wrong with their streams, in the order of the codes. Counted
    /// twice a second.
    pub hinted: [Cell; HintCode::COUNT],
    /// Viewers of now by what their links are estimated to carry, by [`ESTIMATE_BOUNDS_KBPS`], each
    /// bucket alone. Counted twice a second.
    pub estimates: [Cell; ESTIMATE_BOUNDS_KBPS.len() + 1],
    /// Sum of those estimates, in bit/s.
    pub estimates_bps: Cell,
    /// Commands of the control plane that were not answered.
    pub unanswered: UnansweredStats,
    /// The part of taps and of sources without SDP.
    pub attached: AttachedStats,
    /// The part of TCP.
    pub tcp: TcpStats,
    /// The chat's part.
    pub chat: ChatStats,
}
