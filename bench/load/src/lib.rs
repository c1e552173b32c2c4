//! Load generator and measuring client for WebRTC media servers: WHIP and WHEP, and Janus.
//!
//! Every client is a whole WebRTC peer: ICE, DTLS, SRTP, RTCP reports, NACK. What a publisher
//! sends is synthetic, has the shape and the sizes of real media, and carries a stamp in every
//! packet, so that viewers on the same machine can tell transit time, loss and damage end to end.
//!
//! - [`source`], [`payload`], [`stamp`], [`clip`], [`tally`]: media and its counting, without
//!   clocks;
//! - [`session`]: one peer and its socket, which looks at what comes to some [`depth`]; [`worker`]: a thread that drives many of them;
//! - [`signal`]: WHIP and WHEP; [`janus`]: Janus; [`joiner`]: paced joins and leaves;
//! - [`process`], [`metrics`]: what the machine and the server spend; [`circumstances`],
//!   [`generator`], [`millis`], [`report`], [`table`]: what is printed;
//! - [`sweep`]: steps, limits and the knee, and [`plot`], their picture, without IO;
//! - [`playback`]: what viewers would have seen, and what was sent again;
//! - [`storm`]: many joins against those already there; [`flood`]: attacks on the media ports;
//! - [`scenario`]: the commands.

pub mod circumstances;
pub mod cli;
pub mod clip;
pub mod depth;
pub mod flood;
pub mod generator;
pub mod janus;
pub mod joiner;
pub mod metrics;
pub mod millis;
pub mod payload;
pub mod playback;
pub mod plot;
pub mod process;
pub mod report;
pub mod scenario;
pub mod session;
pub mod signal;
pub mod source;
pub mod stamp;
pub mod storm;
pub mod sweep;
pub mod table;
pub mod tally;
pub mod worker;
