//! What unit tests are made of: offers that str0m writes, and the sessions that answer them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use lightstick_sfu_core::offer::Offer;
use lightstick_types::{Bitrate, ChatMember, ChatRole, LayerChoice, Role, RoomId, SessionId};
use str0m::Rtc;
use str0m::media::{Direction, MediaKind};

use crate::api::RoleConfig;
use crate::command::Opening;
use crate::config::MediaConfig;
use crate::session::{Session, Shared};

pub(crate) const PUBLISHER: RoleConfig = RoleConfig::Publisher {
    bitrate_max: Bitrate::kbps(5_000),
};
pub(crate) const VIEWER: RoleConfig = RoleConfig::Viewer {
    choice: LayerChoice::Auto,
};

/// What all sessions share.
pub(crate) fn shared() -> Shared {
    let crypto = Arc::new(crate::dtls::crypto());
    let certificate = crypto.dtls_provider.generate_certificate();
    Shared {
        config: Arc::new(MediaConfig::default()),
        crypto,
        certificate: certificate.expect("a certificate"),
    }
}

/// An offer of audio, video and data channels.
pub(crate) fn opening(role: RoleConfig, member: Option<ChatMember>) -> Box<Opening> {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
    let mut api = rtc.sdp_api();
    let (side, direction) = match role {
        RoleConfig::Publisher { .. } => (Role::Publisher, Direction::SendOnly),
        RoleConfig::Viewer { .. } => (Role::Viewer, Direction::RecvOnly),
    };
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let stream = Some("live".to_owned());
        api.add_media(kind, direction, stream, None, None);
    }
    api.add_channel("ctl".to_owned());
    let (offer, _) = api.apply().expect("an offer");
    let offer = Offer::read(&offer.to_sdp_string(), side).expect("an offer that can be answered");
    Box::new(Opening {
        session: SessionId::random(),
        room: RoomId(1),
        role,
        member: member.map(Arc::new),
        offer,
    })
}

/// Somebody who takes part in a room's chat.
pub(crate) fn member() -> ChatMember {
    ChatMember {
        room: "main".parse().expect("a room name"),
        user: "u-1".to_owned(),
        name: "a fan".to_owned(),
        role: ChatRole::Guest,
        write: true,
        caption: false,
        address: Ipv4Addr::LOCALHOST.into(),
        anonymous: false,
        show: true,
    }
}

/// A session whose offer was answered.
pub(crate) fn session(key: u32, opening: Opening, shared: &Shared) -> Session {
    let opened = Session::open(
        opening,
        key,
        shared,
        &[].into_iter().collect(),
        Instant::now(),
    );
    opened.expect("an answer").0
}
