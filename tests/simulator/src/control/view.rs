//! What can be seen from outside.

use std::collections::BTreeMap;

use qqrelay_proto::id::{AppId, SessionId};
use serde::{Deserialize, Serialize};

use crate::gateway::session::{Session, Silence};
use crate::platform::Platform;
use crate::shard::Shard;

/// A session, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Whose.
    pub app: AppId,
    /// Which slice of events.
    pub shard: Shard,
    /// Its name.
    pub session: SessionId,
    /// What it was opened with.
    pub intents: u32,
    /// The newest sequence.
    pub last_seq: u64,
    /// Its socket, by number.
    pub connection: Option<u64>,
    /// The newest sequence that was written to that socket.
    pub written: Option<u64>,
    /// What it leaves out.
    pub silence: Silence,
}

/// What happened so far, counted; nothing is ever dropped from here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Journal entries by kind.
    pub entries: BTreeMap<String, u64>,
    /// Journal entries that are no longer in memory.
    pub dropped: u64,
    /// Events of a flood, which the journal does not tell one by one.
    pub flooded: u64,
    /// Callbacks that found too many others waiting.
    pub callbacks_dropped: u64,
}

impl SessionView {
    fn of(session: &Session) -> Self {
        Self {
            app: session.app.id.clone(),
            shard: session.shard,
            session: session.id.clone(),
            intents: session.intents,
            last_seq: session.last_seq(),
            connection: session.link().map(|link| link.number),
            written: session.written(),
            silence: session.silence(),
        }
    }
}

impl Platform {
    /// The living sessions, by bot and age.
    #[must_use]
    pub fn session_views(&self) -> Vec<SessionView> {
        self.sessions.all(self.now()).iter().map(|session| SessionView::of(session)).collect()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let (entries, dropped) = self.journal.counts();
        let flooded = self.flood.as_ref().map_or(0, |flood| flood.sent());
        Counters { entries, dropped, flooded, callbacks_dropped: self.webhooks.dropped() }
    }
}
