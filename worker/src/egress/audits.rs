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

struct Pending<E> {
    key: AuditKey,
    entry: E,
    until: Instant,
}

struct Early {
    key: AuditKey,
    verdict: Outcome,
    until: Instant,
}

struct Inner<E> {
    pending: VecDeque<Pending<E>>,
    early: VecDeque<Early>,
}

/// All audits of a worker; `E` is what to write a verdict with.
pub(super) struct Audits<E> {
    inner: Mutex<Inner<E>>,
}

impl<E> Default for Audits<E> {
    fn default() -> Self {
        let (pending, early) = (VecDeque::new(), VecDeque::new());
        Self { inner: Mutex::new(Inner { pending, early }) }
    }
}

impl<E> Audits<E> {
    /// Waits for a verdict from now on. Gives what can be said at once: a verdict that came
    /// before, or the message that waited longest and makes room.
    pub(super) fn expect(&self, key: AuditKey, entry: E) -> Option<(E, Outcome)> {
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
    pub(super) fn verdict(&self, key: AuditKey, verdict: &Outcome) -> Option<E> {
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
    pub(super) fn overdue(&self) -> Option<E> {
        let (now, mut inner) = (Instant::now(), self.lock());
        let overdue = inner.pending.front().is_some_and(|pending| pending.until <= now);
        if overdue { inner.pending.pop_front().map(|pending| pending.entry) } else { None }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<E>> {
        // A panic elsewhere leaves whole entries behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn key(id: &str) -> AuditKey {
        AuditKey { app: "102".into(), id: Some(id.into()) }
    }

    const PASS: Outcome = Outcome::AuditPass { message_id: None };

    #[tokio::test(start_paused = true)]
    async fn a_verdict_finds_its_message_once() {
        let audits = Audits::default();
        assert_eq!(audits.expect(key("a"), 1), None);
        assert_eq!(audits.expect(key("b"), 2), None);
        assert_eq!(audits.verdict(key("b"), &PASS), Some(2));
        assert_eq!(audits.verdict(key("b"), &PASS), None);
        let another_bots = AuditKey { app: "103".into(), ..key("a") };
        assert_eq!(audits.verdict(another_bots, &PASS), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_is_remembered_for_an_answer_on_its_way() {
        let audits = Audits::default();
        assert_eq!(audits.verdict(key("a"), &PASS), None);
        assert_eq!(audits.expect(key("a"), 1), Some((1, PASS)));
        assert_eq!(audits.verdict(key("b"), &PASS), None);
        advance(EARLY_FOR).await;
        assert_eq!(audits.expect(key("b"), 2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_too_long_or_finds_no_room_will_never_be_known() {
        let audits = Audits::default();
        audits.expect(key("a"), 0);
        advance(PATIENCE - EARLY_FOR).await;
        assert_eq!(audits.overdue(), None);
        for number in 1..PENDING_MAX {
            audits.expect(AuditKey { app: "102".into(), id: None }, number);
        }
        assert_eq!(audits.expect(key("last"), PENDING_MAX), Some((0, Outcome::AuditUnknown)));
        advance(PATIENCE).await;
        assert_eq!(audits.overdue(), Some(1));
    }
}
