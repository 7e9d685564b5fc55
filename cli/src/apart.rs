//! What processes on NATS say to each other and to whoever asks, beside events and commands. On the
//! file none of it is there.

use std::sync::Arc;

use qqrelay_runtime::bus::nats::{ServiceMetrics, ShardState};
use qqrelay_worker::presence::{Heard, Presence, Unknown};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::base::Base;
use crate::exit::Failure;

/// Says how this process's shards are, for as long as it runs.
pub(crate) fn announce(base: &Base) {
    let Some(bus) = base.stores.nats.clone() else { return };
    let (board, gateway) = (base.shown.board.clone(), base.owner.clone());
    tokio::spawn(qqrelay_gateway::announce(board, bus, gateway));
}

/// What a worker knows of sessions that are elsewhere.
///
/// # Errors
///
/// There is no connection to hear it by.
pub(crate) async fn presence(base: &Base) -> Result<Arc<dyn Presence>, Failure> {
    let Some(bus) = base.stores.nats.clone() else { return Ok(Arc::new(Unknown)) };
    let mut states = bus.hear_shards().await.map_err(Failure::unavailable)?;
    let mut heard = Heard::new(qqrelay_gateway::SAY_EVERY * 3);
    let sessions = heard.sessions();
    tokio::spawn(async move {
        let mut look = interval(qqrelay_gateway::SAY_EVERY);
        loop {
            tokio::select! {
                state = states.next() => match state {
                    Some(ShardState { app, source, gateway, live, .. }) => {
                        heard.take(app, (source, gateway), live, Instant::now());
                    }
                    None => return,
                },
                now = look.tick() => heard.tell(now),
            }
        }
    });
    Ok(Arc::new(sessions))
}

/// Answers those who ask and wait, until `stop`.
///
/// # Errors
///
/// The process does so already.
pub(crate) fn serve_requests(
    base: &Base,
    stop: &CancellationToken,
) -> Result<Option<JoinHandle<()>>, Failure> {
    let Some(bus) = base.stores.nats.clone() else { return Ok(None) };
    let (metrics, stop) = (ServiceMetrics::register(&base.shown.registry)?, stop.clone());
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = bus.serve_requests(metrics, stop).await {
            warn!(%error, "requests on qq.v1.rpc are not answered");
        }
    })))
}
