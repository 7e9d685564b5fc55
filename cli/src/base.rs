//! What gateway and worker share in one process: stores, pool, series, board.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus::Registry;
use qqrelay_gateway::{Board, Gateway, Parts};
use qqrelay_proto::id::{AppId, OwnerId};
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::config::{self, Bot, Bots, Config, Secret};
use qqrelay_runtime::rest::{self, Endpoints, Pool, Sharing};
use qqrelay_runtime::store::Clock;
use qqrelay_runtime::telemetry::{self, Speaker, Stream, Telemetry};
use qqrelay_worker::app::Worker;
use qqrelay_worker::presence::Presence;
use tokio::sync::watch;
use tracing::warn;

use crate::exit::Failure;
use crate::stores::Stores;

/// What a process shows of itself, from its first moment on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// Its series.
    pub(crate) registry: Registry,
    /// What its shards are doing.
    pub(crate) board: Board,
}

/// The foundation of a process.
pub(crate) struct Base {
    /// Its configuration.
    pub(crate) config: Arc<Config>,
    /// Its series and its board.
    pub(crate) shown: Shown,
    /// Its bus and its state.
    pub(crate) stores: Stores,
    /// Its bots, as they are configured now.
    bots: watch::Receiver<Bots>,
    pool: Pool,
    /// This process, unique for each start.
    pub(crate) owner: OwnerId,
    started: String,
}

impl Base {
    /// Builds everything on `stores`, for a process called `owner`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The process cannot make calls.
    pub(crate) fn new(
        config: Arc<Config>,
        stores: Stores,
        owner: OwnerId,
        shown: Shown,
        bots: watch::Receiver<Bots>,
    ) -> Result<Self, Failure> {
        let pool = Pool::new(
            Endpoints::of(&config.platform),
            rest::Limits::from(&config.egress),
            credentials(&config.bots),
            Some(Sharing { state: stores.state.clone(), owner: owner.clone() }),
            rest::Metrics::register(&shown.registry)?,
        )?;
        let started = now().to_string();
        Ok(Self { config, shown, stores, bots, pool, owner, started })
    }

    /// A gateway on it.
    ///
    /// # Errors
    ///
    /// The process cannot play that role.
    pub(crate) fn gateway(&self) -> Result<Gateway, Failure> {
        let parts = Parts {
            config: self.config.clone(),
            bots: self.bots.clone(),
            bus: self.stores.bus.clone(),
            state: self.stores.state.clone(),
            peers: self.peers(),
            pool: self.pool.clone(),
            owner: self.owner.clone(),
            started: self.started.clone(),
            metrics: qqrelay_gateway::Metrics::register(
                &self.shown.registry,
                self.shown.board.clone(),
            )?,
            board: self.shown.board.clone(),
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
            handler: qqrelay_worker::app::handler(
                &self.config.worker,
                clock.clone(),
                self.stores.nats.as_ref(),
            )?,
            config: self.config.clone(),
            bots: self.bots.clone(),
            bus: self.stores.bus.clone(),
            peers: self.peers(),
            state: self.stores.state.clone(),
            pool: self.pool.clone(),
            presence,
            owner: self.owner.clone(),
            clock,
        };
        Ok(Worker::new(parts, &self.shown.registry)?)
    }

    /// What has to be done before a change of the bots is told: calls of new ones can be made.
    pub(crate) fn preparation(&self) -> impl Fn(&[Bot]) + Send + use<> {
        let pool = self.pool.clone();
        move |bots| {
            if let Err(error) = pool.set_bots(credentials(bots)) {
                warn!(%error, "calls of a new bot cannot be made");
            }
        }
    }

    /// Where other processes are met. Without a state that all of them reach there are none.
    fn peers(&self) -> Option<NatsBus> {
        self.stores.nats.clone().filter(|_| self.config.redis.is_some())
    }

    /// Lets go of the stores: everything that was answered is durable.
    pub(crate) async fn close(self) {
        self.stores.close().await;
    }
}

/// What calls of enabled bots are made with.
fn credentials(bots: &[Bot]) -> impl Iterator<Item = (AppId, Secret)> {
    let enabled = bots.iter().filter(|bot| bot.enabled);
    enabled.map(|bot| (bot.app_id.clone(), bot.secret.clone()))
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
