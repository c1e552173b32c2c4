//! `/api/v1`: rooms and sessions for integrators.

pub(crate) mod access;
pub(crate) mod client_config;
pub(crate) mod events;
pub(crate) mod rooms;
pub(crate) mod sessions;
