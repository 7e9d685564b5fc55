//! The one way out, for handlers' replies and outside commands alike: from a command to exactly one
//! outcome.
//!
//! Limits first, then the right to reply, then the attempt on record, then the call. The rule a
//! newcomer would break: what may have been taken is sent again only where the platform notices it.
//! What follows from an answer is `qqrelay_proto::reply`'s to say; here it is only carried out.

mod audits;
mod closed;
mod journal;
mod limiter;
mod own;
mod pursuit;
mod rights;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qqrelay_proto::backoff::RetryBudget;
use qqrelay_proto::command::{Command, CommandId, Resend};
use qqrelay_proto::id::{AppId, OwnerId};
use qqrelay_proto::limits::Limits;
use qqrelay_proto::outcome::{Outcome, Progress, Resumption};
use qqrelay_proto::reply::{self, RetryPolicy};
use qqrelay_proto::subject::ScopeSubject;
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::rest::Pool;
use qqrelay_runtime::state::State;
use qqrelay_runtime::store::Clock;
use tokio_util::sync::CancellationToken;

use self::audits::{AuditKey, Audits};
use self::closed::Closed;
use self::journal::{Entry, Journal};
use self::limiter::Limiter;
use self::pursuit::{Found, Pursuit};
use self::rights::Rights;
use crate::duty::{Duty, Leave};
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::share::Share;
use crate::work::Past;

/// How commands are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// How much of each of the platform's limits is used.
    pub limits: Limits,
    /// How often and how soon a send is tried again.
    pub retry: RetryPolicy,
    /// Of a bot's requests, the share in percent that may be retries.
    pub budget_percent: u8,
    /// How long a send waits for its bot to have a session; zero for not at all.
    pub hold: Duration,
}

/// What the way out is made of.
pub struct Parts {
    /// Where attempts and outcomes are written.
    pub bus: Arc<dyn Bus>,
    /// Who keeps limits and rights to reply.
    pub state: Arc<dyn State>,
    /// Who calls the platform.
    pub pool: Pool,
    /// Who knows which bots are connected.
    pub presence: Arc<dyn Presence>,
    /// This process.
    pub owner: OwnerId,
    /// The wall clock.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    /// Which part of the bots' limits is this worker's while nobody counts them together.
    pub share: Arc<Share>,
}

/// The way out.
pub struct Egress {
    pool: Pool,
    presence: Arc<dyn Presence>,
    setup: Setup,
    clock: Clock,
    metrics: Metrics,
    journal: Journal,
    limiter: Limiter,
    rights: Rights,
    closed: Closed,
    audits: Audits<Entry>,
    budgets: Mutex<HashMap<AppId, RetryBudget>>,
}

impl Egress {
    /// Builds the way out.
    #[must_use]
    pub fn new(parts: Parts, setup: Setup) -> Self {
        let Parts { bus, state, pool, presence, owner, clock, metrics, share } = parts;
        let limiter = Limiter::new(
            Arc::clone(&state),
            setup.limits.clone(),
            clock.clone(),
            metrics.clone(),
            share,
        );
        Self {
            pool,
            presence,
            setup,
            journal: Journal::new(bus, owner, clock.clone()),
            limiter,
            rights: Rights::new(state, clock.clone()),
            closed: Closed::default(),
            audits: Audits::default(),
            budgets: Mutex::default(),
            clock,
            metrics,
        }
    }

    /// Brings a command to its outcome, which may have been known already.
    ///
    /// # Errors
    ///
    /// The command is to be left; whoever has it next goes by its records.
    pub async fn run(&self, command: &Command, past: Past, duty: &Duty) -> Result<Outcome, Leave> {
        let past = match past {
            Past::None => reply::Past::None,
            Past::Possible => match self.resume(command, duty).await? {
                Resumed::Known(outcome) => return Ok(outcome),
                Resumed::Ends(outcome) => return self.conclude(command, outcome, None, duty).await,
                Resumed::Tries(past) => past,
            },
        };
        match Pursuit::new(self, command, past, duty).run().await {
            Ok(Found::Known(outcome)) => Ok(outcome),
            Ok(Found::New { outcome, trace }) => self.conclude(command, outcome, trace, duty).await,
            Err(Leave::Stuck) => {
                let patient = duty.of_piece(CancellationToken::new());
                let sentence = format!("given up: {}", Leave::Stuck);
                self.give_up(command, Past::Possible, sentence, &patient).await?;
                Err(Leave::Stuck)
            }
            Err(leave) => Err(leave),
        }
    }

    /// Ends a command that nobody will try any more.
    ///
    /// # Errors
    ///
    /// The command is to be left.
    pub async fn give_up(
        &self,
        command: &Command,
        past: Past,
        sentence: String,
        duty: &Duty,
    ) -> Result<(), Leave> {
        let outcome = match self.journal.progress(command, duty).await? {
            Progress::Ended(_) | Progress::AwaitsAudit { .. } => return Ok(()),
            Progress::Attempted(_) => Outcome::Ambiguous,
            // Of what the platform recognises, attempts are not written down.
            Progress::Untried
                if past == Past::Possible && command.resend() == Resend::Deduplicated =>
            {
                Outcome::Ambiguous
            }
            Progress::Untried => refused(sentence),
        };
        self.conclude(command, outcome, None, duty).await.map(drop)
    }

