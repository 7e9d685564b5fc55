//! Which shards there are, and in which partition each lives.
//!
//! A bot's shards are put on their partitions' rosters as soon as their number is known. Where that
//! number changes, the new set comes up beside the old one, which goes on with the sessions it has
//! and is ended once every new shard lives. A bot whose number nobody can tell is asked about again
//! and again; no other bot waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qqrelay_proto::id::{AppId, ShardId};
use qqrelay_proto::identify::Share;
use qqrelay_proto::intent::Intents;
use qqrelay_proto::record::EndReason;
use qqrelay_proto::subject::{Partition, Source};
use qqrelay_runtime::config::{Bot as BotConfig, Bots};
use qqrelay_runtime::rest::Pool;
use qqrelay_runtime::state::State;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tracing::{error, info, warn};

use crate::announce::SAY_EVERY;
use crate::census::Census;
use crate::platform::Bot;
use crate::shard::Service;
use crate::status::Board;

/// Wait before the number of a bot's shards is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// How often the platform's recommendation is looked at, where a bot follows it.
const RECOUNT_EVERY: Duration = Duration::from_secs(30 * 60);

/// How often it is looked whether a set lives, and whether sets lie side by side.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a new set beside an old one begins no session: until every gateway has heard of it and
/// looks out for events that both of them show.
const HERALD: Duration = Duration::from_secs(SAY_EVERY.as_secs() + 1);

/// How long a set goes on beside the new one once all of that lives: what the platform gave to the old
/// one alone, just before, is still on its way.
const LINGER: Duration = Duration::from_secs(5);

/// A shard of a partition.
#[derive(Clone)]
pub(crate) struct Recruit {
    pub(crate) bot: Arc<Bot>,
    pub(crate) shard: ShardId,
    pub(crate) intents: Intents,
    pub(crate) service: Service,
    /// No socket is opened before.
    pub(crate) not_before: Instant,
}

/// A partition's shards, as they become known; whoever holds it runs them all.
pub(crate) type Roster = watch::Sender<Vec<Recruit>>;

/// The rosters of all partitions.
pub(crate) type Rosters = Arc<BTreeMap<Partition, Roster>>;

/// What every bot is made with.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) rosters: Rosters,
    pub(crate) census: Census,
    pub(crate) board: Board,
    pub(crate) pool: Pool,
    pub(crate) state: Arc<dyn State>,
    pub(crate) share: watch::Receiver<Share>,
}

/// The numbers of shards that each bot has had.
type Recorded = BTreeMap<AppId, BTreeSet<u16>>;

/// One bot, whose shards a task keeps until this is dropped.
struct Squad {
    bot: Arc<Bot>,
    config: watch::Sender<BotConfig>,
}

impl Fleet {
    /// Keeps the rosters as the configuration says, for ever.
    pub(crate) async fn run(self, mut bots: watch::Receiver<Bots>) {
        let (mut squads, mut keepers, mut is_watched) = (BTreeMap::new(), JoinSet::new(), true);
        let mut look = interval(LOOK_EVERY);
        let now = bots.borrow_and_update().clone();
        self.settle(&now, &mut squads, &mut keepers).await;
        loop {
            tokio::select! {
                changed = bots.changed(), if is_watched => match changed {
                    Ok(()) => {
                        let now = bots.borrow_and_update().clone();
                        self.settle(&now, &mut squads, &mut keepers).await;
                    }
                    Err(_) => is_watched = false, // they never change
                },
                Some(ended) = keepers.join_next() => {
                    if let Err(panic) = ended {
                        error!(%panic, "a bot's shards are not kept any more");
                    }
                }
                _ = look.tick() => {
                    for (app, Squad { bot, .. }) in &squads {
                        bot.set_overlaps(self.census.sets(app) > 1);
                    }
                }
            }
        }
    }

