//! Where a process's bus and state are: on servers, or in a file of its own.
//!
//! With NATS and without Redis the state lies in the file, which serves one process alone.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use qqrelay_proto::backoff::Doubling;
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::bus::embedded::EmbeddedBus;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::config::{Config, Nats, Redis};
use qqrelay_runtime::random;
use qqrelay_runtime::state::State;
use qqrelay_runtime::state::embedded::Embedded;
use qqrelay_runtime::state::redis::RedisState;
use qqrelay_runtime::store::{Clock, Store};
use tokio::time::sleep;
use tracing::warn;

use crate::args::Process;
use crate::config;
use crate::exit::Failure;

/// The bus and the state of a process.
#[derive(Clone)]
pub(crate) struct Stores {
    /// Where events and commands are.
    pub(crate) bus: Arc<dyn Bus>,
    /// What processes agree on.
    pub(crate) state: Arc<dyn State>,
    file: Option<Store>,
    /// The bus, where it is on NATS.
    pub(crate) nats: Option<NatsBus>,
}

impl Stores {
    /// Opens both. `name` is what servers show of this process.
    ///
    /// # Errors
    ///
    /// [`Failure::Unavailable`] where the same attempt may succeed later, [`Failure::Setting`]
    /// where somebody has to change something first.
    pub(crate) async fn open(config: &Config, name: &str) -> Result<Self, Failure> {
        let Some(nats) = &config.nats else {
            let file = open_file(config).await?;
            let bus = EmbeddedBus::open(file.clone(), config.limits())
                .await
                .map_err(Failure::unavailable)?;
            let state = state_in(&file).await?;
            return Ok(Self { bus: Arc::new(bus), state, file: Some(file), nats: None });
        };
        let redis = match &config.redis {
            Some(redis) => Some(connect_redis(redis).await?),
            None => None,
        };
        let bus = connect_nats(nats, config, name).await?;
        // The file last: an attempt that fails must not leave it open for the next.
        let (state, file): (Arc<dyn State>, _) = match redis {
            Some(redis) => (Arc::new(redis), None),
            None => {
                let file = open_file(config).await?;
                (state_in(&file).await?, Some(file))
            }
        };
        Ok(Self { bus: Arc::new(bus.clone()), state, file, nats: Some(bus) })
    }

    /// As [`Stores::open`], again and again until the servers are there. `trouble` hears what is
    /// in the way each time.
    ///
    /// # Errors
    ///
    /// Somebody has to change something first, or the process's own file is not to be had.
    pub(crate) async fn await_open(
        config: &Config,
        name: &str,
        mut trouble: impl FnMut(String),
    ) -> Result<Self, Failure> {
        let mut failures = 0;
        loop {
            match Self::open(config, name).await {
                Err(failure @ Failure::Unavailable(_)) if config.nats.is_some() => {
                    warn!(error = %failure, "waiting for the servers");
                    trouble(failure.to_string());
                }
                opened => return opened,
            }
            failures += 1;
            sleep(Doubling::SERVERS.delay(failures, random::share())).await;
        }
    }

    /// Lets go of both: everything that was answered is durable.
    pub(crate) async fn close(self) {
        let Self { bus, state, file, nats } = self;
        drop((bus, state));
        if let Some(nats) = nats
            && let Err(error) = nats.close().await
        {
            warn!(%error, "the connection to NATS had ended already");
        }
        if let Some(file) = file {
            file.close().await;
        }
    }
}

/// The bus of a cluster, for a command that is no process of it.
///
/// # Errors
///
/// The configuration is wrong or has no NATS, or that cannot be reached.
pub(crate) async fn bus_of(file: &Path) -> Result<NatsBus, Failure> {
    let config = config::load(&Process { config: Some(file.to_owned()) })?.config;
    connect_nats(needed(config.nats.as_ref(), "nats")?, &config, "qqrelay").await
}

/// The state of a cluster, for a command that is no process of it.
///
/// # Errors
///
/// The configuration is wrong or has no Redis, or that cannot be reached.
pub(crate) async fn state_of(file: &Path) -> Result<RedisState, Failure> {
    let config = config::load(&Process { config: Some(file.to_owned()) })?.config;
    connect_redis(needed(config.redis.as_ref(), "redis")?).await
}

/// The section of the servers that a command shall ask.
fn needed<'a, T>(section: Option<&'a T>, name: &str) -> Result<&'a T, Failure> {
    section.ok_or_else(|| {
        Failure::Setting(anyhow!(
            "{name}: is missing; without it ask the process itself, with --admin"
        ))
    })
}

async fn connect_redis(redis: &Redis) -> Result<RedisState, Failure> {
    let connected = RedisState::connect(redis).await;
    connected.map_err(|error| failure(error.is_passing(), error))
}

async fn connect_nats(nats: &Nats, config: &Config, name: &str) -> Result<NatsBus, Failure> {
    let (layout, within) = (config.layout(), config.gateway.publish_timeout);
    let connected = NatsBus::connect(nats, name, layout, &config.limits(), within).await;
    connected.map_err(|error| failure(error.is_passing(), error))
}

async fn open_file(config: &Config) -> Result<Store, Failure> {
    let (path, layout) = (config.embedded.path.clone(), config.layout());
    let open = move || Store::open(&path, layout, Clock::system());
    let opened = tokio::task::spawn_blocking(open).await.context("opening the file")?;
    opened.map_err(Failure::unavailable)
}

async fn state_in(file: &Store) -> Result<Arc<dyn State>, Failure> {
    Ok(Arc::new(Embedded::new(file.clone()).await.map_err(Failure::unavailable)?))
}

/// Whether somebody has to change something first.
fn failure(is_passing: bool, error: impl Into<anyhow::Error>) -> Failure {
    if is_passing { Failure::unavailable(error) } else { Failure::Setting(error.into()) }
}
