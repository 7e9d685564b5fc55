//! What gateway and worker share in one process: file, log, state, pool, admin port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use prometheus::Registry;
use qqrelay_gateway::{Board, Gateway, Parts};
use qqrelay_proto::id::OwnerId;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::bus::embedded::{Bound, EmbeddedBus, Limits};
use qqrelay_runtime::bus::{Bus, Layout};
use qqrelay_runtime::config::{self, Config};
use qqrelay_runtime::rest::{self, Endpoints, Pool, Sharing};
use qqrelay_runtime::state::State;
use qqrelay_runtime::state::embedded::Embedded;
use qqrelay_runtime::store::{Clock, Store};
use qqrelay_runtime::telemetry::{self, Speaker, Stream, Telemetry};
use qqrelay_worker::app::Worker;
use qqrelay_worker::presence::Presence;

use crate::exit::Failure;
use crate::local_api::Local;

/// The foundation of a process.
pub(crate) struct Base {
    /// Its configuration.
    pub(crate) config: Arc<Config>,
    /// Its series.
    pub(crate) registry: Registry,
    /// What its shards are doing.
    pub(crate) board: Board,
    /// Its log.
    pub(crate) bus: EmbeddedBus,
    state: Arc<dyn State>,
    pool: Pool,
    store: Store,
    owner: OwnerId,
    started: String,
}

impl Base {
    /// Opens the file and builds everything on it, for a process called `owner`. Nothing is sent
    /// yet.
    ///
    /// # Errors
    ///
    /// The file is not to be had, or the process cannot make calls.
    pub(crate) async fn open(config: Config, owner: OwnerId) -> Result<Self, Failure> {
        let config = Arc::new(config);
        let layout = Layout { partitions: config.log.partitions, window: config.log.window };
        let path = config.embedded.path.clone();
        let store = open_store(path, layout).await?;
        let bus = EmbeddedBus::open(store.clone(), limits(&config)).await;
        let bus = bus.map_err(Failure::unavailable)?;
        let state = Embedded::new(store.clone()).await.map_err(Failure::unavailable)?;
        let state: Arc<dyn State> = Arc::new(state);
        let registry = Registry::new();
        let enabled = config.bots.iter().filter(|bot| bot.enabled);
        let pool = Pool::new(
            Endpoints::of(&config.platform),
            rest::Limits::from(&config.egress),
            enabled.map(|bot| (bot.app_id.clone(), bot.secret.clone())),
            Some(Sharing { state: state.clone(), owner: owner.clone() }),
            rest::Metrics::register(&registry)?,
        )?;
        let started = now().to_string();
        let board = Board::default();
        Ok(Self { config, registry, board, bus, state, pool, store, owner, started })
    }

    /// A gateway on it.
    ///
    /// # Errors
    ///
    /// The process cannot play that role.
    pub(crate) fn gateway(&self) -> Result<Gateway, Failure> {
        let parts = Parts {
            config: self.config.clone(),
            bus: Arc::new(self.bus.clone()),
            state: self.state.clone(),
            pool: self.pool.clone(),
            owner: self.owner.clone(),
            started: self.started.clone(),
            metrics: qqrelay_gateway::Metrics::register(&self.registry)?,
            board: self.board.clone(),
        };
        Ok(Gateway::new(parts)?)
    }

    /// A worker on it, with the configured handler.
    ///
    /// # Errors
    ///
    /// The process cannot play that role.
    pub(crate) fn worker(&self, presence: Arc<dyn Presence>) -> Result<Worker, Failure> {
        let clock = Clock::system();
        let parts = qqrelay_worker::app::Parts {
            handler: qqrelay_worker::app::handler(&self.config.worker, clock.clone())?,
            config: self.config.clone(),
            bus: Arc::new(self.bus.clone()),
            state: self.state.clone(),
            pool: self.pool.clone(),
            presence,
            owner: self.owner.clone(),
            clock,
        };
        Ok(Worker::new(parts, &self.registry)?)
    }

    /// What the routes of this machine work on.
    #[must_use]
    pub(crate) fn local(&self) -> Local {
        let bus: Arc<dyn Bus> = Arc::new(self.bus.clone());
        Local { bus, board: self.board.clone() }
    }

    /// Closes the file: everything that was answered is on disk.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}

async fn open_store(path: PathBuf, layout: Layout) -> Result<Store, Failure> {
    let open = move || Store::open(&path, layout, Clock::system());
    let opened = tokio::task::spawn_blocking(open).await.context("opening the file")?;
    opened.map_err(Failure::unavailable)
}

fn limits(config: &Config) -> Limits {
    let events = Bound { max_age: config.log.max_age, max_bytes: config.log.max_bytes };
    Limits { events, ..Limits::default() }
}

/// Logs of a command that has something else to say: warnings only, on standard error.
///
/// # Errors
///
/// They are set up already.
pub(crate) fn logging(role: &'static str) -> Result<Telemetry, Failure> {
    let settings = config::Telemetry { log: "warn".to_owned(), ..config::Telemetry::default() };
    let speaker = Speaker { role, instance: role.to_owned() };
    Ok(telemetry::init(&settings, &speaker, Stream::Stderr)?)
}

/// The wall clock.
#[must_use]
pub(crate) fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMs(since.map_or(0, |since| since.as_millis() as u64))
}