    /// Takes in what is configured now; bots that are as they were are not touched.
    async fn settle(
        &self,
        bots: &[BotConfig],
        squads: &mut BTreeMap<AppId, Squad>,
        keepers: &mut JoinSet<()>,
    ) {
        let enabled = bots.iter().filter(|bot| bot.enabled);
        let enabled: BTreeMap<_, _> = enabled.map(|bot| (bot.app_id.clone(), bot)).collect();
        squads.retain(|app, _| {
            let stays = enabled.contains_key(app);
            if !stays {
                info!(%app, "bot removed");
            }
            stays
        });
        let is_new = enabled.keys().any(|app| !squads.contains_key(app));
        let mut recorded = if is_new { self.recorded().await } else { Recorded::default() };
        for (app, config) in enabled {
            match squads.get(&app) {
                Some(squad) => {
                    squad.config.send_if_modified(|known| {
                        let is_new =
                            known.intents != config.intents || known.shards != config.shards;
                        known.clone_from(config);
                        is_new
                    });
                }
                None => {
                    let before = recorded.remove(&app).unwrap_or_default();
                    let squad = self.squad(app.clone(), config.clone(), before, keepers);
                    squads.insert(app, squad);
                }
            }
        }
    }

    /// The sets of shards of before, as far as copies of resume points say: one look for all bots.
    async fn recorded(&self) -> Recorded {
        let mut recorded = Recorded::default();
        for (app, source, _) in self.state.resumes(None).await.unwrap_or_default() {
            if let Source::Shard(shard) = source {
                recorded.entry(app).or_default().insert(shard.count());
            }
        }
        recorded
    }

    /// `before` are the sets that ran under other numbers before this process began.
    fn squad(
        &self,
        app: AppId,
        config: BotConfig,
        before: BTreeSet<u16>,
        keepers: &mut JoinSet<()>,
    ) -> Squad {
        let (pool, state) = (self.pool.clone(), self.state.clone());
        let bot = Arc::new(Bot::new(app, pool, state, Handle::current(), self.share.clone()));
        let config = watch::Sender::new(config);
        let sets = Sets { relieved: before, ..Sets::default() };
        let muster = Muster { fleet: self.clone(), bot: bot.clone(), sets };
        keepers.spawn(muster.run(config.subscribe()));
        Squad { bot, config }
    }
}

/// A bot's sets of shards, by their number.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sets {
    /// The one that shall serve.
    wanted: Option<u16>,
    /// Those that go on with what they have until it does.
    relieved: BTreeSet<u16>,
    /// Those that end.
    ended: BTreeSet<u16>,
}

impl Sets {
    /// Another set shall serve, or the same.
    fn want(&mut self, count: u16) {
        self.relieved.extend(self.wanted.replace(count));
        self.relieved.remove(&count);
        self.ended.remove(&count);
    }

    /// The wanted set lives: the others end.
    fn end_others(&mut self) {
        self.ended.append(&mut self.relieved);
    }

    /// Every set, and what it shall do.
    fn services(&self) -> impl Iterator<Item = (u16, Service)> {
        let wanted = self.wanted.map(|count| (count, Service::Serve));
        let relieved = self.relieved.iter().map(|count| (*count, Service::Relieve));
        let ended = self.ended.iter().map(|count| (*count, Service::End(EndReason::Resharded)));
        wanted.into_iter().chain(relieved).chain(ended)
    }
}

/// Keeps one bot's shards on the rosters.
struct Muster {
    fleet: Fleet,
    bot: Arc<Bot>,
    sets: Sets,
}

impl Muster {
    /// Keeps them until the bot is removed, and ends them then.
    async fn run(mut self, config: watch::Receiver<BotConfig>) {
        self.keep(config).await;
        self.fleet.board.note(self.bot.app(), None);
        for roster in self.fleet.rosters.values() {
            roster.send_if_modified(|roster| {
                let ours = roster.iter_mut().filter(|it| Arc::ptr_eq(&it.bot, &self.bot));
                ours.map(|it| it.service = Service::End(EndReason::Removed)).count() > 0
            });
        }
    }

