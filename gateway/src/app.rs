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
use qqrelay_proto::identify::Share;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::config::{Bots, Config};
use qqrelay_runtime::rest::Pool;
use qqrelay_runtime::state::State;
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::census::Census;
use crate::copies;
use crate::fleet::{self, Fleet, Rosters};
use crate::metrics::Metrics;
use crate::ownership::{Charge, Shared, Steward};
use crate::partition::StoredEvent;
use crate::shard::Way;
use crate::status::Board;
use crate::thread::{self, Post, Supplies};

/// Events that may wait to be told of. With more, those who wait for them store them as well.
const STORED_EVENTS: usize = 4_096;

/// What a gateway is built of.
#[derive(Clone)]
pub struct Parts {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// Its bots, as they are configured now.
    pub bots: watch::Receiver<Bots>,
    /// Where records go.
    pub bus: Arc<dyn Bus>,
    /// What the cluster agrees on.
    pub state: Arc<dyn State>,
    /// Where other gateways are met, if any are to share the partitions.
    pub peers: Option<NatsBus>,
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

    /// Holds the sessions of every enabled bot, or this process's share of them, until `stop`; then
    /// hands them over or drains, within the configured grace.
    ///
    /// # Errors
    ///
    /// The system gives no threads.
    pub async fn run(self, stop: CancellationToken) -> Result<Drained, StartError> {
        let Places { rosters, charges, posts } = self.places();
        let Self { parts, tls } = self;
        let grace = parts.config.gateway.drain_grace;
        let cores = available_parallelism().map_or(1, NonZero::get);
        let threads = fleet::threads(parts.config.gateway.threads.number(), cores, posts.len());
        let (stored, telling) = mpsc::channel(STORED_EVENTS);
        let supplies = Supplies { parts: parts.clone(), way: Way::new(tls), stored };
        let mut running = JoinSet::new();
        for (number, hand) in fleet::deal(posts, threads).into_iter().enumerate() {
            let done = thread::start(number, hand, supplies.clone()).map_err(StartError::Thread)?;
            running.spawn(done);
        }
        let share = watch::Sender::new(Share::ALONE);
        let fleet = Fleet {
            rosters,
            census: Census::new(parts.board.clone()),
            board: parts.board.clone(),
            pool: parts.pool.clone(),
            state: parts.state.clone(),
            share: share.subscribe(),
        };
        let mut keeping = JoinSet::new();
        if let Some(bus) = &parts.peers {
            keeping.spawn(fleet.census.clone().listen(bus.clone()));
        }
        keeping.spawn(fleet.run(parts.bots.clone()));
        keeping.spawn(tell(telling, parts.state.clone()));
        keeping.spawn(copies::keep(parts.board.clone(), parts.state.clone(), parts.owner.clone()));
        let steward = Steward::new(charges, parts.shared(), share, parts.metrics.clone());
        let steward = tokio::spawn(steward.run(stop.clone()));
        stop.cancelled().await;
        keeping.shutdown().await;
        Ok(drain(steward, running, grace).await)
    }

    fn places(&self) -> Places {
        let mut places = Places::default();
        let mut rosters = BTreeMap::new();
        for partition in (0..self.parts.bus.layout().partitions).map(Partition::Chain) {
            let (charge, orders) = mpsc::channel(1);
            let (recruit, roster) = watch::channel(Vec::new());
            rosters.insert(partition, recruit);
            places.charges.insert(partition, charge);
            places.posts.push(Post { partition, charges: orders, roster });
        }
        places.rosters = Arc::new(rosters);
        places
    }
}

impl Parts {
    /// What is needed to share partitions; without it everything is this process's.
    fn shared(&self) -> Option<Shared> {
        let bus = self.peers.clone()?;
        let times = self.config.lease.times();
        Some(Shared { bus, state: self.state.clone(), owner: self.owner.clone(), times })
    }
}

/// The ends of all partitions: who belongs there, orders, and where both arrive.
#[derive(Default)]
struct Places {
    rosters: Rosters,
    charges: BTreeMap<Partition, mpsc::Sender<Charge>>,
    posts: Vec<Post>,
}

/// Tells every source of the events that more than one may show where they are.
async fn tell(mut stored: mpsc::Receiver<StoredEvent>, state: Arc<dyn State>) {
    while let Some(StoredEvent { app, id, place }) = stored.recv().await {
        if let Err(error) = state.stored(&app, &id, &place).await {
            debug!(%error, "an event may be stored a second time under its id");
        }
    }
}

async fn drain(
    steward: JoinHandle<()>,
    mut running: JoinSet<Result<(), oneshot::error::RecvError>>,
    grace: Duration,
) -> Drained {
    let all = async {
        if let Err(panic) = steward.await {
            error!(%panic, "the partitions' steward failed");
        }
        while running.join_next().await.is_some() {}
    };
    match timeout(grace, all).await {
        Ok(()) => Drained::Clean,
        Err(_) => Drained::Abandoned(running.len()),
    }
}
