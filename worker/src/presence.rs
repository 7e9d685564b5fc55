//! Whether a bot is connected: what a send waits for, because a message that the platform took
//! while all of a bot's sessions were down was seen by nobody (field report).

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::id::{AppId, OwnerId};
use qqrelay_proto::subject::Source;
use tokio::sync::watch;
use tokio::time::Instant;

/// What is known of bots' connections. A bot without sessions of its own, such as one that lives on
/// its webhook alone, counts as connected.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Returns once at least one session of the bot is up, at once where that is so or where
    /// nothing is known. Callers bound the wait.
    async fn connected(&self, app: &AppId);
}

/// The presence of a worker that knows nothing of connections: nothing is ever held.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unknown;

#[async_trait]
impl Presence for Unknown {
    async fn connected(&self, _app: &AppId) {}
}

/// The live sessions of bots as a gateway in the same process counts them; a bot that it does not
/// count has none of its own.
#[derive(Debug, Clone)]
pub struct Sessions(pub watch::Receiver<BTreeMap<AppId, usize>>);

#[async_trait]
impl Presence for Sessions {
    async fn connected(&self, app: &AppId) {
        let up = |live: &BTreeMap<AppId, usize>| live.get(app).is_none_or(|&sessions| sessions > 0);
        // A gateway that is gone counts no more: nothing is known.
        let _ = self.0.clone().wait_for(up).await;
    }
}

/// What gateways elsewhere have said of their shards, kept for as long as it can be believed.
#[derive(Debug)]
pub struct Heard {
    /// A source that moves is for a moment two gateways', and what the one says of it is no word of
    /// the other's.
    sources: BTreeMap<AppId, BTreeMap<(Source, OwnerId), Word>>,
    live: watch::Sender<BTreeMap<AppId, usize>>,
    believed: Duration,
}

/// The last word of a gateway on a source.
#[derive(Debug)]
struct Word {
    live: bool,
    heard: Instant,
}

impl Heard {
    /// Nothing heard yet. A word is believed for `believed`.
    #[must_use]
    pub fn new(believed: Duration) -> Self {
        Self { sources: BTreeMap::new(), live: watch::Sender::new(BTreeMap::new()), believed }
    }

    /// What is known, for [`Presence`].
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions(self.live.subscribe())
    }

    /// Takes in a word.
    pub fn take(&mut self, app: AppId, said_of: (Source, OwnerId), live: bool, now: Instant) {
        self.sources.entry(app).or_default().insert(said_of, Word { live, heard: now });
        self.tell(now);
    }

    /// Forgets what was said too long ago. A bot of which nothing is known any more counts as
    /// connected.
    pub fn tell(&mut self, now: Instant) {
        self.sources.retain(|_, sources| {
            sources.retain(|_, word| now.duration_since(word.heard) < self.believed);
            !sources.is_empty()
        });
        let count = |words: &BTreeMap<_, Word>| words.values().filter(|it| it.live).count();
        let counts: BTreeMap<_, _> =
            self.sources.iter().map(|(app, sources)| (app.clone(), count(sources))).collect();
        self.live.send_if_modified(|known| {
            let is_new = *known != counts;
            *known = counts;
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_bot_nobody_counts_is_connected_and_one_that_is_down_is_waited_for() {
        let (gateway, live) = watch::channel(BTreeMap::new());
        let (sessions, app) = (Sessions(live), AppId::from("102"));
        let count = |sessions| {
            gateway.send_replace(BTreeMap::from([(app.clone(), sessions)]));
        };
        let connected = |app: &AppId| sessions.connected(app).now_or_never().is_some();
        assert!(connected(&app));
        count(0);
        assert!(!connected(&app));
        assert!(connected(&"103".into()));
        count(2);
        assert!(connected(&app));
        count(0);
        drop(gateway);
        assert!(connected(&app), "nobody knows any more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_is_believed_until_it_is_old() {
        let mut heard = Heard::new(Duration::from_secs(15));
        let (sessions, app) = (heard.sessions(), AppId::from("102"));
        let connected = || sessions.connected(&app).now_or_never().is_some();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        assert!(connected(), "nothing is known");
        let of =
            |shard: &str, gateway: &str| (shard.parse().expect("a source"), OwnerId::from(gateway));
        heard.take(app.clone(), of("2-0", "a"), false, at(0));
        assert!(!connected());
        heard.take(app.clone(), of("2-1", "a"), true, at(10));
        assert!(connected(), "one of two is up");
        heard.take(app.clone(), of("2-1", "b"), true, at(11));
        heard.take(app.clone(), of("2-1", "a"), false, at(11));
        assert!(connected(), "it has moved");
        heard.take(app.clone(), of("2-1", "b"), false, at(12));
        assert!(!connected());
        heard.tell(at(26));
        assert!(!connected(), "one word is fresh");
        heard.tell(at(27));
        assert!(connected(), "nobody says anything any more");
    }
}