    /// Refuses a command for a reason of ours, in a sentence for whoever sent it.
    ///
    /// # Errors
    ///
    /// The command is to be left.
    pub async fn refuse(
        &self,
        command: &Command,
        past: Past,
        sentence: String,
        duty: &Duty,
    ) -> Result<Outcome, Leave> {
        if past == Past::Possible
            && let Resumed::Known(outcome) = self.resume(command, duty).await?
        {
            return Ok(outcome);
        }
        self.conclude(command, refused(sentence), None, duty).await
    }

    /// Refuses what could not be read as a command of this place, under the id it was given.
    ///
    /// # Errors
    ///
    /// It is to be left.
    pub async fn refuse_unread(
        &self,
        place: &ScopeSubject,
        id: &CommandId,
        sentence: String,
        duty: &Duty,
    ) -> Result<(), Leave> {
        let outcome = refused(sentence);
        if self.journal.end_unread(place, id, outcome.clone(), duty).await? {
            self.metrics.outcome(&outcome);
        }
        Ok(())
    }

    /// The reviewers' verdict on a message came.
    ///
    /// # Errors
    ///
    /// The verdict could not be written before the work was left; it comes again.
    pub async fn audited(
        &self,
        app: &AppId,
        audit_id: &str,
        verdict: Outcome,
        duty: &Duty,
    ) -> Result<(), Leave> {
        let key = AuditKey { app: app.clone(), id: Some(audit_id.to_owned()) };
        if let Some(entry) = self.audits.verdict(key, &verdict) {
            self.journal.end_audit(&entry, verdict.clone(), duty).await?;
            self.metrics.outcome(&verdict);
        }
        Ok(())
    }

    /// Ends the messages whose reviewers have not spoken in time.
    pub async fn end_overdue_audits(&self) {
        while let Some(entry) = self.audits.overdue() {
            if self.journal.try_end_audit(&entry, Outcome::AuditUnknown).await {
                self.metrics.outcome(&Outcome::AuditUnknown);
            }
        }
    }

    /// An event came from this place: if the platform had closed it, it is open again.
    pub fn heard_from(&self, place: &ScopeSubject) {
        self.closed.heard_from(place);
    }

    /// What the records of a command say about going on with it.
    async fn resume(&self, command: &Command, duty: &Duty) -> Result<Resumed, Leave> {
        let progress = self.journal.progress(command, duty).await?;
        Ok(match progress.resume(command) {
            Resumption::Done(outcome) => Resumed::Known(outcome),
            Resumption::AwaitAudit => {
                let audit_id = match progress {
                    Progress::AwaitsAudit { audit_id } => audit_id,
                    Progress::Untried | Progress::Attempted(_) | Progress::Ended(_) => None,
                };
                self.await_audit(command, audit_id.clone(), duty).await?;
                Resumed::Known(Outcome::PendingAudit { audit_id })
            }
            Resumption::End(outcome) => Resumed::Ends(outcome),
            Resumption::Try if matches!(progress, Progress::Attempted(_)) => {
                Resumed::Tries(reply::Past::Attempted)
            }
            Resumption::Try => Resumed::Tries(reply::Past::Forgotten),
        })
    }

    async fn conclude(
        &self,
        command: &Command,
        outcome: Outcome,
        trace: Option<String>,
        duty: &Duty,
    ) -> Result<Outcome, Leave> {
        duty.assured().await?;
        self.journal.end(command, outcome.clone(), trace.clone(), duty).await?;
        self.metrics.outcome(&outcome);
        tracing::debug!(
            app = %command.app,
            scope = %command.place(),
            command = %command.id,
            outcome = outcome.label(),
            platform_trace = trace,
            "command ended"
        );
        if let Outcome::PendingAudit { audit_id } = &outcome {
            self.await_audit(command, audit_id.clone(), duty).await?;
        }
        Ok(outcome)
    }

    async fn await_audit(
        &self,
        command: &Command,
        id: Option<String>,
        duty: &Duty,
    ) -> Result<(), Leave> {
        let key = AuditKey { app: command.app.clone(), id };
        if let Some((entry, verdict)) = self.audits.expect(key, self.journal.verdict(command)) {
            self.journal.end_audit(&entry, verdict.clone(), duty).await?;
            self.metrics.outcome(&verdict);
        }
        Ok(())
    }
}

/// How a command with a past goes on.
enum Resumed {
    /// Its outcome stands.
    Known(Outcome),
    /// This is its outcome, and has to be written.
    Ends(Outcome),
    /// It is tried.
    Tries(reply::Past),
}

fn refused(sentence: String) -> Outcome {
    Outcome::Rejected { code: Outcome::OURS, sentence }
}
