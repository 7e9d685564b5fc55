//! `gateway`, `worker`, `standalone`: a process that runs until it is told to stop.
//!
//! Stopping, in this order: not ready any more; the gateway stops reading and closes its sockets so
//! that their sessions live; the worker finishes what is in hand; the stores are let go of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use qqrelay_gateway::Gateway;
use qqrelay_runtime::admin::Readiness;
use qqrelay_runtime::config::{self as runtime_config, Loaded, Reload};
use qqrelay_runtime::telemetry::{self, Speaker, Stream};
use qqrelay_runtime::{random, shutdown};
use qqrelay_worker::app::Worker;
use qqrelay_worker::presence::{Presence, Sessions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin_port::AdminPort;
use crate::apart;
use crate::args::Process;
use crate::base::{Base, Shown};
use crate::config;
use crate::exit::{Failure, Outcome};
use crate::stores::Stores;

/// What sending the last spans may take.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Roles {
    /// Sockets and handlers.
    Both,
    /// Sockets only.
    Gateway,
    /// Handlers and sends only.
    Worker,
}

impl Roles {
    /// The metric label.
    const fn label(self) -> &'static str {
        match self {
            Self::Both => "standalone",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
        }
    }
}

/// Runs the process.
///
/// # Errors
///
/// The configuration is wrong, or something the process needs is not to be had.
pub(crate) fn run(args: &Process, roles: Roles) -> Outcome {
    let loaded = config::load(args)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::unavailable)?;
    runtime.block_on(serve(loaded, config::file(args), roles))
}

async fn serve(loaded: Loaded, file: Option<PathBuf>, roles: Roles) -> Outcome {
    let owner = random::id();
    let speaker = Speaker { role: roles.label(), instance: owner.clone() };
    let telemetry = telemetry::init(&loaded.config.telemetry, &speaker, Stream::Stdout)?;
    let served = serve_logged(loaded, file, roles, owner).await;
    telemetry.shutdown(FLUSH_WITHIN).await;
    served
}

async fn serve_logged(
    loaded: Loaded,
    file: Option<PathBuf>,
    roles: Roles,
    owner: String,
) -> Outcome {
    let stop = shutdown::listen().context("signals")?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let (config, shown) = (Arc::new(loaded.config), Shown::default());
    if roles != Roles::Both && config.nats.is_some() && config.redis.is_none() {
        return Err(Failure::Setting(anyhow!(
            "redis: is missing, and gateway and worker have to agree through it; write the section, \
             or run standalone"
        )));
    }
    let port = AdminPort::open(&config.admin, roles.label(), &shown).await?;
    let name = format!("qqrelay {} {owner}", roles.label());
    let opening = Stores::await_open(&config, &name, |trouble| port.waits(trouble));
    let Some(stores) = stop.run_until_cancelled(opening).await else {
        port.close().await;
        return Ok(());
    };
    let reload =
        file.map(|file| Reload::new(file, runtime_config::environment(), &config, &shown.registry));
    let reload = reload.transpose()?;
    let bots = reload.as_ref().map_or_else(|| runtime_config::fixed(&config), Reload::bots);
    let base = Base::new(config, stores?, owner.into(), shown, bots)?;
    if let Some(reload) = reload {
        tokio::spawn(reload.run(base.preparation()));
    }
    port.offer(base.stores.bus.clone());
    let (gateway, worker) = match roles {
        Roles::Both => {
            let presence: Arc<dyn Presence> = Arc::new(Sessions(base.shown.board.live_sessions()));
            (Some(base.gateway()?), Some(base.worker(presence)?))
        }
        Roles::Gateway => (Some(base.gateway()?), None),
        Roles::Worker => (None, Some(base.worker(apart::presence(&base).await?)?)),
    };
    if roles != Roles::Worker {
        apart::announce(&base);
    }
    let serving = (roles != Roles::Gateway).then(|| apart::serve_requests(&base, &stop));
    let serving = serving.transpose()?.flatten();
    port.readiness.send_replace(Readiness::Ready);
    info!(role = roles.label(), admin = %port.address, bots = base.config.bots.len(), "ready");
    let worked = work(gateway, worker, stop, &port.readiness).await;
    if let Some(serving) = serving {
        let _ = serving.await; // a service that panicked has ended, too
    }
    port.close().await;
    base.close().await;
    info!("ended");
    worked
}

/// Runs both until `stop`, and drains the gateway before the worker.
async fn work(
    gateway: Option<Gateway>,
    worker: Option<Worker>,
    stop: CancellationToken,
    readiness: &watch::Sender<Readiness>,
) -> Outcome {
    let worker_stop = CancellationToken::new();
    let worker = worker.map(|worker| tokio::spawn(worker.run(worker_stop.clone())));
    let draining = async {
        stop.cancelled().await;
        readiness.send_replace(Readiness::Draining);
    };
    let gateway = async {
        match gateway {
            Some(gateway) => gateway.run(stop.clone()).await,
            None => {
                stop.cancelled().await;
                Ok(qqrelay_gateway::Drained::Clean)
            }
        }
    };
    let gateway = async {
        let drained = gateway.await;
        stop.cancel(); // a gateway that failed takes the process with it
        drained
    };
    let (drained, ()) = tokio::join!(gateway, draining);
    worker_stop.cancel();
    let worker = match worker {
        Some(worker) => worker.await.context("the worker")?,
        None => qqrelay_worker::app::Drained::Clean,
    };
    let gateway = drained.map_err(Failure::unavailable)?;
    info!(?gateway, ?worker, "drained");
    Ok(())
}
