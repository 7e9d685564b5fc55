//! Who may still reply to what: the ledger, asked before every attempt.
//!
//! The shared state decides. This worker keeps its own copy of what it claimed, and goes by that
//! while the state does not answer: it has all of a scope's sends, and numbers follow from command
//! ids, so that a reply stays one reply.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use qqrelay_proto::command::{Command, CommandId, ReplyTo};
use qqrelay_proto::id::{AppId, Scope};
use qqrelay_proto::ledger::{Claim, LEDGER_LIFE, Ledger, Right};
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::state::{ReplyKey, State, StateError};
use qqrelay_runtime::store::Clock;

/// Ledgers that are kept here at most, for the time without a state.
const OWN_LEDGERS: usize = 16_384;

type Key = (AppId, Scope, ReplyTo);

/// The rights to reply of all bots.
pub(super) struct Rights {
    state: Arc<dyn State>,
    clock: Clock,
    own: Mutex<HashMap<Key, Own>>,
}

struct Own {
    ledger: Ledger,
    used_at: UnixMs,
}

/// One command's use of one right.
#[derive(Clone, Copy)]
pub(super) struct Use<'a> {
    app: &'a AppId,
    scope: &'a Scope,
    to: &'a ReplyTo,
    command: &'a CommandId,
    right: Right,
}

impl<'a> Use<'a> {
    /// What a command wants to use; `None` of what answers nothing.
    pub(super) fn of(command: &'a Command, scope: &'a Scope) -> Option<Self> {
        let (right, reply) = (Right::of(command)?, command.reply.as_ref()?);
        Some(Self { app: &command.app, scope, to: &reply.to, command: &command.id, right })
    }

    const fn key(self) -> ReplyKey<'a> {
        ReplyKey { app: self.app, scope: self.scope, to: self.to }
    }
}

impl Rights {
    pub(super) fn new(state: Arc<dyn State>, clock: Clock) -> Self {
        Self { state, clock, own: Mutex::default() }
    }

    /// Claims an attempt.
    pub(super) async fn claim(&self, wanted: Use<'_>) -> Claim {
        let claim = self.state.claim_reply(wanted.key(), wanted.command, wanted.right).await;
        let now = self.clock.now();
        let own = self.change_own(wanted, |ledger| ledger.claim(wanted.command, wanted.right, now));
        claim.unwrap_or_else(|error| {
            warn(wanted, &error);
            own
        })
    }

    /// Gives back an attempt that certainly changed nothing.
    pub(super) async fn release(&self, wanted: Use<'_>) {
        self.change_own(wanted, |ledger| ledger.release(wanted.command));
        if let Err(error) = self.state.release_reply(wanted.key(), wanted.command).await {
            warn(wanted, &error);
        }
    }

    /// The platform knows the command's number from somebody else.
    pub(super) async fn number_taken(&self, wanted: Use<'_>) {
        self.change_own(wanted, |ledger| ledger.number_taken(wanted.command));
        if let Err(error) = self.state.number_taken(wanted.key(), wanted.command).await {
            warn(wanted, &error);
        }
    }

    /// The platform takes no more replies here.
    pub(super) async fn exhaust(&self, wanted: Use<'_>) {
        self.change_own(wanted, Ledger::exhaust);
        if let Err(error) = self.state.exhaust_replies(wanted.key()).await {
            warn(wanted, &error);
        }
    }

    fn change_own<T>(&self, wanted: Use<'_>, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let key = (wanted.app.clone(), wanted.scope.clone(), wanted.to.clone());
        let now = self.clock.now();
        // A panic elsewhere leaves whole ledgers behind.
        let mut all = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= OWN_LEDGERS && !all.contains_key(&key) {
            all.retain(|_, own| now.since(own.used_at) < LEDGER_LIFE);
            if all.len() >= OWN_LEDGERS {
                return change(&mut Ledger::default()); // remembered by the state, if by anybody
            }
        }
        let own = all.entry(key).or_insert_with(|| Own { ledger: Ledger::default(), used_at: now });
        own.used_at = now;
        change(&mut own.ledger)
    }
}

fn warn(wanted: Use<'_>, error: &StateError) {
    let (app, scope, error) = (wanted.app, wanted.scope, error as &dyn Error);
    tracing::warn!(%app, %scope, error, "the right to reply is counted by this worker alone");
}
