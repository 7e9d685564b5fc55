//! Messages that the platform's reviewers have: what their verdict will be known by.
//!
//! Kept in this process only. A verdict can come before the answer that names the audit, so a few
//! that nobody waits for are remembered. What waits too long, or finds no room, ends as
//! `audit_unknown`: the platform never promised to say.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use qqrelay_proto::id::AppId;
use qqrelay_proto::outcome::Outcome;
use tokio::time::Instant;

use super::journal::Entry;

/// How long a verdict is waited for: people look at these messages.
pub(super) const PATIENCE: Duration = Duration::from_secs(6 * 60 * 60);

/// Messages that can be under review at once.
const PENDING_MAX: usize = 10_000;

/// Verdicts that are remembered for an answer still on its way.
const EARLY_MAX: usize = 256;

/// How long a verdict is remembered for an answer still on its way: longer than any call.
const EARLY_FOR: Duration = Duration::from_secs(60);

/// An audit, as the platform names it to one bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditKey {
    pub(super) app: AppId,
    /// Absent where the platform did not name it: no verdict can be told to be its.
    pub(super) id: Option<String>,
}

struct Pending {
    key: AuditKey,
    entry: Entry,
    until: Instant,
}

struct Early {
    key: AuditKey,
    verdict: Outcome,
    until: Instant,
}

#[derive(Default)]
struct Inner {
    pending: VecDeque<Pending>,
    early: VecDeque<Early>,
}

/// All audits of a worker.
#[derive(Default)]
pub(super) struct Audits {
    inner: Mutex<Inner>,
}

impl Audits {
    /// Waits for a verdict from now on. Gives what can be said at once: a verdict that came
    /// before, or the message that waited longest and makes room.
    pub(super) fn expect(&self, key: AuditKey, entry: Entry) -> Option<(Entry, Outcome)> {
        let (now, mut inner) = (Instant::now(), self.lock());
        inner.early.retain(|early| early.until > now);
        let early = inner.early.iter().position(|early| early.key == key && key.id.is_some());
        if let Some(early) = early.and_then(|at| inner.early.remove(at)) {
            return Some((entry, early.verdict));
        }
        inner.pending.push_back(Pending { key, entry, until: now + PATIENCE });
        let over = inner.pending.len() > PENDING_MAX;
        let oldest = if over { inner.pending.pop_front() } else { None };
        oldest.map(|pending| (pending.entry, Outcome::AuditUnknown))
    }

    /// A verdict came. Gives the message it is about; one that nobody waits for is remembered.
    pub(super) fn verdict(&self, key: AuditKey, verdict: &Outcome) -> Option<Entry> {
        let (now, mut inner) = (Instant::now(), self.lock());
        if let Some(at) = inner.pending.iter().position(|pending| pending.key == key) {
            return inner.pending.remove(at).map(|pending| pending.entry);
        }
        inner.early.push_back(Early { key, verdict: verdict.clone(), until: now + EARLY_FOR });
        if inner.early.len() > EARLY_MAX {
            inner.early.pop_front();
        }
        None
    }

    /// The next message that has waited too long.
    pub(super) fn overdue(&self) -> Option<Entry> {
        let (now, mut inner) = (Instant::now(), self.lock());
        let overdue = inner.pending.front().is_some_and(|pending| pending.until <= now);
        if overdue { inner.pending.pop_front().map(|pending| pending.entry) } else { None }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic elsewhere leaves whole entries behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
