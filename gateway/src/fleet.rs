//! Which shards there are, and in which partition each lives.
//!
//! A bot's shards are put on their partitions' rosters as soon as their number is known. A bot whose number
//! nobody can tell is asked about again and again; no other bot waits for it.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use qqrelay_proto::id::ShardId;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::config::Bot as BotConfig;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::platform::Bot;
use crate::status::Board;

/// Wait before the number of a bot's shards is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// A shard of a partition.
#[derive(Clone)]
pub(crate) struct Recruit {
    pub(crate) config: BotConfig,
    pub(crate) bot: Arc<Bot>,
    pub(crate) shard: ShardId,
}

/// A partition's shards, as they become known; whoever holds it runs them all.
pub(crate) type Roster = watch::Sender<Vec<Recruit>>;

/// The rosters of all partitions.
pub(crate) type Rosters = Arc<BTreeMap<Partition, Roster>>;

/// Finds out how many shards a bot has, and puts each on its partition's roster.
pub(crate) async fn enlist(config: BotConfig, bot: Arc<Bot>, rosters: Rosters, board: Board) {
    let count = match config.shards.number() {
        Some(count) => count.get(),
        None => recommended(&config, &bot, &board).await,
    };
    info!(app = %config.app_id, shards = count, "bot enlisted");
    let partitions = u8::try_from(rosters.len()).unwrap_or(Partition::MAX);
    for shard in ShardId::all(count) {
        let partition = Partition::of_shard(&config.app_id, shard, partitions);
        let recruit = Recruit { config: config.clone(), bot: bot.clone(), shard };
        rosters[&partition].send_modify(|roster| roster.push(recruit));
    }
}

async fn recommended(config: &BotConfig, bot: &Bot, board: &Board) -> u16 {
    let app = &config.app_id;
    loop {
        match bot.gateway().await {
            Ok(gateway) => {
                board.note(app, None);
                return gateway.shards;
            }
            Err(error) => {
                let why = error.in_full();
                warn!(%app, error = why, "the number of shards is not known yet");
                board.note(app, Some(why));
                sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// How many threads hold partitions: as configured, else one for each core, and never more than
/// there are partitions.
pub(crate) fn threads(configured: Option<NonZeroU16>, cores: usize, partitions: usize) -> usize {
    let wanted = configured.map_or(cores, |number| usize::from(number.get()));
    wanted.clamp(1, partitions.max(1))
}

/// Deals partitions out over threads.
pub(crate) fn deal<T>(partitions: impl IntoIterator<Item = T>, threads: usize) -> Vec<Vec<T>> {
    let mut hands: Vec<Vec<T>> = (0..threads.max(1)).map(|_| Vec::new()).collect();
    for (turn, partition) in partitions.into_iter().enumerate() {
        hands[turn % threads.max(1)].push(partition);
    }
    hands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_no_more_than_partitions() {
        let check = |configured, cores, partitions, expected| {
            assert_eq!(threads(NonZeroU16::new(configured), cores, partitions), expected);
        };
        check(0, 2, 8, 2);
        check(4, 2, 8, 4);
        check(64, 2, 8, 8);
        check(0, 2, 1, 1);
        assert_eq!(deal(0..5, 2), [vec![0, 2, 4], vec![1, 3]]);
    }
}