    async fn keep(&mut self, mut config: watch::Receiver<BotConfig>) {
        let mut stale_since = None;
        loop {
            let now = config.borrow_and_update().clone();
            let count = tokio::select! {
                count = self.count(&now, stale_since) => count,
                changed = config.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            self.post(count, now.intents);
            let follows = now.shards.number().is_none();
            stale_since = loop {
                tokio::select! {
                    changed = config.changed() => match changed {
                        Ok(()) => break None,
                        Err(_) => return,
                    },
                    () = self.lives(count), if !self.sets.relieved.is_empty() => {
                        info!(app = %self.bot.app(), shards = count, "the new set lives");
                        self.sets.end_others();
                        self.show(now.intents, Instant::now());
                    }
                    () = self.bot.wants_replan(), if follows => break Some(Instant::now()),
                    () = sleep(RECOUNT_EVERY), if follows => break None,
                }
            };
        }
    }

    /// Puts a set of so many shards in the place of what is there.
    fn post(&mut self, count: u16, intents: Intents) {
        let (app, is_new) = (self.bot.app(), self.sets.wanted != Some(count));
        self.sets.want(count);
        let mut not_before = Instant::now();
        if is_new {
            info!(%app, shards = count, beside = ?self.sets.relieved, "bot enlisted");
            if !self.sets.relieved.is_empty() {
                not_before += HERALD;
            }
        }
        self.show(intents, not_before);
    }

    /// Writes the rosters.
    fn show(&self, intents: Intents, not_before: Instant) {
        let app = self.bot.app();
        let partitions = u8::try_from(self.fleet.rosters.len()).unwrap_or(Partition::MAX);
        let mut posts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (count, service) in self.sets.services() {
            for shard in ShardId::all(count) {
                let bot = self.bot.clone();
                let recruit = Recruit { bot, shard, intents, service, not_before };
                let partition = Partition::of_shard(app, shard, partitions);
                posts.entry(partition).or_default().push(recruit);
            }
        }
        for (partition, roster) in &*self.fleet.rosters {
            roster.send_if_modified(|roster| {
                let before = roster.len();
                roster.retain(|recruit| recruit.bot.app() != app);
                let posted = posts.remove(partition).unwrap_or_default();
                let is_changed = before != roster.len() || !posted.is_empty();
                roster.extend(posted);
                is_changed
            });
        }
    }

    /// Waits until a set has lived for long enough to stand alone.
    async fn lives(&self, count: u16) {
        let mut since = Instant::now();
        while since.elapsed() < LINGER {
            sleep(LOOK_EVERY).await;
            if !self.fleet.census.is_live(self.bot.app(), count) {
                since = Instant::now();
            }
        }
    }

    /// How many shards there shall be. What the platform said before `stale_since` is not so any more.
    async fn count(&self, config: &BotConfig, stale_since: Option<Instant>) -> u16 {
        if let Some(count) = config.shards.number() {
            return NonZeroU16::get(count);
        }
        let (app, board) = (self.bot.app(), &self.fleet.board);
        loop {
            let told = match stale_since {
                Some(since) => self.bot.gateway_since(since.into()).await,
                None => self.bot.gateway().await,
            };
            match (told, self.sets.wanted) {
                (Ok(gateway), _) => {
                    board.note(app, None);
                    return gateway.shards;
                }
                (Err(error), known) => {
                    let why = error.in_full();
                    warn!(%app, error = why, "the number of shards is not known yet");
                    if let Some(known) = known.filter(|_| stale_since.is_none()) {
                        return known;
                    }
                    board.note(app, Some(why));
                    sleep(ASK_AGAIN).await;
                }
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

    #[test]
    fn a_set_is_relieved_until_the_next_one_lives() {
        let mut sets = Sets::default();
        let check = |sets: &Sets, expected: &[(u16, Service)]| {
            assert_eq!(sets.services().collect::<Vec<_>>(), expected);
        };
        let resharded = Service::End(EndReason::Resharded);
        sets.want(1);
        check(&sets, &[(1, Service::Serve)]);
        sets.want(2);
        check(&sets, &[(2, Service::Serve), (1, Service::Relieve)]);
        sets.end_others();
        check(&sets, &[(2, Service::Serve), (1, resharded)]);
        sets.want(1);
        check(&sets, &[(1, Service::Serve), (2, Service::Relieve)]);
        // The wish is taken back before the set has come up.
        sets.want(2);
        check(&sets, &[(2, Service::Serve), (1, Service::Relieve)]);
        sets.end_others();
        check(&sets, &[(2, Service::Serve), (1, resharded)]);
    }
}
