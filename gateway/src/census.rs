//! Which of the bots' shards live, on whichever gateway: whoever brings up another number of shards
//! has to know when all of them are there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qqrelay_proto::id::{AppId, ShardId};
use qqrelay_proto::subject::Source;
use qqrelay_runtime::bus::nats::{NatsBus, ShardState};
use tokio::time::sleep;
use tracing::warn;

use crate::announce::SAY_EVERY;
use crate::status::{Board, Phase};
use crate::trouble::InFull;

/// A shard of which nothing has been heard for so long is not counted.
const FORGET_AFTER: Duration = Duration::from_secs(3 * SAY_EVERY.as_secs());

/// Wait before gateways are listened to again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// All shards that are known of. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Census {
    /// This process's own.
    board: Board,
    heard: Arc<Mutex<Heard>>,
}

/// When a shard was last heard of, and whether it lived.
type Heard = BTreeMap<(AppId, ShardId), (Instant, bool)>;

impl Census {
    /// Of this process's shards; others are counted once they are listened to.
    pub(crate) fn new(board: Board) -> Self {
        Self { board, heard: Arc::default() }
    }

    /// Listens to what gateways say of their shards, for ever.
    pub(crate) async fn listen(self, bus: NatsBus) {
        loop {
            match bus.hear_shards().await {
                Ok(mut states) => {
                    while let Some(state) = states.next().await {
                        self.hear(&state, Instant::now());
                    }
                }
                Err(error) => warn!(error = %InFull(&error), "shards elsewhere are not heard of"),
            }
            sleep(LISTEN_AGAIN).await;
        }
    }

    fn hear(&self, state: &ShardState, now: Instant) {
        let Source::Shard(shard) = state.source else { return };
        let mut heard = lock(&self.heard);
        heard.retain(|_, (at, _)| now.duration_since(*at) < FORGET_AFTER);
        heard.insert((state.app.clone(), shard), (now, state.live));
    }

    /// Whether every shard of a set lives.
    pub(crate) fn is_live(&self, app: &AppId, count: u16) -> bool {
        let (shards, now) = (self.board.shards(), Instant::now());
        let here = |shard| {
            let is_it =
                |line: &&crate::status::ShardStatus| line.app == *app && line.shard == shard;
            shards.iter().find(is_it).is_some_and(|line| line.phase == Phase::Live)
        };
        let heard = lock(&self.heard);
        let elsewhere = |shard| {
            let known = heard.get(&(app.clone(), shard));
            known.is_some_and(|(at, live)| *live && now.duration_since(*at) < FORGET_AFTER)
        };
        ShardId::all(count).all(|shard| here(shard) || elsewhere(shard))
    }

    /// How many sets of a bot's shards there are.
    pub(crate) fn sets(&self, app: &AppId) -> usize {
        let now = Instant::now();
        let heard = lock(&self.heard);
        let fresh = heard.iter().filter(|(_, (at, _))| now.duration_since(*at) < FORGET_AFTER);
        let elsewhere = fresh.filter(|((of, _), _)| of == app).map(|((_, shard), _)| *shard);
        let here = self.board.shards_of(app);
        let mut counts: Vec<_> = elsewhere.chain(here).map(ShardId::count).collect();
        counts.sort_unstable();
        counts.dedup();
        counts.len()
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qqrelay_proto::subject::Partition;
    use qqrelay_proto::time::UnixMs;

    fn shard(index: u16) -> ShardId {
        ShardId::new(index, 2).expect("below 2")
    }

    #[test]
    fn a_set_lives_once_all_of_it_does_wherever_it_is() {
        let (board, app, now) = (Board::default(), AppId::from("102"), Instant::now());
        let census = Census::new(board.clone());
        let state = |live| ShardState {
            app: app.clone(),
            source: Source::Shard(shard(1)),
            live,
            phase: String::new(),
            gateway: "gw".into(),
            at: UnixMs(0),
        };
        assert_eq!((census.is_live(&app, 2), census.sets(&app)), (false, 0));
        let here = board.add(app.clone(), shard(0), Partition::Chain(0));
        here.update(|status| status.phase = Phase::Live);
        census.hear(&state(false), now);
        assert_eq!((census.is_live(&app, 2), census.sets(&app)), (false, 1));
        census.hear(&state(true), now);
        assert!(census.is_live(&app, 2));
        let single = ShardId::new(0, 1).expect("below 1");
        let _old = board.add(app.clone(), single, Partition::Chain(0));
        assert_eq!(census.sets(&app), 2);
        census.hear(&state(false), now);
        assert!(!census.is_live(&app, 2));
    }
}
