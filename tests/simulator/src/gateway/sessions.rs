//! All sessions there are, by bot and by name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use qqrelay_proto::id::AppId;

use super::session::Session;
use crate::clock::WallMs;
use crate::lock;

/// The living sessions. Whoever asks sweeps out those that nobody came back for.
#[derive(Debug, Default)]
pub struct Sessions {
    by_app: Mutex<HashMap<AppId, Vec<Arc<Session>>>>,
}

impl Sessions {
    /// Adds a new one.
    pub fn insert(&self, session: Arc<Session>) {
        lock(&self.by_app).entry(session.app.id.clone()).or_default().push(session);
    }

    /// A bot's sessions, oldest first.
    #[must_use]
    pub fn of(&self, app: &AppId, now: WallMs) -> Vec<Arc<Session>> {
        let mut by_app = lock(&self.by_app);
        let Some(sessions) = by_app.get_mut(app) else { return Vec::new() };
        sessions.retain(|session| {
            let expired = session.is_expired(now);
            if expired {
                session.end("nobody resumed it in time");
            }
            !expired
        });
        sessions.clone()
    }

    /// Everybody's sessions, in the order of the bots' ids.
    #[must_use]
    pub fn all(&self, now: WallMs) -> Vec<Arc<Session>> {
        let mut apps: Vec<AppId> = lock(&self.by_app).keys().cloned().collect();
        apps.sort_unstable();
        apps.iter().flat_map(|app| self.of(app, now)).collect()
    }

    /// A bot's session of this name. Another bot's is not found: a session is its owner's secret.
    #[must_use]
    pub fn find(&self, app: &AppId, name: &str, now: WallMs) -> Option<Arc<Session>> {
        self.of(app, now).into_iter().find(|session| session.id.as_str() == name)
    }
}
