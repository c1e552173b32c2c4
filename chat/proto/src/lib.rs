//! What chat clients and Lightstick say to each other: generated from
//! `lightstick/chat/v1/chat.proto`, which documents every field.
//!
//! Each message is a [`prost::Message`], and serialises as the JSON of proto3 through `serde`.

#![allow(clippy::all, unreachable_pub)]

pub mod nonce;

include!(concat!(env!("OUT_DIR"), "/lightstick.chat.v1.rs"));
include!(concat!(env!("OUT_DIR"), "/lightstick.chat.v1.serde.rs"));
