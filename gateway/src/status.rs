//! What each shard is doing, for the admin port and for whoever must know whether a bot is heard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use qqrelay_proto::id::{AppId, Seq, SessionId, ShardId};
use qqrelay_proto::record::ResumePoint;
use qqrelay_proto::subject::Partition;
use serde::Serialize;
use tokio::sync::watch;

use crate::partition::{Known, Standing};

/// Where a shard is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The partition is not ours, or the log cannot be reached.
    Waiting,
    /// Between sockets.
    Connecting,
    /// A socket is open, and IDENTIFY or RESUME is under way.
    Opening,
    /// Events come.
    Live,
    /// Somebody must mend something; it is tried again rarely.
    Parked,
}

impl Phase {
    /// Every phase, in declaration order.
    pub const ALL: [Self; 5] =
        [Self::Waiting, Self::Connecting, Self::Opening, Self::Live, Self::Parked];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Opening => "opening",
            Self::Live => "live",
            Self::Parked => "parked",
        }
    }
}

/// One shard, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// The bot.
    pub app: AppId,
    /// Which slice of its events.
    pub shard: ShardId,
    /// Where its records go.
    pub partition: Partition,
    /// What it is doing.
    pub phase: Phase,
    /// Why it is parked.
    pub blocked: Option<&'static str>,
    /// Why it has no session now, in a sentence.
    pub trouble: Option<String>,
    /// Its session.
    pub session: Option<SessionId>,
    /// The newest sequence that the log holds.
    pub durable: Option<Seq>,
    /// Where it would be resumed, and the number of the record that says so.
    #[serde(skip)]
    pub resume: Option<(ResumePoint, u64)>,
    /// When an event last came, seconds since 1970.
    pub last_event_at: Option<u64>,
    /// When a heartbeat was last acknowledged, seconds since 1970.
    pub last_ack_at: Option<u64>,
    /// RESUMEs that came to life since the process started.
    pub resumes: u64,
    /// IDENTIFYs that came to life since the process started.
    pub identifies: u64,
}

/// One shard's line. Its owner tells what is durable; that is read when somebody looks.
#[derive(Debug)]
struct Line {
    status: ShardStatus,
    standing: Option<watch::Receiver<Standing>>,
}

impl Line {
    fn read(&mut self) -> ShardStatus {
        if let Some(standing) = &self.standing
            && let Standing::Open(Known { durable: Some(durable), .. }) = &*standing.borrow()
        {
            self.status.durable = Some(durable.point.seq);
            self.status.resume = Some((durable.point.clone(), durable.number));
        }
        self.status.clone()
    }
}

type Lines = BTreeMap<(AppId, ShardId), Arc<Mutex<Line>>>;

/// All shards of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Board {
    shards: Arc<Mutex<Lines>>,
    /// Bots that have no shards yet, and why.
    waiting: Arc<Mutex<BTreeMap<AppId, String>>>,
    /// Bots of which at least one session is live, by their count.
    live: watch::Sender<BTreeMap<AppId, usize>>,
}

impl Default for Board {
    fn default() -> Self {
        let (shards, waiting) = (Arc::default(), Arc::default());
        Self { shards, waiting, live: watch::channel(BTreeMap::new()).0 }
    }
}

impl Board {
    /// Every shard, by bot and number.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardStatus> {
        lock(&self.shards).values().map(|line| lock(line).read()).collect()
    }

    /// The shards of one bot.
    pub(crate) fn shards_of(&self, app: &AppId) -> Vec<ShardId> {
        let of_bot = |(of, shard): &(AppId, ShardId)| (of == app).then_some(*shard);
        lock(&self.shards).keys().filter_map(of_bot).collect()
    }

    /// Every bot whose shards nobody can count yet, and why, in a sentence.
    #[must_use]
    pub fn waiting(&self) -> BTreeMap<AppId, String> {
        lock(&self.waiting).clone()
    }

    /// A bot's shards cannot be counted for this reason, or can again.
    pub(crate) fn note(&self, app: &AppId, why: Option<String>) {
        let mut waiting = lock(&self.waiting);
        match why {
            Some(why) => waiting.insert(app.clone(), why),
            None => waiting.remove(app),
        };
    }

    /// Live sessions of each bot that this process has shards of; 0 says that it is not heard.
    #[must_use]
    pub fn live_sessions(&self) -> watch::Receiver<BTreeMap<AppId, usize>> {
        self.live.subscribe()
    }

    pub(crate) fn add(&self, app: AppId, shard: ShardId, partition: Partition) -> Entry {
        let status = ShardStatus {
            app: app.clone(),
            shard,
            partition,
            phase: Phase::Waiting,
            blocked: None,
            trouble: None,
            session: None,
            durable: None,
            resume: None,
            last_event_at: None,
            last_ack_at: None,
            resumes: 0,
            identifies: 0,
        };
        let line = Arc::new(Mutex::new(Line { status, standing: None }));
        lock(&self.shards).insert((app.clone(), shard), Arc::clone(&line));
        self.live.send_modify(|live| {
            live.entry(app.clone()).or_default();
        });
        Entry { board: self.clone(), key: (app, shard), line }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One shard's line on the board; gone with its holder.
#[derive(Debug)]
pub(crate) struct Entry {
    board: Board,
    key: (AppId, ShardId),
    line: Arc<Mutex<Line>>,
}

impl Entry {
    /// Changes the line.
    pub(crate) fn update(&self, change: impl FnOnce(&mut ShardStatus)) {
        let mut line = lock(&self.line);
        let before = line.status.phase;
        change(&mut line.status);
        let after = line.status.phase;
        drop(line);
        self.count(before, after);
    }

    /// Whoever looks at the line sees from here on what this says is durable.
    pub(crate) fn follow(&self, standing: watch::Receiver<Standing>) {
        lock(&self.line).standing = Some(standing);
    }

    fn count(&self, before: Phase, after: Phase) {
        if (before == Phase::Live) == (after == Phase::Live) {
            return;
        }
        self.board.live.send_modify(|live| {
            let count = live.entry(self.key.0.clone()).or_default();
            *count = if after == Phase::Live { *count + 1 } else { count.saturating_sub(1) };
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.board.shards).remove(&self.key);
        let phase = lock(&self.line).status.phase;
        self.count(phase, Phase::Waiting);
    }
}

/// Now, as the board shows it.
pub(crate) fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_is_heard_while_one_of_its_sessions_is_live() {
        let board = Board::default();
        let live = board.live_sessions();
        let heard = || live.borrow().get(&AppId::from("102")).copied();
        let [a, b] = [0, 1].map(|index| {
            let shard = ShardId::new(index, 2).expect("below 2");
            board.add("102".into(), shard, Partition::Chain(0))
        });
        assert_eq!(heard(), Some(0));
        a.update(|status| status.phase = Phase::Live);
        b.update(|status| status.phase = Phase::Live);
        assert_eq!(heard(), Some(2));
        a.update(|status| status.phase = Phase::Connecting);
        drop(b);
        assert_eq!(heard(), Some(0));
        assert_eq!(board.shards().len(), 1);
    }

    #[test]
    fn a_bot_that_cannot_begin_says_why() {
        let (board, app) = (Board::default(), AppId::from("102"));
        board.note(&app, Some("no access token".to_owned()));
        assert_eq!(board.waiting().get(&app).map(String::as_str), Some("no access token"));
        board.note(&app, None);
        assert!(board.waiting().is_empty());
    }
}
