//! Many bots in one gateway: how long until every one is heard, and what they weigh.

use std::time::Instant;

use qqrelay_simulator::Config;
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::meter::Meter;

use crate::table::Table;

const BOTS: u32 = 500;

/// Starts a gateway with 500 bots, each of which may begin one session in 5 s.
pub(crate) async fn measure() -> anyhow::Result<Table> {
    let bots = (1..=BOTS).map(|number| Bot::new(&(102_000_000 + number).to_string(), 1));
    let mut platform = Config::default();
    platform.gateway.max_concurrency = 1;
    let setup = Setup {
        bots: bots.collect(),
        platform,
        servers: Some(Servers::start(1).await?),
        ..Setup::default()
    };
    let mut cluster = Cluster::new(setup).await?;
    let begun = Instant::now();
    cluster.start().await?;
    cluster.live().await?;
    let took = begun.elapsed().as_secs_f64();
    let mib = Meter::of(cluster.relay().id()).rss_kib()? / 1024.0;
    cluster.finish().await?;
    let mut table =
        Table::new("500 bots of one shard each in one gateway", &[("s until live", 1), ("MiB", 1)]);
    table.row("from its start", [took, mib]);
    Ok(table)
}
