//! What the relay costs: processor time per event, and memory per idle session.
//!
//! ```sh
//! cargo build --release -p qqrelay
//! QQRELAY_BIN=target/release/qqrelay cargo run --release -p qqrelay-tests --bin figures
//! ```
//!
//! The platform floods from this process; only the relay's own process is measured, by the kernel's
//! counters. Nothing else should run on the machine.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use qqrelay_simulator::{AppConfig, Config, Simulator};
use qqrelay_tests::cluster::{self, Bot};
use qqrelay_tests::process::{BIN, Relay, Start};
use qqrelay_tests::wait::within;
use tempfile::TempDir;
use tokio::time::sleep;

const APP: &str = "102000001";
const SHARDS: u16 = 8;
const SESSIONS: u16 = 2_000;

/// Until caches are warm and the file has grown.
const WARM_UP: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(20);

/// For two thousand handshakes, on a machine that may be slow.
const LIVE_WITHIN: Duration = Duration::from_secs(120);

/// Clock ticks in a second, of the kernel's counters: 100 on every Linux that we build for.
const TICKS: f64 = 100.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    ensure!(std::env::var_os(BIN).is_some(), "{BIN} must name a release build of qqrelay");
    println!("{:<28} {:>10} {:>12} {:>10}", "", "events/s", "CPU µs/event", "RSS MiB");
    for (name, role, rate) in [
        ("gateway at 5,000/s", "gateway", 5_000),
        ("gateway saturated", "gateway", 0),
        ("standalone at 5,000/s", "standalone", 5_000),
        ("standalone saturated", "standalone", 0),
    ] {
        let Load { events_per_second, cpu_us, rss_mib } = load(role, rate).await?;
        println!("{name:<28} {events_per_second:>10.0} {cpu_us:>12.1} {rss_mib:>10.0}");
    }
    let (one, many) = (idle(1).await?, idle(SESSIONS).await?);
    let each = (many - one) * 1024.0 / f64::from(SESSIONS - 1);
    println!(
        "idle sessions: {one:.1} MiB with one, {many:.1} MiB with {SESSIONS}: {each:.1} KiB each"
    );
    Ok(())
}

struct Load {
    events_per_second: f64,
    cpu_us: f64,
    rss_mib: f64,
}

/// A relay under a flood of so many events a second; of 0, as many as it takes.
async fn load(role: &'static str, rate: u64) -> anyhow::Result<Load> {
    let scene = Scene::up(role, SHARDS, Config::default().flooded(rate)).await?;
    sleep(WARM_UP).await;
    let (begun, cpu, stored) = (Instant::now(), scene.cpu()?, scene.stored().await?);
    sleep(WINDOW).await;
    let (cpu, stored) = (scene.cpu()? - cpu, scene.stored().await? - stored);
    Ok(Load {
        events_per_second: stored / begun.elapsed().as_secs_f64(),
        cpu_us: cpu * 1e6 / stored,
        rss_mib: scene.rss_mib()?,
    })
}

/// The memory of a gateway with so many sessions on which nothing happens.
async fn idle(sessions: u16) -> anyhow::Result<f64> {
    let scene = Scene::up("gateway", sessions, Config::default()).await?;
    sleep(WARM_UP).await;
    scene.rss_mib()
}

/// A platform, and a relay with a file of its own.
struct Scene {
    relay: Relay,
    _platform: Simulator,
    _folder: TempDir,
}

impl Scene {
    async fn up(role: &'static str, sessions: u16, platform: Config) -> anyhow::Result<Self> {
        let bot = Bot::new(APP, sessions);
        let mut platform = Config { apps: vec![AppConfig::new(APP, bot.secret())], ..platform };
        platform.gateway.max_concurrency = u32::from(sessions);
        platform.gateway.identifies_a_day = u32::from(sessions) * 10;
        let platform = Simulator::start(platform).await?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str| -> PathBuf { folder.path().join(name) };
        fs::write(file("qqrelay.toml"), cluster::config(&platform.base_url(), &[bot]))?;
        let env = [
            ("QQRELAY_EMBEDDED__PATH", file("log.redb").display().to_string()),
            ("QQRELAY_WORKER__HANDLER", "none".to_owned()),
            ("QQRELAY_TELEMETRY__LOG", "warn,qqrelay=info".to_owned()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value));
        let (config, output) = (&file("qqrelay.toml"), file("relay.log"));
        let relay = Relay::start(Start { role, config, env: &env, output }).await?;
        let live = within(LIVE_WITHIN, "every session is live", async || {
            let shards = relay.shards().await.ok()?;
            let live = shards.iter().filter(|shard| shard["phase"] == "live").count();
            (live == usize::from(sessions)).then_some(())
        });
        live.await?;
        Ok(Self { relay, _platform: platform, _folder: folder })
    }

    /// Processor time that the relay has used, in seconds.
    fn cpu(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.relay.id()))?;
        // The name in parentheses may hold spaces; user and system time are the 12th and 13th behind.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
        let mut next = || times.next().context("too few fields in stat");
        Ok((next()?? + next()??) / TICKS)
    }

    fn rss_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.relay.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib = line.split_whitespace().nth(1).context("no number")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }

    /// Records that have become durable so far.
    async fn stored(&self) -> anyhow::Result<f64> {
        let metrics = self.relay.get("/metrics").await?;
        let prefix = "qqrelay_publish_ack_seconds_count ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(prefix));
        Ok(count.context("no count of acknowledgements")?.parse()?)
    }
}
