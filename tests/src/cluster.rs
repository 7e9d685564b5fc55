//! A platform in the test's process and the relay in processes of its own, which are killed at will:
//! one on a file, or a gateway and workers on servers.
//!
//! What the platform sent and received is judged against the log that the relay leaves, whether a
//! suite asks for it or not: a cluster that is dropped unjudged is judged then.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use qqrelay_proto::subject::Lane;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::bus::{Bus as _, StoredLetter};
use qqrelay_runtime::config::{self, Config as RelayConfig, Nats};
use qqrelay_simulator::{AppConfig, Config as PlatformConfig, Simulator};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::edges::Edges;
use crate::invariants::{self, Answers, Expected, Owed, Report};
use crate::process::{Relay, Start};
use crate::run::Run;
use crate::servers::nats::{self, NatsCluster, NatsServer};
use crate::servers::redis::RedisServer;
use crate::settle;
use crate::wait::within;

/// How long a relay may take to end when it is asked to.
const END_WITHIN: Duration = Duration::from_secs(60);

/// How long it may take until everything is durable, once nothing more is said.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);

/// How long the last replies may take: what waited for a killed relay goes at the platform's pace.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A lane that is given nothing at so many looks in a row will be given nothing more. Who has just
/// taken a lane needs a moment to be given anything.
const IDLE_LOOKS: usize = 150;

/// One bot.
#[derive(Debug, Clone)]
pub struct Bot {
    /// Its id.
    pub app: String,
    /// How many shards its events are split into.
    pub shards: u16,
    /// Whether that is the platform's advice, and the relay is told no number.
    pub is_advised: bool,
}

impl Bot {
    /// A bot.
    #[must_use]
    pub fn new(app: &str, shards: u16) -> Self {
        Self { app: app.to_owned(), shards, is_advised: false }
    }

    /// A bot that follows the platform's advice, which comes to so many.
    #[must_use]
    pub fn advised(app: &str, shards: u16) -> Self {
        Self { is_advised: true, ..Self::new(app, shards) }
    }

    /// It, as the platform knows it.
    #[must_use]
    pub fn account(&self) -> AppConfig {
        AppConfig::new(self.app.as_str(), self.secret())
    }

    /// Its secret, which must appear nowhere.
    #[must_use]
    pub fn secret(&self) -> String {
        format!("the-secret-of-{}", self.app)
    }
}

/// What a cluster is made of.
#[derive(Debug, Default)]
pub struct Setup {
    /// The bots, on both sides.
    pub bots: Vec<Bot>,
    /// The platform; these bots are added to those that it has beside them.
    pub platform: PlatformConfig,
    /// Variables over the relay's configuration, such as `QQRELAY_LOG__PARTITIONS`.
    pub env: Vec<(&'static str, String)>,
    /// What the run shall come to.
    pub expected: Expected,
    /// The servers beside the relay; without any it is one process on a file.
    pub servers: Option<Servers>,
    /// Whether each process comes to Redis, and to a single nats-server, by a proxy of its own.
    pub edges: bool,
}

impl Setup {
    /// Bots whose sessions may all begin at once and are never begun anew, and a handler that echoes.
    #[must_use]
    pub fn echo(bots: Vec<Bot>) -> Self {
        let shards: u16 = bots.iter().map(|bot| bot.shards).sum();
        let mut platform = PlatformConfig::default();
        platform.gateway.max_concurrency = u32::from(shards);
        let identifies = Some(usize::from(shards));
        let expected = Expected { identifies, answers: Answers::Echo, ..Expected::default() };
        Self { bots, platform, expected, ..Self::default() }
    }
}

/// The servers of a relay whose gateway and workers run apart.
#[derive(Debug)]
pub struct Servers {
    /// One, or three that keep each other's streams.
    pub nats: NatsCluster,
    /// What gateway and workers agree through.
    pub redis: RedisServer,
}

impl Servers {
    /// Starts one nats-server, or three, and a redis-server.
    ///
    /// # Errors
    ///
    /// One of them does not start.
    pub async fn start(replicas: u8) -> anyhow::Result<Self> {
        let setup = nats::Setup::default();
        let nats = match replicas {
            1 => NatsCluster { servers: vec![NatsServer::start(&setup).await?] },
            _ => NatsCluster::start(&setup).await?,
        };
        Ok(Self { nats, redis: RedisServer::start("").await? })
    }

