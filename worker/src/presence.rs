//! Whether a bot is connected: what a send waits for, because a message that the platform took
//! while all of a bot's sessions were down was seen by nobody (field report).

use std::collections::BTreeMap;

use async_trait::async_trait;
use qqrelay_proto::id::AppId;
use tokio::sync::watch;

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
}
