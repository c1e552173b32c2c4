//! How much a viewer does with what it gets.

/// How closely a viewer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Decrypts, checks and times every packet, asks again for lost ones (NACK), and tells the
    /// server when each came (transport-wide feedback).
    Full,
    /// The same client without transport-wide feedback. From its first whole keyframe on it reads
    /// RTP headers only: losses count and are not asked for again, stamps are out of sight. Its
    /// receiver reports go on, and keep saying what they said then. It reads its socket every
    /// [`LIGHT_READS_EVERY`](crate::session::LIGHT_READS_EVERY), many datagrams at once.
    Light,
}
