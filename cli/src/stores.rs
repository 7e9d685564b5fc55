//! Where a process's bus and state are: on servers, or in a file of its own.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use qqrelay_proto::backoff::Doubling;
use qqrelay_runtime::bus::embedded::{Bound, EmbeddedBus, Limits};
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::bus::{Bus, Layout};
use qqrelay_runtime::config::{Config, Nats};
use qqrelay_runtime::random;
use qqrelay_runtime::state::State;
use qqrelay_runtime::state::embedded::Embedded;
use qqrelay_runtime::store::{Clock, Store};
use tokio::time::sleep;
use tracing::warn;

use crate::exit::Failure;

/// The bus and the state of a process.
#[derive(Clone)]
pub(crate) struct Stores {
    /// Where events and commands are.
    pub(crate) bus: Arc<dyn Bus>,
    /// What processes agree on.
    pub(crate) state: Arc<dyn State>,
    file: Option<Store>,
    nats: Option<NatsBus>,
}

impl Stores {
    /// Opens both. `name` is what servers show of this process.
    ///
    /// # Errors
    ///
    /// [`Failure::Unavailable`] where the same attempt may succeed later, [`Failure::Setting`]
    /// where somebody has to change something first.
    pub(crate) async fn open(config: &Config, name: &str) -> Result<Self, Failure> {
        let file = open_file(config.embedded.path.clone(), config.layout()).await?;
        let state = Embedded::new(file.clone()).await.map_err(Failure::unavailable)?;
        let limits = limits(config);
        let (bus, nats): (Arc<dyn Bus>, _) = match &config.nats {
            Some(nats) => {
                let bus = connect(nats, name, config, &limits).await?;
                (Arc::new(bus.clone()), Some(bus))
            }
            None => {
                let bus = EmbeddedBus::open(file.clone(), limits).await;
                (Arc::new(bus.map_err(Failure::unavailable)?), None)
            }
        };
        Ok(Self { bus, state: Arc::new(state), file: Some(file), nats })
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

async fn open_file(path: PathBuf, layout: Layout) -> Result<Store, Failure> {
    let open = move || Store::open(&path, layout, Clock::system());
    let opened = tokio::task::spawn_blocking(open).await.context("opening the file")?;
    opened.map_err(Failure::unavailable)
}

async fn connect(
    nats: &Nats,
    name: &str,
    config: &Config,
    limits: &Limits,
) -> Result<NatsBus, Failure> {
    let answer_within = config.gateway.publish_timeout;
    let connected = NatsBus::connect(nats, name, config.layout(), limits, answer_within).await;
    connected.map_err(|error| match error.is_passing() {
        true => Failure::unavailable(error),
        false => Failure::Setting(error.into()),
    })
}

fn limits(config: &Config) -> Limits {
    let events = Bound { max_age: config.log.max_age, max_bytes: config.log.max_bytes };
    Limits { events, ..Limits::default() }
}
