//! Builds the gateway's parts, runs them, and takes them down in an order that loses nothing.
//!
//! Stopping: the shards stop reading and hand over what they have read, their sockets are closed
//! so that the sessions live, the owners wait for the last acknowledgements. The next start, here
//! or elsewhere, resumes from the log.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use qqrelay_proto::id::OwnerId;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::config::Config;
use qqrelay_runtime::rest::Pool;
use qqrelay_runtime::state::State;
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::copies;
use crate::fleet::{self, Posts, RECRUITS};
use crate::metrics::Metrics;
use crate::platform::Bot;
use crate::shard::Way;
use crate::status::Board;
use crate::thread::{self, Post, Supplies};

/// What a gateway is built of.
#[derive(Clone)]
pub struct Parts {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// Where records go.
    pub bus: Arc<dyn Bus>,
    /// What the cluster agrees on.
    pub state: Arc<dyn State>,
    /// Calls of the platform.
    pub pool: Pool,
    /// This process, unique for each start.
    pub owner: OwnerId,
    /// When it started, RFC 3339.
    pub started: String,
    /// The gateway's series.
    pub metrics: Metrics,
    /// Where each shard's state is shown.
    pub board: Board,
}

/// The gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No TLS roots.
    #[error("no TLS roots: install the system's CA certificates")]
    Tls(#[source] rustls::Error),
    /// The system gives no threads.
    #[error("a partition's thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// How stopping went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was read is durable, and every session can be resumed.
    Clean,
    /// Time ran out with so many threads of partitions left; what they had read comes again.
    Abandoned(usize),
}

/// A process's gateway.
pub struct Gateway {
    parts: Parts,
    tls: Arc<ClientConfig>,
}

impl Gateway {
    /// Builds the gateway.
    ///
    /// # Errors
    ///
    /// The process cannot play its role; say so and end.
    pub fn new(parts: Parts) -> Result<Self, StartError> {
        // A second call finds a provider installed, and it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ClientConfig::with_platform_verifier().map_err(StartError::Tls)?;
        Ok(Self { parts, tls: Arc::new(tls) })
    }

    /// Holds every enabled bot's sessions until `stop`, then drains within the configured grace.
    ///
    /// # Errors
    ///
    /// The system gives no threads.
    pub async fn run(self, stop: CancellationToken) -> Result<Drained, StartError> {
        let (posts, partitions) = self.partitions();
        let Self { parts, tls } = self;
        let grace = parts.config.gateway.drain_grace;
        let cores = available_parallelism().map_or(1, NonZero::get);
        let threads =
            fleet::threads(parts.config.gateway.threads.number(), cores, partitions.len());
        let supplies = Supplies { parts: parts.clone(), way: Way::new(tls), stop: stop.clone() };
        let mut running = JoinSet::new();
        for (number, hand) in fleet::deal(partitions, threads).into_iter().enumerate() {
            let done = thread::start(number, hand, supplies.clone()).map_err(StartError::Thread)?;
            running.spawn(done);
        }
        let mut enlisting = JoinSet::new();
        for config in parts.config.bots.iter().filter(|bot| bot.enabled) {
            let app = config.app_id.clone();
            let bot = Bot::new(app, parts.pool.clone(), parts.state.clone(), Handle::current());
            let (posts, board) = (posts.clone(), parts.board.clone());
            enlisting.spawn(fleet::enlist(config.clone(), Arc::new(bot), posts, board));
        }
        drop(posts);
        let copying = tokio::spawn(copies::keep(
            parts.board.clone(),
            parts.state.clone(),
            parts.owner.clone(),
        ));
        stop.cancelled().await;
        copying.abort();
        enlisting.shutdown().await;
        Ok(drain(running, grace).await)
    }

    fn partitions(&self) -> (Posts, Vec<Post>) {
        let (mut ways, mut posts) = (BTreeMap::new(), Vec::new());
        for partition in (0..self.parts.bus.layout().partitions).map(Partition::Chain) {
            let (way, recruits) = mpsc::channel(RECRUITS);
            ways.insert(partition, way);
            posts.push(Post { partition, recruits });
        }
        (Posts(Arc::new(ways)), posts)
    }
}

async fn drain(
    mut running: JoinSet<Result<(), oneshot::error::RecvError>>,
    grace: Duration,
) -> Drained {
    let all = async { while running.join_next().await.is_some() {} };
    match timeout(grace, all).await {
        Ok(()) => Drained::Clean,
        Err(_) => Drained::Abandoned(running.len()),
    }
}
