//! The gateway: discovery, sockets, sessions.

pub mod budget;
pub mod discovery;
pub mod fault;
pub mod frame;
mod greeting;
pub mod link;
pub mod links;
mod reader;
pub mod session;
pub mod sessions;
pub(crate) mod socket;
mod upgrade;
mod writer;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::platform::Platform;

/// Discovery and the sockets themselves.
pub(crate) fn router() -> Router<Arc<Platform>> {
    Router::new()
        .route("/gateway", get(discovery::gateway))
        .route("/gateway/bot", get(discovery::gateway_bot))
        .route("/websocket", get(upgrade::upgrade))
        .route("/websocket/", get(upgrade::upgrade))
}
