//! `gateway`, `worker`, `standalone`: a process that runs until it is told to stop.
//!
//! Stopping, in this order: not ready any more; the gateway stops reading and closes its sockets so
//! that their sessions live; the worker finishes what is in hand; the file is closed.

use std::sync::Arc;

use anyhow::Context;
use qqrelay_runtime::config::Loaded;
use qqrelay_runtime::shutdown;
use qqrelay_worker::presence::{Presence, Sessions, Unknown};
use tokio_util::sync::CancellationToken;

use crate::args::Process;
use crate::base::Base;
use crate::config;
use crate::exit::{Failure, Outcome};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    gateway: bool,
    worker: bool,
}

impl Roles {
    /// Everything.
    pub(crate) const BOTH: Self = Self { gateway: true, worker: true };
    /// Sockets only.
    pub(crate) const GATEWAY: Self = Self { gateway: true, worker: false };
    /// Handlers and sends only.
    pub(crate) const WORKER: Self = Self { gateway: false, worker: true };
}

/// Runs the process.
///
/// # Errors
///
/// The configuration is wrong, or something the process needs is not to be had.
pub(crate) fn run(args: &Process, roles: Roles) -> Outcome {
    let loaded = config::load(args)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::unavailable)?;
    runtime.block_on(serve(loaded, roles))
}

async fn serve(loaded: Loaded, roles: Roles) -> Outcome {
    let stop = shutdown::listen().context("signals")?;
    let base = Base::open(loaded.config).await?;
    let gateway = roles.gateway.then(|| base.gateway()).transpose()?;
    let presence: Arc<dyn Presence> = if roles.gateway {
        Arc::new(Sessions(base.board.live_sessions()))
    } else {
        Arc::new(Unknown)
    };
    let worker = roles.worker.then(|| base.worker(presence)).transpose()?;
    let worker_stop = CancellationToken::new();
    let worker = worker.map(|worker| tokio::spawn(worker.run(worker_stop.clone())));
    match gateway {
        Some(gateway) => drop(gateway.run(stop).await.map_err(Failure::unavailable)?),
        None => stop.cancelled().await,
    }
    worker_stop.cancel();
    if let Some(worker) = worker {
        worker.await.context("the worker")?;
    }
    base.close().await;
    Ok(())
}
