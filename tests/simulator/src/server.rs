//! One port for everything: token, REST, gateway sockets, control.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::platform::Platform;
use crate::wire::{Cutter, Wire};
use crate::{answer, control, gateway, rest, token_endpoint};

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait before accepting again when the machine has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// All routes.
fn router(platform: &Arc<Platform>) -> Router {
    let public = rest::router(platform)
        .merge(token_endpoint::router())
        .merge(gateway::router())
        .fallback(rest::unknown_route)
        .layer(middleware::from_fn_with_state(Arc::clone(platform), answer::finish));
    public.merge(control::router()).with_state(Arc::clone(platform))
}

/// Accepts connections until the platform stops.
pub(crate) async fn serve(platform: Arc<Platform>, listener: TcpListener) {
    let router = router(&platform);
    while let Some(accepted) = platform.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(Arc::clone(&platform), router.clone(), stream, peer);
                platform.tasks.spawn(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(platform: Arc<Platform>, router: Router, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection was gone before it was served");
        return;
    }
    let cutter = Cutter::default();
    let router = router.layer(Extension(cutter.clone())).layer(Extension(Peer(peer)));
    let io = TokioIo::new(Wire::new(stream, cutter.clone()));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(io, TowerToHyperService::new(router))
        .with_upgrades();
    tokio::select! {
        biased;
        () = cutter.was_cut() => {}
        () = platform.stop.cancelled() => {}
        result = served => if let Err(error) = result {
            tracing::debug!(%error, "connection ended early");
        },
    }
}