    /// The bus, as one who looks on.
    async fn bus(&self, config: &RelayConfig) -> anyhow::Result<NatsBus> {
        let (layout, limits) = (config.layout(), config.limits());
        Ok(NatsBus::connect(&self.nats(), "judge", layout, &limits, END_WITHIN).await?)
    }

    /// Their sections of a configuration.
    #[must_use]
    pub fn sections(&self) -> String {
        let Nats { urls, replicas, .. } = self.nats();
        let redis = self.redis.url();
        format!("[nats]\nurls = {urls:?}\nreplicas = {replicas}\n[redis]\nurls = [{redis:?}]\n")
    }

    /// How NATS is reached.
    #[must_use]
    pub fn nats(&self) -> Nats {
        let replicas = u8::try_from(self.nats.servers.len()).unwrap_or(u8::MAX);
        Nats { urls: self.nats.urls(), replicas, ..Nats::default() }
    }
}

/// A platform, and a relay that may run.
pub struct Cluster {
    /// The platform.
    pub platform: Simulator,
    /// What the run shall come to.
    pub expected: Expected,
    /// The servers beside the relay.
    pub servers: Option<Servers>,
    /// Of all bots together.
    shards: usize,
    /// The processes that have the sessions, the one that has run longest first; on a file one, which
    /// has everything else too.
    gateways: Vec<Relay>,
    workers: Vec<Relay>,
    folder: TempDir,
    env: Vec<(String, String)>,
    edges: bool,
    starts: usize,
    judged: bool,
}

impl Cluster {
    /// A platform with bots, and a configuration for a relay that does not run yet.
    ///
    /// # Errors
    ///
    /// The platform does not start.
    pub async fn new(setup: Setup) -> anyhow::Result<Self> {
        let Setup { bots, mut platform, env, expected, servers, edges } = setup;
        platform.apps.extend(bots.iter().map(Bot::account));
        let platform = Simulator::start(platform).await?;
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log.redb").display().to_string();
        let named = env.into_iter().map(|(name, value)| (name.to_owned(), value));
        let env = named.chain([("QQRELAY_EMBEDDED__PATH".to_owned(), log)]).collect();
        let (gateways, workers, starts, judged) = (Vec::new(), Vec::new(), 0, false);
        let mut cluster = Self {
            platform,
            expected,
            servers,
            shards: 0,
            gateways,
            workers,
            folder,
            env,
            edges,
            starts,
            judged,
        };
        cluster.configure(&bots)?;
        Ok(cluster)
    }

    /// Writes the configuration anew, for these bots; processes that run take it in by themselves.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn configure(&mut self, bots: &[Bot]) -> anyhow::Result<()> {
        self.write_config(&self.config_for(bots))?;
        self.shards = bots.iter().map(|bot| usize::from(bot.shards)).sum();
        Ok(())
    }

    /// The configuration for these bots. It ends in the last one's section.
    #[must_use]
    pub fn config_for(&self, bots: &[Bot]) -> String {
        let servers = self.servers.as_ref().map(Servers::sections).unwrap_or_default();
        servers + &config(&self.platform.base_url(), bots)
    }

