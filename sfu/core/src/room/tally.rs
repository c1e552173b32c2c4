//! What hops count while they work.

use std::time::Instant;

/// Counts since they were last taken. Shared by all hops of a shard.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Packets of publishers, and those of them that were missing.
    pub rtp_in: u64,
    /// Packets missing right before others.
    pub rtp_in_lost: u64,
    /// Packets to viewers: live ones, and of those that are behind.
    pub rtp_out: u64,
    /// Of them, those of viewers that were behind.
    pub paced_out: u64,
    /// Packets sent again.
    pub rtx_out: u64,
    /// Packets that viewers report as lost.
    pub rtp_out_lost: u64,
    /// Lost packets that viewers ask for.
    pub nacks_in: u64,
    /// Keyframes that viewers ask for.
    pub keyframe_requests_in: u64,
    /// Viewers that are given another layer.
    pub layer_switches: u64,
    /// Layers that publishers are asked to pause.
    pub layers_paused: u64,
    /// Layers that they are asked to send again.
    pub layers_resumed: u64,
    /// Newcomers that start from the last keyframe.
    pub starts_replayed: u64,
    /// Newcomers for whom a keyframe is asked for.
    pub starts_asked: u64,
    /// Newcomers that wait for a keyframe that comes anyhow.
    pub starts_waited: u64,
    /// Packets dropped: over a limit, not of their codec, or of no format of a viewer's.
    pub drop_media: u64,
    /// Viewers that were behind with what is not kept any more.
    pub drop_behind: u64,
    /// Reports that were refused.
    pub drop_refused: u64,
    /// Lost packets asked for beyond a viewer's budget.
    pub drop_flood: u64,
    /// Packets that taps have missed, because their readers were slow.
    pub tap_missed: u64,
    /// Panics in the handling of one viewer.
    pub panics: u64,
    /// What was forwarded: when it arrived, and to how many viewers it went.
    pub forwarded: Vec<(Instant, u64)>,
}

impl Tally {
    pub(super) fn note_forwarded(&mut self, received_at: Instant, viewers: u64) {
        self.rtp_out += viewers;
        match self.forwarded.last_mut() {
            Some((at, count)) if *at == received_at => *count += viewers,
            _ if viewers > 0 => self.forwarded.push((received_at, viewers)),
            _ => {}
        }
    }
}
