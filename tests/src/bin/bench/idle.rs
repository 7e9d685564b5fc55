//! The memory of sessions on which nothing happens.

use std::time::Duration;

use qqrelay_simulator::Config;
use qqrelay_tests::cluster::Servers;
use qqrelay_tests::meter::Meter;
use tokio::time::sleep;

use crate::scene::{Measured, platform};
use crate::table::{Table, median};

const SESSIONS: u16 = 2_000;

/// Until what the start needed is given back.
const SETTLE: Duration = Duration::from_secs(5);

/// Measures a gateway with one session and with two thousand.
pub(crate) async fn measure(runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "gateway with 2,000 idle sessions, without TLS",
        &[("MiB with 1", 1), ("MiB with 2,000", 1), ("KiB/session", 1)],
    );
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        few.push(gateway(1).await?);
        many.push(gateway(SESSIONS).await?);
    }
    let (few, many) = (median(few), median(many));
    let each = (many - few) / f64::from(SESSIONS - 1);
    table.row("memory", [few / 1024.0, many / 1024.0, each]);
    Ok(table)
}

async fn gateway(sessions: u16) -> anyhow::Result<f64> {
    let (platform, servers) =
        (platform(sessions, Config::default()).await?, Servers::start(1).await?);
    let scene = Measured::start("gateway", sessions, &platform, Some(&servers), "").await?;
    scene.live(sessions).await?;
    sleep(SETTLE).await;
    Meter::of(scene.relay.id()).rss_kib()
}
