//! `gateway`, `worker`, `standalone`: a process that runs until it is told to stop.
//!
//! Stopping, in this order: not ready any more; the gateway stops reading and closes its sockets so
//! that their sessions live; the worker finishes what is in hand; the file is closed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use prometheus::Registry;
use qqrelay_gateway::{Board, Gateway};
use qqrelay_runtime::admin::{self, Admin, Listening, Readiness, StatusSource};
use qqrelay_runtime::config::Loaded;
use qqrelay_runtime::telemetry::{self, Speaker, Stream};
use qqrelay_runtime::{random, shutdown};
use qqrelay_worker::app::Worker;
use qqrelay_worker::presence::{Presence, Sessions, Unknown};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::Process;
use crate::base::Base;
use crate::config;
use crate::exit::{Failure, Outcome};
use crate::local_api::{self, Listing};
use crate::running;

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
    runtime.block_on(serve(loaded, roles))
}

async fn serve(loaded: Loaded, roles: Roles) -> Outcome {
    let owner = random::id();
    let speaker = Speaker { role: roles.label(), instance: owner.clone() };
    let telemetry = telemetry::init(&loaded.config.telemetry, &speaker, Stream::Stdout)?;
    let served = serve_logged(loaded, roles, owner).await;
    telemetry.shutdown(FLUSH_WITHIN).await;
    served
}

async fn serve_logged(loaded: Loaded, roles: Roles, owner: String) -> Outcome {
    let stop = shutdown::listen().context("signals")?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let base = Base::open(loaded.config, owner.into()).await?;
    let port = AdminPort::open(&base, roles).await?;
    let (gateway, worker) = match roles {
        Roles::Both => {
            let presence: Arc<dyn Presence> = Arc::new(Sessions(base.board.live_sessions()));
            (Some(base.gateway()?), Some(base.worker(presence)?))
        }
        Roles::Gateway => (Some(base.gateway()?), None),
        Roles::Worker => (None, Some(base.worker(Arc::new(Unknown))?)),
    };
    port.readiness.send_replace(Readiness::Ready);
    info!(role = roles.label(), admin = %port.address, bots = base.config.bots.len(), "ready");
    let worked = work(gateway, worker, stop, &port.readiness).await;
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

/// The admin port while the process runs.
struct AdminPort {
    address: std::net::SocketAddr,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl AdminPort {
    async fn open(base: &Base, roles: Roles) -> Result<Self, Failure> {
        let listening = Listening::on(base.config.admin.listen).await;
        let listening = listening.map_err(Failure::unavailable)?;
        let address = listening.address();
        let more = if listening.is_local() {
            local_api::router(base.local())
        } else {
            warn!(%address, "beyond loopback the admin port does not offer tail and send");
            Router::new()
        };
        admin::register_build_info(&base.registry, env!("CARGO_PKG_VERSION"))?;
        register_process(&base.registry)?;
        let (readiness, seen) = watch::channel(Readiness::Starting);
        let status = Arc::new(Status { roles, board: base.board.clone() });
        let admin = Admin { registry: base.registry.clone(), readiness: seen, status };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listening.serve(admin, more, stop.clone()));
        Ok(Self { address, readiness, stop, serving })
    }

    async fn close(self) {
        self.stop.cancel();
        let _ = self.serving.await; // a port that panicked is closed too
    }
}

fn register_process(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
}

/// What the process says of itself.
struct Status {
    roles: Roles,
    board: Board,
}

impl StatusSource for Status {
    fn role(&self) -> &'static str {
        self.roles.label()
    }

    fn parts(&self) -> Vec<(String, String)> {
        let live = self.board.live_sessions();
        let heard = live.borrow();
        let bots =
            heard.iter().map(|(app, live)| (format!("bot {app}"), format!("{live} live sessions")));
        let waiting = self.board.waiting();
        let waiting = waiting.into_iter().map(|(app, why)| (format!("bot {app}"), why));
        bots.chain(waiting).collect()
    }

    fn table(&self) -> Vec<Vec<String>> {
        let listing = serde_json::to_value(Listing::of(&self.board)).unwrap_or_default();
        running::rows(&listing)
    }
}
