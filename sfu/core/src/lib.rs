//! The media path without IO: what one packet means, who gets it, and how it is rewritten.
//!
//! Nothing here reads a clock, opens a socket or knows a WebRTC stack. A caller passes `now` and
//! values in and gets decisions back, so everything is tested in virtual time.
//!
//! A room is a tree of hops ([`room`]), each with a source or a hop above, viewers, and hops below.
//! One packet's walk through this crate: [`demux`] tells what a datagram is; [`uptrack`] takes a
//! publisher's packet in ([`codec`] says what its payload means, [`clock`] when it was captured);
//! [`room::LinkGate`] decides whether it may cross to another hop; [`downtrack`] gives it to one viewer
//! ([`layers`] chooses, [`temporal`] thins out, [`rewrite`] renumbers), [`paced`] says when
//! ([`pace`]); [`egress`] makes SRTP of it ([`srtp`]) and reads what the viewer reports ([`rtcp`]);
//! [`bwe`] estimates what its link carries; [`history`] keeps what is sent again and what newcomers
//! start from, [`start`] says whether they do; [`keyframe`] merges what viewers ask of the
//! publisher, [`watched`] decides what it may leave out; [`ice`] finds the peer's address and
//! withholds bytes from those that have not proven themselves, [`fingerprint`] knows its
//! certificate, [`admission`] bounds connections over TCP. `sdp` reads a session description,
//! [`offer`] says what an offer asks for and whether it can be served, [`answer`] answers it;
//! [`binding`] tells which of its streams a publisher's packet is of. [`inflow`] bounds what a peer
//! may make us decrypt, [`sctp`] what it may send on data channels.

// Virtual time starts somewhere.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod admission;
pub mod answer;
pub mod binding;
pub mod bwe;
pub mod clock;
pub mod codec;
pub mod demux;
pub mod downtrack;
pub mod egress;
pub mod fingerprint;
pub mod health;
pub mod history;
pub mod ice;
pub mod inflow;
pub mod keyframe;
pub mod layers;
pub mod meter;
pub mod ntp;
pub mod offer;
pub mod pace;
pub mod paced;
pub mod packet;
pub mod parked;
pub mod rewrite;
pub mod room;
pub mod rtcp;
pub mod sctp;
mod sdp;
mod sections;
pub mod srtp;
pub mod start;
pub mod streams;
pub mod temporal;
pub mod timer;
pub mod uptrack;
pub mod watched;
