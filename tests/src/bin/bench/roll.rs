//! Rolling restarts under load: every gateway is replaced, again and again, while events come.

use std::time::Duration;

use qqrelay_proto::id::AppId;
use qqrelay_simulator::Injection;
use qqrelay_tests::cluster::Cluster;
use serde_json::json;
use tokio::time::interval;

use crate::scene::APP;
use crate::table::{Table, at_share};
use crate::takeover::{SHARDS, deaf, two_gateways};

const ROLLS: usize = 20;

/// In all, and in each turn of the time below: 4,000 a second.
const EVENTS: usize = 1_000_000;
const EACH_TURN: usize = 40;
const TURN: Duration = Duration::from_millis(10);

/// Replaces both gateways twenty times under a million events. A run in which a frame was lost, stored
/// twice or out of order is an error.
pub(crate) async fn measure() -> anyhow::Result<Table> {
    let mut cluster = two_gateways().await?;
    let talking = tokio::spawn(talk(&cluster));
    for _ in 0..ROLLS {
        for _ in 0..2 {
            cluster.start().await?;
            cluster.terminate_gateway().await?;
        }
    }
    talking.await?;
    let lines = cluster.platform.journal().all();
    let mut times: Vec<_> = deaf(&lines).into_iter().map(|(_, ms)| ms).collect();
    times.sort_by(f64::total_cmp);
    let tally = cluster.finish().await?.tally;
    let mut table = Table::new(
        "rolling restarts of two gateways under load, and a shard's time without a socket in ms",
        &[
            ("rolls", 0),
            ("events", 0),
            ("gaps", 0),
            ("IDENTIFYs", 0),
            ("shards moved", 0),
            ("p50", 0),
            ("p99", 0),
            ("worst", 0),
        ],
    );
    let counts = [ROLLS, tally.events, tally.gaps, tally.identifies - usize::from(SHARDS)];
    let counts = counts.into_iter().chain([times.len()]).map(|count| count as f64);
    let times = [0.5, 0.99, 1.0].map(|share| at_share(&times, share));
    table.row("both gateways", counts.chain(times).collect::<Vec<_>>());
    Ok(table)
}

/// Says a million things that ask for no answer, in a thousand guilds.
fn talk(cluster: &Cluster) -> impl Future<Output = ()> + Send + use<> {
    let platform = cluster.platform.platform().clone();
    async move {
        let app = platform.app(&AppId::from(APP).to_string()).expect("the bot exists").clone();
        let mut turns = interval(TURN);
        for number in 0..EVENTS {
            if number % EACH_TURN == 0 {
                turns.tick().await;
            }
            let guild = ((number % 1_000 + 1) as u64) << 22;
            let event = Injection::at(&guild.to_string(), "1000", "user", "on and on");
            platform.inject(&app, &event.with(json!({"author": {"bot": true}})));
        }
    }
}