    /// Writes this as the configuration, as a cluster swaps a mounted file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_config(&self, text: &str) -> anyhow::Result<()> {
        let [new, file] = ["new.toml", "qqrelay.toml"].map(|name| self.folder.path().join(name));
        fs::write(&new, text)?;
        Ok(fs::rename(new, file)?)
    }

    /// A platform, every process of its relay, and every session live.
    ///
    /// # Errors
    ///
    /// One of them does not come up.
    pub async fn up(setup: Setup) -> anyhow::Result<Self> {
        let mut cluster = Self::new(setup).await?;
        cluster.start().await?;
        if cluster.servers.is_some() {
            cluster.start_worker().await?;
        }
        cluster.live().await?;
        Ok(cluster)
    }

    /// Starts a process that has sessions, one more where others run; on servers, that is not the one
    /// that works.
    ///
    /// # Errors
    ///
    /// It does not become ready.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let role = if self.servers.is_some() { "gateway" } else { "standalone" };
        let gateway = self.process(role).await?;
        self.gateways.push(gateway);
        Ok(())
    }

    /// Starts the process that has the sessions while something happens to its servers.
    ///
    /// # Errors
    ///
    /// There are no servers, or it does not become ready.
    pub async fn start_while(
        &mut self,
        meanwhile: impl AsyncFnOnce(&mut Servers),
    ) -> anyhow::Result<()> {
        let mut servers = self.servers.take().context("no servers")?;
        let (gateway, ()) = tokio::join!(self.process("gateway"), meanwhile(&mut servers));
        self.servers = Some(servers);
        self.gateways.push(gateway?);
        Ok(())
    }

    /// Starts one more worker.
    ///
    /// # Errors
    ///
    /// It does not become ready.
    pub async fn start_worker(&mut self) -> anyhow::Result<()> {
        let worker = self.process("worker").await?;
        self.workers.push(worker);
        Ok(())
    }

    async fn process(&mut self, role: &'static str) -> anyhow::Result<Relay> {
        self.starts += 1;
        let edges = match &self.servers {
            Some(servers) if self.edges => Edges::of(servers).await?,
            _ => Edges::default(),
        };
        let start = Start {
            role,
            config: &self.folder.path().join("qqrelay.toml"),
            env: &[&*self.env, &edges.env()].concat(),
            output: self.output_file(self.starts),
            under: &[],
        };
        let mut relay = Relay::start(start).await?;
        relay.edges = edges;
        Ok(relay)
    }

    /// Kills the worker that has run longest.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be waited for.
    pub fn kill_worker(&mut self) -> anyhow::Result<()> {
        oldest(&mut self.workers)?.kill()
    }

    /// Asks the worker that has run longest to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// There is none, or it does not end well in time.
    pub async fn terminate_worker(&mut self) -> anyhow::Result<()> {
        let worker = oldest(&mut self.workers)?;
        let status = self.ended(worker).await?;
        anyhow::ensure!(status.success(), "a worker ended with {status}");
        Ok(())
    }

    /// The relay that runs, of several the one that has run longest.
    ///
    /// # Panics
    ///
    /// None does.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        self.gateways.first().expect("the relay was started")
    }

    /// All that have sessions, the one that has run longest first.
    #[must_use]
    pub fn gateways(&self) -> &[Relay] {
        &self.gateways
    }

    /// The shards that all of them have.
    async fn all_shards(&self) -> Option<Vec<Value>> {
        let mut shards = Vec::new();
        for gateway in &self.gateways {
            shards.extend(gateway.shards().await.ok()?);
        }
        Some(shards)
    }

    /// All that only work, the one that has run longest first.
    #[must_use]
    pub fn workers(&self) -> &[Relay] {
        &self.workers
    }

    /// The worker that has run longest.
    ///
    /// # Panics
    ///
    /// None runs.
    #[must_use]
    pub fn worker(&self) -> &Relay {
        self.workers.first().expect("a worker was started")
    }

    /// Every dead letter, the oldest first.
    ///
    /// # Errors
    ///
    /// There are no servers, or the letters cannot be read.
    pub async fn letters(&self) -> anyhow::Result<Vec<StoredLetter>> {
        let bus = self.servers.as_ref().context("no servers")?.bus(&self.config()?).await?;
        Ok(bus.dead_letters(0, usize::MAX).await?)
    }

    /// Kills the relay where it stands, of several the one that has run longest.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        oldest(&mut self.gateways)?.kill()
    }

    /// Stops the gateway that has run longest and takes it out of sight.
    ///
    /// # Errors
    ///
    /// There is none, or it has ended by itself.
    pub fn put_to_sleep(&mut self) -> anyhow::Result<Relay> {
        let gateway = oldest(&mut self.gateways)?;
        gateway.stand_still()?;
        Ok(gateway)
    }

    /// Lets one that sleeps go on.
    ///
    /// # Errors
    ///
    /// It has ended by itself.
    pub fn wake(&mut self, gateway: Relay) -> anyhow::Result<()> {
        gateway.go_on()?;
        self.gateways.insert(0, gateway);
        Ok(())
    }

    /// Stops the worker that has run longest and takes it out of sight.
    ///
    /// # Errors
    ///
    /// There is none, or it has ended by itself.
    pub fn put_worker_to_sleep(&mut self) -> anyhow::Result<Relay> {
        let worker = oldest(&mut self.workers)?;
        worker.stand_still()?;
        Ok(worker)
    }

    /// Lets a worker that sleeps go on.
    ///
    /// # Errors
    ///
    /// It has ended by itself.
    pub fn wake_worker(&mut self, worker: Relay) -> anyhow::Result<()> {
        worker.go_on()?;
        self.workers.insert(0, worker);
        Ok(())
    }

    /// Asks the gateway that has run longest to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// There is none, or it does not end well in time.
    pub async fn terminate_gateway(&mut self) -> anyhow::Result<()> {
        let gateway = oldest(&mut self.gateways)?;
        let status = self.ended(gateway).await?;
        anyhow::ensure!(status.success(), "a gateway ended with {status}");
        Ok(())
    }

    async fn ended(&self, relay: Relay) -> anyhow::Result<ExitStatus> {
        let ended = relay.terminate(END_WITHIN).await;
        ended.with_context(|| self.output().unwrap_or_default())
    }

    /// Asks the relay to end, its workers last, and waits until it has. Gives how the last gateway
    /// ended.
    ///
    /// # Errors
    ///
    /// It has not in time.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        while self.gateways.len() > 1 {
            self.terminate_gateway().await?;
        }
        let relay = oldest(&mut self.gateways)?;
        let status = self.ended(relay).await?;
        while !self.workers.is_empty() {
            self.terminate_worker().await?;
        }
        Ok(status)
    }

    /// Waits until every shard is live.
    ///
    /// # Errors
    ///
    /// They were not in time; what the relay said is in the error.
    pub async fn live(&self) -> anyhow::Result<()> {
        let all = within(SETTLE_WITHIN, "every shard is live", async || {
            let shards = self.all_shards().await?;
            (shards.len() == self.shards && shards.iter().all(settle::is_live)).then_some(())
        });
        all.await.with_context(|| self.output().unwrap_or_default())
    }

    /// Waits until the gateways share the partitions evenly and every shard is live.
    ///
    /// # Errors
    ///
    /// They did not in time; what the relay said is in the error.
    pub async fn shared(&self) -> anyhow::Result<()> {
        let partitions = self.config()?.layout().partitions;
        self.even(&self.gateways, "qqrelay_partitions_held", partitions).await?;
        self.live().await
    }

    /// Waits until the workers share the lanes evenly.
    ///
    /// # Errors
    ///
    /// They did not in time; what the relay said is in the error.
    pub async fn lanes_shared(&self) -> anyhow::Result<()> {
        self.even(&self.workers, "qqrelay_lanes_held", Lane::COUNT).await
    }

    async fn even(&self, processes: &[Relay], series: &str, all: u8) -> anyhow::Result<()> {
        let share = usize::from(all) / processes.len().max(1);
        let mut seen = Vec::new();
        let spread = within(SETTLE_WITHIN, "everybody has its share", async || {
            seen.clear();
            for process in processes {
                seen.extend(process.series(series).await.ok()?);
            }
            let is_even = |&held: &f64| held == share as f64 || held == (share + 1) as f64;
            (seen.iter().all(is_even) && seen.iter().sum::<f64>() == f64::from(all)).then_some(())
        });
        let spread = spread.await;
        spread.with_context(|| format!("{seen:?}\n{}", self.output().unwrap_or_default()))
    }

    /// Waits until the log has everything that the platform has sent.
    ///
    /// # Errors
    ///
    /// It had not in time; what the relay said is in the error.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let settled = within(SETTLE_WITHIN, "everything is durable", async || {
            let shards = self.all_shards().await?;
            settle::is_settled(&self.platform.sessions(), &shards, self.shards).then_some(())
        });
        settled.await.with_context(|| self.output().unwrap_or_default())
    }

    /// Waits until no worker has anything more to do. The log must have settled before.
    ///
    /// # Errors
    ///
    /// It had something to do until the end; what the relay said is in the error.
    pub async fn answered(&self) -> anyhow::Result<()> {
        if self.servers.is_some() {
            self.lanes_shared().await?; // what is in nobody's lane shows nowhere
        }
        let (mut idle, mut busy) = (0, Vec::new());
        let done = within(ANSWER_WITHIN, "no worker has anything to do", async || {
            busy.clear();
            for worker in self.working() {
                // Records that it was given and has not finished, of each of its lanes.
                let lags = worker.lines("qqrelay_consumer_lag{").await.ok()?;
                busy.extend(lags.into_iter().filter(|lag| !lag.ends_with(" 0")));
            }
            idle = if busy.is_empty() { idle + 1 } else { 0 };
            (idle >= IDLE_LOOKS).then_some(())
        });
        let done = done.await;
        done.with_context(|| format!("{busy:?}\n{}", self.output().unwrap_or_default()))
    }

    /// The processes that hold lanes.
    fn working(&self) -> impl Iterator<Item = &Relay> {
        let alone = self.gateways.iter().filter(|_| self.servers.is_none());
        self.workers.iter().chain(alone)
    }

    /// Everything that all relays of this cluster have said.
    ///
    /// # Errors
    ///
    /// An output cannot be read.
    pub fn output(&self) -> anyhow::Result<String> {
        let read = |start| fs::read_to_string(self.output_file(start));
        Ok((1..=self.starts).map(read).collect::<Result<String, _>>()?)
    }

    /// Lets the relay come to an end and judges the whole run.
    ///
    /// # Errors
    ///
    /// It does not settle or end, or a promise was broken.
    pub async fn finish(mut self) -> anyhow::Result<Report> {
        self.judged = true;
        if !self.gateways.is_empty() {
            if self.expected.owed == Owed::Nothing {
                self.settle().await?;
            }
            if self.expected.answers == Answers::Echo {
                self.answered().await?;
            }
            self.terminate().await?;
        }
        let report = self.judge(self.expected).await?;
        if !report.is_clean() {
            self.keep();
            anyhow::bail!("{report}");
        }
        Ok(report)
    }

    /// Lets the relay come to an end without a judgement: what retention has taken cannot be asked for.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub async fn finish_unjudged(mut self) -> anyhow::Result<()> {
        self.judged = true;
        self.terminate().await?;
        Ok(())
    }

    async fn judge(&self, expected: Expected) -> anyhow::Result<Report> {
        Ok(invariants::check(&self.run().await?, &expected))
    }

    /// What the run has left so far. No relay may be running.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub async fn run(&self) -> anyhow::Result<Run> {
        let journal = self.platform.journal().all();
        let Some(servers) = &self.servers else {
            let path = self.folder.path().join("log.redb");
            return Run::of_file(journal, &path, self.config()?.layout(), "echo").await;
        };
        let bus = servers.bus(&self.config()?).await?;
        Run::read(journal, &bus, "echo").await
    }

    /// The relay's own configuration.
    fn config(&self) -> anyhow::Result<RelayConfig> {
        let file = self.folder.path().join("qqrelay.toml");
        let loaded = config::load(Some(&file), self.env.iter().cloned());
        Ok(loaded.map_err(|problems| anyhow::anyhow!("{problems}"))?.config)
    }

    /// Keeps what is left, for whoever wants to know why.
    fn keep(&mut self) {
        self.folder.disable_cleanup(true);
        eprintln!("log, output and journal are kept in {}", self.folder.path().display());
        self.keep_journal();
    }

    fn keep_journal(&self) {
        let lines = self.platform.journal().all();
        let text: String = lines
            .iter()
            .filter_map(|line| serde_json::to_string(line).ok())
            .flat_map(|line| [line, "\n".to_owned()])
            .collect();
        let written = fs::write(self.folder.path().join("journal.jsonl"), text);
        if let Err(error) = written {
            eprintln!("but the journal is not: {error}");
        }
    }

    fn output_file(&self, start: usize) -> PathBuf {
        self.folder.path().join(format!("relay-{start}.log"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let unstarted = self.starts == 0;
        self.gateways.clear();
        self.workers.clear();
        if std::thread::panicking() {
            self.keep();
        }
        if self.judged || unstarted {
            return;
        }
        // What had not come yet when the suite went away is nobody's fault.
        let expected =
            Expected { owed: Owed::TailMayFollow, answers: Answers::Any, identifies: None };
        let cluster = &*self;
        let report = std::thread::scope(|scope| {
            let judge = scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(cluster.judge(expected))
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

/// Takes out the process that has run longest.
fn oldest(processes: &mut Vec<Relay>) -> anyhow::Result<Relay> {
    anyhow::ensure!(!processes.is_empty(), "no process of its kind is left");
    Ok(processes.remove(0))
}

/// The configuration of a relay whose platform is there.
#[must_use]
pub fn config(base_url: &str, bots: &[Bot]) -> String {
    let mut text = format!(
        "[platform]\nprofile = \"custom\"\ntoken_url = \"{base_url}\"\napi_url = \"{base_url}\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[worker]\nhandler = \"echo\"\n"
    );
    for bot in bots {
        let (app, secret) = (&bot.app, bot.secret());
        let shards = if bot.is_advised { "\"auto\"".to_owned() } else { bot.shards.to_string() };
        let section =
            format!("[[bots]]\napp_id = \"{app}\"\nsecret = \"{secret}\"\nshards = {shards}\n");
        text.write_str(&section).expect("a String takes all");
    }
    text
}
