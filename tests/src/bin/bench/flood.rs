//! The gateway and the raw-limit relay, by turns, on the same servers' streams under the same flood.

use std::env;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::bus::nats::NatsBus;
use qqrelay_runtime::config;
use qqrelay_simulator::{Config, Simulator};
use qqrelay_tests::cluster::{Bot, Servers};
use qqrelay_tests::meter::Meter;
use qqrelay_tests::wait::within;
use tokio::time::sleep;

use crate::raw::Task;
use crate::scene::{APP, LIVE_WITHIN, Measured, platform};
use crate::table::{Table, median};

const SESSIONS: [u16; 3] = [8, 64, 1_000];
const RATE: u64 = 20_000;

/// Until caches are warm.
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(5);

/// One process under a flood.
#[derive(Debug, Clone, Copy)]
struct Load {
    per_second: f64,
    cpu_us: f64,
}

/// Measures both at each number of sessions, at a rate and saturated.
pub(crate) async fn measure(runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "gateway, and raw-limit relay, under a flood on one nats-server",
        &[
            ("events/s", 0),
            ("raw events/s", 0),
            ("ratio", 2),
            ("CPU µs/event", 2),
            ("raw CPU µs/event", 2),
            ("CPU ratio", 2),
        ],
    );
    for rate in [RATE, 0] {
        for sessions in SESSIONS {
            let (mut gateway, mut raw) = (Vec::new(), Vec::new());
            for _ in 0..runs {
                raw.push(raw_relay(sessions, rate).await?);
                gateway.push(our_gateway(sessions, rate).await?);
            }
            let middle = |loads: &[Load], figure: fn(&Load) -> f64| {
                median(loads.iter().map(figure).collect())
            };
            let ratio = |figure: fn(&Load) -> f64| {
                let pairs = gateway.iter().zip(&raw);
                median(pairs.map(|(ours, raw)| figure(ours) / figure(raw)).collect())
            };
            let (speed, cost) = (|load: &Load| load.per_second, |load: &Load| load.cpu_us);
            let name = match rate {
                0 => format!("saturated, {sessions} sessions"),
                rate => format!("{rate}/s, {sessions} sessions"),
            };
            let speeds = [middle(&gateway, speed), middle(&raw, speed), ratio(speed)];
            let costs = [middle(&gateway, cost), middle(&raw, cost), ratio(cost)];
            table.row(name, [speeds, costs].concat());
        }
    }
    Ok(table)
}

async fn our_gateway(sessions: u16, rate: u64) -> anyhow::Result<Load> {
    let (platform, servers) = stage(sessions, rate).await?;
    let scene = Measured::start("gateway", sessions, &platform, Some(&servers), "").await?;
    scene.live(sessions).await?;
    let bus = bus(&servers).await?;
    look(Meter::of(scene.relay.id()), &bus).await
}

async fn raw_relay(sessions: u16, rate: u64) -> anyhow::Result<Load> {
    let (platform, servers) = stage(sessions, rate).await?;
    let bus = bus(&servers).await?;
    let task = Task {
        platform: platform.base_url(),
        nats: servers.nats.urls().swap_remove(0),
        secret: Bot::new(APP, sessions).secret(),
        sessions,
        partitions: bus.layout().partitions,
    };
    let raw = Raw::start(&task)?;
    within(LIVE_WITHIN, "every session is live", async || {
        let live =
            platform.sessions().iter().filter(|session| session.connection.is_some()).count();
        (live == usize::from(sessions)).then_some(())
    })
    .await?;
    look(Meter::of(raw.0.id()), &bus).await
}

async fn stage(sessions: u16, rate: u64) -> anyhow::Result<(Simulator, Servers)> {
    let platform = platform(sessions, Config::default().flooded(rate)).await?;
    Ok((platform, Servers::start(1).await?))
}

/// The streams, as the gateway makes them.
async fn bus(servers: &Servers) -> anyhow::Result<NatsBus> {
    let nats = servers.nats();
    let config = config::Config { nats: Some(nats.clone()), ..config::Config::default() };
    let (layout, limits) = (config.layout(), config.limits());
    Ok(NatsBus::connect(&nats, "bench", layout, &limits, Duration::from_secs(10)).await?)
}

async fn look(meter: Meter, bus: &NatsBus) -> anyhow::Result<Load> {
    sleep(WARM_UP).await;
    let (begun, cpu, stored) = (Instant::now(), meter.cpu()?, stored(bus).await?);
    sleep(WINDOW).await;
    let (elapsed, cpu) = (begun.elapsed(), meter.cpu()? - cpu);
    let stored = (self::stored(bus).await? - stored) as f64;
    ensure!(stored > 0.0, "nothing is stored any more");
    Ok(Load { per_second: stored / elapsed.as_secs_f64(), cpu_us: cpu * 1e6 / stored })
}

/// Records in all streams.
async fn stored(bus: &NatsBus) -> anyhow::Result<u64> {
    let mut all = 0;
    for partition in (0..bus.layout().partitions).map(Partition::Chain) {
        let extent = bus.log(partition).await?.extent().await;
        all += extent.map_err(|refusal| anyhow::anyhow!("{refusal}"))?.last;
    }
    Ok(all)
}

/// The raw-limit relay. Dropping it kills it.
struct Raw(Child);

impl Raw {
    fn start(task: &Task) -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["raw", &serde_json::to_string(task)?]).stdin(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // One that has ended already is no reason to complain.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
