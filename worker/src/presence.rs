//! Whether a bot is connected: what a send waits for, because a message that the platform took
//! while all of a bot's sessions were down was seen by nobody (field report).

use std::collections::HashMap;

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

/// Presence that somebody in the same process keeps, such as the gateway of `standalone`.
#[derive(Debug)]
pub struct Board {
    bots: watch::Sender<HashMap<AppId, Connection>>,
}

/// Whether any session of a bot is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// At least one is.
    Up,
    /// None is.
    Down,
}

impl Default for Board {
    fn default() -> Self {
        Self { bots: watch::Sender::new(HashMap::new()) }
    }
}

impl Board {
    /// Says how a bot is connected from now on.
    pub fn set(&self, app: &AppId, connection: Connection) {
        self.bots.send_if_modified(|bots| bots.insert(app.clone(), connection) != Some(connection));
    }
}

#[async_trait]
impl Presence for Board {
    async fn connected(&self, app: &AppId) {
        let up = |bots: &HashMap<AppId, Connection>| bots.get(app) != Some(&Connection::Down);
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.bots.subscribe().wait_for(up).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_bot_nobody_spoke_of_is_connected_and_one_that_is_down_is_waited_for() {
        let (board, app) = (Board::default(), AppId::from("102"));
        assert!(board.connected(&app).now_or_never().is_some());
        board.set(&app, Connection::Down);
        assert!(board.connected(&app).now_or_never().is_none());
        assert!(board.connected(&"103".into()).now_or_never().is_some());
        board.set(&app, Connection::Up);
        assert!(board.connected(&app).now_or_never().is_some());
    }
}
