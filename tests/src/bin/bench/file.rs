//! One process on a file, and the gateway's half of it.

use std::time::{Duration, Instant};

use qqrelay_simulator::Config;
use qqrelay_tests::meter::Meter;
use tokio::time::sleep;

use crate::scene::{Measured, platform};
use crate::table::Table;

const SESSIONS: u16 = 8;
const RATE: u64 = 5_000;

/// Until caches are warm and the file has grown.
const WARM_UP: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(20);

/// Measures both at a rate and saturated.
pub(crate) async fn measure() -> anyhow::Result<Table> {
    let mut table = Table::new(
        "on a file, 8 sessions",
        &[("events/s", 0), ("CPU µs/event", 1), ("RSS MiB", 0)],
    );
    for role in ["gateway", "standalone"] {
        for (name, rate) in [("at 5,000/s", RATE), ("saturated", 0)] {
            table.row(format!("{role} {name}"), load(role, rate).await?);
        }
    }
    Ok(table)
}

async fn load(role: &'static str, rate: u64) -> anyhow::Result<[f64; 3]> {
    let platform = platform(SESSIONS, Config::default().flooded(rate)).await?;
    let scene = Measured::start(role, SESSIONS, &platform, None, "").await?;
    scene.live(SESSIONS).await?;
    let meter = Meter::of(scene.relay.id());
    let stored = async || scene.count("qqrelay_publish_ack_seconds_count").await;
    sleep(WARM_UP).await;
    let (begun, cpu, before) = (Instant::now(), meter.cpu()?, stored().await?);
    sleep(WINDOW).await;
    let (elapsed, cpu, stored) = (begun.elapsed(), meter.cpu()? - cpu, stored().await? - before);
    Ok([stored / elapsed.as_secs_f64(), cpu * 1e6 / stored, meter.rss_kib()? / 1024.0])
}
