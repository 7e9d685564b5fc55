//! How long shards are deaf when their gateway dies, stops, or hands over to one that has come.

use std::collections::HashMap;

use qqrelay_simulator::Config;
use qqrelay_simulator::journal::{Entry, Line};
use qqrelay_tests::cluster::{Bot, Cluster, Servers, Setup};
use qqrelay_tests::invariants::Expected;

use crate::scene::APP;
use crate::table::{Table, at_share};

pub(crate) const SHARDS: u16 = 16;

/// Deaths, arrivals and departures in a run.
const ROUNDS: usize = 17;

/// What happened to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Killed,
    Joined,
    Stopped,
}

/// Two gateways, sixteen shards in eight partitions, and a platform that keeps what nobody hears.
pub(crate) async fn two_gateways() -> anyhow::Result<Cluster> {
    let mut platform = Config::default();
    platform.gateway.max_concurrency = u32::from(SHARDS);
    platform.journal.memory = usize::MAX;
    platform.replay.frames = 20_000;
    let setup = Setup {
        bots: vec![Bot::new(APP, SHARDS)],
        platform,
        expected: Expected { identifies: Some(usize::from(SHARDS)), ..Expected::default() },
        servers: Some(Servers::start(1).await?),
        ..Setup::default()
    };
    let mut cluster = Cluster::up(setup).await?;
    cluster.start().await?;
    cluster.shared().await?;
    Ok(cluster)
}

/// Measures all three.
pub(crate) async fn measure(runs: usize) -> anyhow::Result<Table> {
    let mut cluster = two_gateways().await?;
    // Where each cause begins to count, by its first line of the journal.
    let mut causes = Vec::new();
    for _ in 0..ROUNDS * runs {
        for cause in [Cause::Killed, Cause::Joined, Cause::Stopped, Cause::Joined] {
            causes.push((cluster.platform.journal().recorded(), cause));
            match cause {
                Cause::Killed => cluster.kill()?,
                Cause::Joined => cluster.start().await?,
                Cause::Stopped => cluster.terminate_gateway().await?,
            }
            cluster.shared().await?;
        }
    }
    let mut table = Table::new(
        "a shard's time without a socket, from its end to RESUMED, in ms",
        &[("shards moved", 0), ("p50", 0), ("p99", 0), ("worst", 0)],
    );
    let deaf = deaf(&cluster.platform.journal().all());
    for (name, cause) in [
        ("gateway killed", Cause::Killed),
        ("handed to one that starts", Cause::Joined),
        ("handed over by one that stops", Cause::Stopped),
    ] {
        let because = |resumed: u64| {
            let began = causes.partition_point(|(first, _)| *first <= resumed);
            began.checked_sub(1).is_some_and(|at| causes[at].1 == cause)
        };
        let times = deaf.iter().filter(|(resumed, _)| because(*resumed)).map(|(_, ms)| *ms);
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        let at = [0.5, 0.99, 1.0].map(|share| at_share(&times, share));
        table.row(name, [&[times.len() as f64][..], &at].concat());
    }
    cluster.finish().await?; // no frame lost, no IDENTIFY spent
    Ok(table)
}

/// Each RESUMED, by its line, and how long its shard had no socket before.
pub(crate) fn deaf(lines: &[Line]) -> Vec<(u64, f64)> {
    let (mut shards, mut ended, mut deaf) = (HashMap::new(), HashMap::new(), Vec::new());
    for line in lines {
        match &line.entry {
            Entry::Ready { connection, shard, .. } => {
                shards.insert(*connection, *shard);
            }
            Entry::Resumed { connection, shard, .. } => {
                shards.insert(*connection, *shard);
                if let Some(since) = ended.remove(shard) {
                    deaf.push((line.index, (line.at_ms - since) as f64));
                }
            }
            Entry::Close { connection, .. } => {
                if let Some(shard) = shards.remove(connection) {
                    ended.entry(shard).or_insert(line.at_ms);
                }
            }
            _ => {}
        }
    }
    deaf
}
