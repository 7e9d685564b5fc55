//! The REST side: every call of the platform that bots live on.
//!
//! Whatever a call is answered, the journal says whether people saw an effect. That, and not the
//! answer, is what a checker counts.

mod answer;
mod audit;
mod body;
mod caller;
mod fault;
mod frame;
mod group;
mod guild;
mod interaction;
mod me;
mod media;
mod message;
mod place;
mod reaction;
mod send;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod world;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};

pub use self::fault::{Effect, Fault};
pub use self::frame::unknown_route;
pub use self::state::RestState;
use crate::platform::Platform;
use crate::rules::Refusal;

/// Every route of the REST side; [`unknown_route`] answers those that do not exist.
pub fn router(platform: &Arc<Platform>) -> Router<Arc<Platform>> {
    // Base64 is 4/3 of what it holds; the rest is for the other members.
    let body_bytes = platform.config.limits.content.upload_bytes / 3 * 4 + (1 << 20);
    Router::new()
        .merge(metered())
        .merge(counted())
        .method_not_allowed_fallback(async || Refusal::BadMethod)
        .layer(DefaultBodyLimit::max(body_bytes))
        .layer(from_fn_with_state(Arc::clone(platform), frame::around))
}

/// Calls with a rate of their own, which their handlers know.
fn metered() -> Router<Arc<Platform>> {
    Router::new()
        .route("/v2/users/{user}/messages", post(send::to_user))
        .route("/v2/groups/{group}/messages", post(send::to_group))
        .route("/channels/{channel}/messages", post(send::to_channel))
        .route("/dms/{guild}/messages", post(send::to_dm))
        .route("/v2/users/{user}/stream_messages", post(stream::push))
        .route("/v2/users/{user}/files", post(media::for_user))
        .route("/v2/groups/{group}/files", post(media::for_group))
        .route("/v2/users/{user}/messages/{message}", delete(message::recall_from_user))
        .route("/v2/groups/{group}/messages/{message}", delete(message::recall_from_group))
        .route("/interactions/{id}", put(interaction::acknowledge))
}

/// Calls that are counted by method and path.
fn counted() -> Router<Arc<Platform>> {
    const REACTION: &str = "/channels/{channel}/messages/{message}/reactions/{kind}/{emoji}";
    Router::new()
        .route("/users/@me", get(me::read))
        .route("/users/@me/guilds", get(me::guilds))
        .route("/users/@me/dms", post(me::open_dm))
        .route("/v2/groups/{group}/info", get(group::info))
        .route("/v2/groups/{group}/bot_state", get(group::bot_state))
        .route("/guilds/{guild}", get(guild::read))
        .route("/guilds/{guild}/channels", get(guild::channels))
        .route("/guilds/{guild}/members", get(guild::members))
        .route("/guilds/{guild}/members/{user}", get(guild::member))
        .route("/guilds/{guild}/roles", get(guild::roles))
        .route("/guilds/{guild}/message/setting", get(guild::message_setting))
        .route("/channels/{channel}", get(guild::channel))
        .route("/channels/{channel}/messages", get(message::list))
        .route(
            "/channels/{channel}/messages/{message}",
            get(message::read).delete(message::recall_from_channel),
        )
        .route("/dms/{guild}/messages/{message}", delete(message::recall_from_dm))
        .route(REACTION, put(reaction::set).delete(reaction::unset).get(reaction::users))
        .route("/channels/{channel}/pins", get(reaction::pins))
        .route("/channels/{channel}/pins/{message}", put(reaction::pin).delete(reaction::unpin))
        .route_layer(from_fn(frame::count))
}
