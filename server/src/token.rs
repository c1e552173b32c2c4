//! Minting tokens on the command line.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use lightstick_signaling::token::{Claims, Grants, RoomPattern};

use crate::cli::TokenRequest;
use crate::config::AuthConfig;
use crate::keys;

pub(crate) fn mint(auth: &AuthConfig, request: &TokenRequest) -> anyhow::Result<String> {
    let key = keys::signing_key(auth, request.kid.as_deref())?;
    let grants = Grants {
        publish: request.publish,
        watch: request.watch,
        chat: request.chat,
        moderate: request.moderate,
        admin: request.admin,
        takeover: request.takeover,
    };
    if grants == Grants::default() {
        anyhow::bail!("the token would allow nothing: add --publish, --watch or another grant");
    }
    let mut claims = claims(&request.name, &request.room, request.ttl.as_secs(), grants)?;
    claims.name.clone_from(&request.display_name);
    claims.role = request.role;
    if let Some(role) = request.role
        && claims.chat_role() != role
    {
        anyhow::bail!(
            "this role needs another grant: --moderate for a moderator, --publish for the artist"
        );
    }
    Ok(key.mint(&claims)?)
}

/// Claims that hold from now on for `ttl_secs`.
pub(crate) fn claims(
    name: &str,
    room: &str,
    ttl_secs: u64,
    grants: Grants,
) -> anyhow::Result<Claims> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(Claims {
        sub: name.to_owned(),
        exp: now.as_secs() + ttl_secs,
        nbf: None,
        room: RoomPattern::new(room),
        grants,
        name: None,
        role: None,
    })
}
