//! A platform and a gateway in the test's own process: the quickest way to a session.
//!
//! What the platform sent and received is judged against the log, whether a suite asks for it or
//! not: a stage that is dropped unjudged is judged then.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use qqrelay_gateway::{Phase, ShardStatus};
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::config::Config;
use qqrelay_simulator::journal::{Entry, Line};
use qqrelay_simulator::platform::Pushed;
use qqrelay_simulator::{Action, AppConfig, Config as PlatformConfig, Injection, Simulator};
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::gateway::{Running, config};
use crate::invariants::{self, Expected, Owed, Report};
use crate::run::{Run, read_log};
use crate::settle;
use crate::wait::{PATIENCE, eventually, within};

/// The stage's only bot.
pub const APP: &str = "102000001";
/// Its secret, which must appear nowhere.
pub const SECRET: &str = "a-secret-of-a-bot";

/// A platform, and a gateway that may run.
pub struct Stage {
    /// The platform.
    pub platform: Simulator,
    /// What the run shall come to.
    pub expected: Expected,
    config: Config,
    gateway: Option<Running>,
    folder: TempDir,
    judged: bool,
}

impl Stage {
    /// A platform as it is by default, and a gateway of one shard whose READY is durable.
    ///
    /// # Panics
    ///
    /// They do not come up.
    pub async fn live() -> Self {
        let mut stage = Self::of(PlatformConfig::default(), 1, |_| {}).await;
        stage.start().await;
        stage.all_live().await;
        stage
    }

    /// A platform, and a gateway that does not run yet.
    ///
    /// # Panics
    ///
    /// The platform does not start.
    pub async fn of(
        platform: PlatformConfig,
        shards: u16,
        adapt: impl FnOnce(&mut Config),
    ) -> Self {
        let apps = vec![AppConfig::new(APP, SECRET)];
        let platform = Simulator::start(PlatformConfig { apps, ..platform }).await;
        let platform = platform.expect("a platform");
        let mut config = config(&platform.base_url(), &[(APP, SECRET, shards)]);
        adapt(&mut config);
        let folder = tempfile::tempdir().expect("a folder");
        let (expected, gateway, judged) = (Expected::default(), None, false);
        Self { platform, expected, config, gateway, folder, judged }
    }

    /// Lets the gateway reach the platform by this address from its next start on.
    pub fn enter_by(&mut self, base_url: &str) {
        self.config.platform.token_url = Some(base_url.to_owned());
        self.config.platform.api_url = Some(base_url.to_owned());
    }

