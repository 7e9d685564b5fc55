//! A gateway in this process, on a file of its own, against a simulated platform.

use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use qqrelay_gateway::{Board, Drained, Gateway, Metrics, Parts};
use qqrelay_proto::id::AppId;
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::embedded::{EmbeddedBus, Limits};
use qqrelay_runtime::bus::{Bus, Reader, Start};
use qqrelay_runtime::config::{Bot, Config, Count, ProfileName, Secret, fixed};
use qqrelay_runtime::random;
use qqrelay_runtime::rest::{self, Endpoints, Pool};
use qqrelay_runtime::state::State;
use qqrelay_runtime::state::embedded::Embedded;
use qqrelay_runtime::store::{Clock, Store};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::wait::PATIENCE;

/// A running gateway.
pub struct Running {
    /// The log it writes.
    pub bus: EmbeddedBus,
    /// What its shards are doing.
    pub board: Board,
    store: Store,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<Drained>>,
}

/// A configuration for bots of a simulated platform: id, secret and number of shards.
#[must_use]
pub fn config(base_url: &str, bots: &[(&str, &str, u16)]) -> Config {
    let mut config = Config::default();
    config.platform.profile = ProfileName::Custom;
    config.platform.token_url = Some(base_url.to_owned());
    config.platform.api_url = Some(base_url.to_owned());
    config.bots = bots
        .iter()
        .map(|&(app, secret, shards)| Bot {
            app_id: AppId::from(app),
            secret: Secret::new(secret.to_owned()),
            shards: Count::Of(NonZeroU16::new(shards).expect("at least one shard")),
            ..Bot::default()
        })
        .collect();
    config
}

impl Running {
    /// Starts a gateway on the file at `path`.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from starting.
    pub async fn start(config: Config, path: &Path) -> anyhow::Result<Self> {
        let store = Store::open(path, config.layout(), Clock::system()).context("store")?;
        let bus = EmbeddedBus::open(store.clone(), Limits::default()).await.context("bus")?;
        let state: Arc<dyn State> = Arc::new(Embedded::new(store.clone()).await?);
        let registry = prometheus::Registry::new();
        let secrets = config.bots.iter().map(|bot| (bot.app_id.clone(), bot.secret.clone()));
        let pool = Pool::new(
            Endpoints::of(&config.platform),
            rest::Limits::default(),
            secrets,
            None,
            rest::Metrics::register(&registry)?,
        )?;
        let board = Board::default();
        let parts = Parts {
            bots: fixed(&config),
            config: Arc::new(config),
            bus: Arc::new(bus.clone()),
            state,
            peers: None,
            pool,
            owner: random::id().into(),
            started: "2026-11-25T00:00:00Z".to_owned(),
            metrics: Metrics::register(&registry, board.clone())?,
            board: board.clone(),
        };
        let stop = CancellationToken::new();
        let gateway = Gateway::new(parts)?;
        let running = gateway.run(stop.clone());
        let task = tokio::spawn(async move { Ok(running.await?) });
        Ok(Self { bus, board, store, stop, task })
    }

    /// Stops it and closes the file.
    ///
    /// # Errors
    ///
    /// It did not run, or did not stop in time.
    pub async fn stop(self) -> anyhow::Result<Drained> {
        self.stop.cancel();
        let drained = timeout(PATIENCE, self.task).await.context("stopping")???;
        self.store.close().await;
        Ok(drained)
    }

    /// Reads the log from its beginning until `enough` says so.
    ///
    /// # Errors
    ///
    /// It did not say so in time.
    pub async fn read_until(
        &self,
        mut enough: impl FnMut(&[(Partition, Stored)]) -> bool,
    ) -> anyhow::Result<Vec<(Partition, Stored)>> {
        let reader = Reader { filter: "qq.v1.ev.>".to_owned(), start: Start::Oldest };
        let mut records = self.bus.read(reader).await?;
        let mut read = Vec::new();
        let reading = async {
            while !enough(&read) {
                read.push(records.next().await?);
            }
            anyhow::Ok(())
        };
        let outcome = timeout(PATIENCE, reading).await;
        let so_far = || {
            let subjects = read.iter().map(|(_, stored)| stored.record.subject.clone());
            subjects.collect::<Vec<_>>().join("\n")
        };
        outcome.with_context(|| format!("the log has only\n{}", so_far()))??;
        Ok(read)
    }
}
