//! From an HTTP request to a socket.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::fault::SocketFault;
use super::socket;
use crate::faults::Occasion;
use crate::platform::Platform;
use crate::server::Peer;
use crate::wire::Cutter;

/// Upgrades without extensions or sub-protocol: what a client offers is declined by silence.
pub(super) async fn upgrade(
    State(platform): State<Arc<Platform>>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(cutter): Extension<Cutter>,
    mut request: Request,
) -> Response {
    let refused = |fault: &SocketFault| matches!(fault, SocketFault::RefuseUpgrade(_));
    let fault = platform.faults.socket.strike_if(&Occasion::default(), refused);
    if let Some(SocketFault::RefuseUpgrade(status)) = fault {
        return StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND).into_response();
    }
    let Some(accept) = accept_key(request.headers()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let tasks = platform.tasks.clone();
    tasks.spawn(async move {
        match upgraded.await {
            Ok(io) => socket::serve(&platform, TokioIo::new(io), cutter, peer).await,
            Err(error) => tracing::debug!(%error, "client left during the upgrade"),
        }
    });
    let headers = [
        (CONNECTION, "Upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// The answer to a client's key; none when this is no WebSocket request.
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let holds = |name, word: &str| {
        let text = headers.get(name)?.to_str().ok()?;
        text.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)).then_some(())
    };
    holds(CONNECTION, "upgrade")?;
    holds(UPGRADE, "websocket")?;
    holds(SEC_WEBSOCKET_VERSION, "13")?;
    Some(derive_accept_key(headers.get(SEC_WEBSOCKET_KEY)?.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_websocket_request_is_answered_with_a_key() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, "keep-alive, Upgrade".parse().unwrap());
        headers.insert(UPGRADE, "websocket".parse().unwrap());
        headers.insert(SEC_WEBSOCKET_VERSION, "13".parse().unwrap());
        assert_eq!(accept_key(&headers), None);
        headers.insert(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        // The key and the answer are the example of RFC 6455, section 1.3.
        assert_eq!(accept_key(&headers).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        headers.insert(CONNECTION, "close".parse().unwrap());
        assert_eq!(accept_key(&headers), None);
    }
}