    /// Starts the gateway, for the first time or again.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub async fn start(&mut self) {
        let gateway = Running::start(self.config.clone(), &self.file()).await;
        self.gateway = Some(gateway.expect("a gateway"));
    }

    /// Stops the gateway as a process is asked to stop.
    ///
    /// # Panics
    ///
    /// It does not stop.
    pub async fn stop(&mut self) {
        let gateway = self.gateway.take().expect("a gateway runs");
        gateway.stop().await.expect("it stops");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("log.redb")
    }

    /// The gateway that runs.
    ///
    /// # Panics
    ///
    /// None does.
    #[must_use]
    pub fn gateway(&self) -> &Running {
        self.gateway.as_ref().expect("a gateway runs")
    }

    /// What its shards are doing.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardStatus> {
        self.gateway().board.shards()
    }

    /// What its only shard is doing.
    ///
    /// # Panics
    ///
    /// There is none yet.
    #[must_use]
    pub fn shard(&self) -> ShardStatus {
        self.shards().pop().expect("the bot has a shard")
    }

    /// Waits until every shard is live and its session can be resumed.
    ///
    /// # Panics
    ///
    /// It does not come to that.
    pub async fn all_live(&self) {
        eventually("every shard is live", async || {
            let shards = self.shards();
            let up = |shard: &ShardStatus| shard.phase == Phase::Live && shard.durable.is_some();
            (!shards.is_empty() && shards.iter().all(up)).then_some(())
        })
        .await
        .expect("a live session");
    }

    /// A message to the bot.
    ///
    /// # Panics
    ///
    /// The platform refuses it.
    pub fn say(&self, text: &str) -> Pushed {
        self.inject(&Injection::c2c("user", text))
    }

    /// An event to the bot.
    ///
    /// # Panics
    ///
    /// The platform refuses it.
    pub fn inject(&self, event: &Injection) -> Pushed {
        self.platform.inject(APP, event).expect("the bot exists")
    }

    /// Makes something happen, which must concern somebody.
    ///
    /// # Panics
    ///
    /// It did not.
    #[track_caller]
    pub fn perform(&self, action: &Action) {
        let touched = self.platform.perform(action).expect("the platform knows how").touched;
        assert!(touched > 0, "nobody was there for {action:?}");
    }

    /// Pushes an event again, under a new sequence.
    ///
    /// # Panics
    ///
    /// The platform does not remember it.
    pub fn push_again(&self, of: &Pushed) {
        let again = Action::PushAgain { injection: of.injection };
        self.platform.perform(&again).expect("it is remembered");
    }

    /// Makes something happen that concerns those who come later.
    ///
    /// # Panics
    ///
    /// The platform does not know how.
    pub fn arm(&self, action: &Action) {
        self.platform.perform(action).expect("the platform knows how");
    }

    /// What the platform has sent and received so far.
    #[must_use]
    pub fn journal(&self) -> Vec<Line> {
        self.platform.journal().all()
    }

    /// How many entries of the journal are of this kind.
    #[must_use]
    pub fn count(&self, is_it: impl Fn(&Entry) -> bool) -> usize {
        self.journal().iter().filter(|line| is_it(&line.entry)).count()
    }

    /// Waits until the journal has so many entries of a kind.
    ///
    /// # Panics
    ///
    /// It does not come to that.
    pub async fn seen(&self, what: &str, count: usize, is_it: impl Fn(&Entry) -> bool) {
        let seen = eventually(what, async || (self.count(&is_it) >= count).then_some(())).await;
        seen.unwrap_or_else(|error| panic!("{error}, only {}", self.count(&is_it)));
    }

    /// Waits until so many RESUMEs have led to something.
    ///
    /// # Panics
    ///
    /// It does not come to that.
    pub async fn resumed(&self, count: usize) {
        self.seen("sessions are resumed", count, |entry| matches!(entry, Entry::Resumed { .. }))
            .await;
    }

    /// Waits until the platform has seen so many IDENTIFYs, and every shard has its newest session.
    ///
    /// # Panics
    ///
    /// It does not come to that.
    pub async fn identified(&self, count: usize) {
        let begun = |entry: &Entry| matches!(entry, Entry::Identify { .. });
        self.seen("sessions are begun", count, begun).await;
        eventually("the newest sessions are live", async || {
            let mut newest = BTreeMap::new();
            for line in self.journal() {
                if let Entry::Ready { shard, session, .. } = line.entry {
                    newest.insert(shard.index, session);
                }
            }
            let is_new = |shard: &ShardStatus| {
                let newest = newest.get(&u32::from(shard.shard.index()));
                let live = shard.phase == Phase::Live && shard.durable.is_some();
                live && shard.session.as_ref() == newest
            };
            self.shards().iter().all(is_new).then_some(())
        })
        .await
        .unwrap_or_else(|error| panic!("{error}: {:?}", self.shards()));
    }

    /// Waits until a shard stands still, and tells why it does.
    ///
    /// # Panics
    ///
    /// It does not come to that.
    pub async fn parked(&self) -> &'static str {
        let parked = eventually("the shard is parked", async || {
            let shard = self.shards().pop()?;
            shard.blocked.filter(|_| shard.phase == Phase::Parked)
        });
        parked.await.unwrap_or_else(|error| panic!("{error}: {:?}", self.shards()))
    }

    /// IDENTIFYs so far.
    #[must_use]
    pub fn identifies(&self) -> usize {
        self.count(|entry| matches!(entry, Entry::Identify { .. }))
    }

    /// Everything that the log holds now.
    ///
    /// # Panics
    ///
    /// It cannot be read.
    pub async fn log(&self) -> Vec<(Partition, Stored)> {
        read_log(&self.gateway().bus).await.expect("the log")
    }

    /// Waits until the log has a record under a subject with this end.
    ///
    /// # Panics
    ///
    /// It does not come.
    pub async fn recorded(&self, end: &str) -> Stored {
        let look = async || {
            let found = self.log().await.into_iter().rev();
            found.map(|(_, stored)| stored).find(|it| it.record.subject.ends_with(end))
        };
        eventually(&format!("a record {end}"), look).await.expect("a record")
    }

    /// Waits until the log has everything that the platform has sent.
    ///
    /// # Panics
    ///
    /// It does not come to that.
    pub async fn settle(&self) {
        let settled = within(PATIENCE, "everything is durable", async || {
            let shards = self.shards();
            let shards =
                shards.iter().map(|shard| serde_json::to_value(shard).expect("plain data"));
            let shards: Vec<_> = shards.collect();
            settle::is_settled(&self.platform.sessions(), &shards, shards.len().max(1))
                .then_some(())
        });
        if let Err(error) = settled.await {
            panic!("{error}: {:?} of {:?}", self.shards(), self.platform.sessions());
        }
    }

    /// Lets the gateway come to an end and judges the whole run.
    ///
    /// # Panics
    ///
    /// A promise was broken.
    pub async fn finish(mut self) -> Report {
        self.judged = true;
        if self.expected.owed == Owed::Nothing {
            self.settle().await;
        }
        let report = self.judge(self.expected).await.expect("the run can be judged");
        self.stop().await;
        report.assert_clean();
        report
    }

    async fn judge(&self, expected: Expected) -> anyhow::Result<Report> {
        let gateway = self.gateway.as_ref().context("no gateway runs")?;
        let run = Run::read(self.journal(), &gateway.bus, "echo").await?;
        Ok(invariants::check(&run, &expected))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.judged || self.gateway.is_none() {
            return;
        }
        // What had not come yet when the suite went away is nobody's fault.
        let expected = Expected { owed: Owed::TailMayFollow, ..Expected::default() };
        let stage = &*self;
        let report = std::thread::scope(|scope| {
            let judge = scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(stage.judge(expected))
            });
            judge.join()
        });
        match report {
            Ok(Ok(report)) if report.is_clean() => {}
            _ if std::thread::panicking() => eprintln!("the run was judged: {report:?}"),
            Ok(Ok(report)) => panic!("{report}"),
            other => panic!("the run cannot be judged: {other:?}"),
        }
    }
}
