//! One command from its first attempt to its outcome.

use std::error::Error;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::FutureExt;
use qqrelay_proto::backoff::RetryBudget;
use qqrelay_proto::command::{Command, MsgSeq, Resend};
use qqrelay_proto::id::Scope;
use qqrelay_proto::ledger::Claim;
use qqrelay_proto::outcome::{Attempt, Outcome};
use qqrelay_proto::reply::{
    Answer, Attempts, Consequence, Effect, Observation, Past, Ruling, Verdict,
};
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::random;
use qqrelay_runtime::rest::{Call, RestError};
use tokio::time::{Instant, timeout};

use super::limiter::Pass;
use super::rights::Use;
use super::{Egress, Resumed, refused};
use crate::duty::{Duty, Leave};
use crate::metrics::Hold;

/// What is left of a reply's window when a hold for its bot's sessions ends.
const HOLD_RESERVE: Duration = Duration::from_secs(30);

/// How long a command without a deadline waits for its bot to have an access token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(60);

/// The shortest wait for what the platform says is not there yet.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// How a pursuit ended.
pub(super) enum Found {
    /// Somebody has written the outcome before.
    Known(Outcome),
    /// This is the outcome.
    New {
        outcome: Outcome,
        /// The platform's trace id of the last answer.
        trace: Option<String>,
    },
}

/// One command on its way.
pub(super) struct Pursuit<'a> {
    egress: &'a Egress,
    command: &'a Command,
    place: Scope,
    deadline: Option<UnixMs>,
    attempts: Attempts,
    /// Whether the attempt record that a call needs is written.
    on_record: bool,
    /// Whether an attempt may have been taken whose fate nobody knows.
    in_doubt: bool,
    /// When waiting for a token ends, where no deadline says it.
    token_until: Instant,
    trace: Option<String>,
    duty: &'a Duty,
}

/// What one turn came to.
enum Turn {
    Again,
    End(Outcome),
    /// Somebody else's word stands.
    Known(Outcome),
}

/// What a turn that cannot make its attempt says.
enum Barred {
    Refused(Observation),
    /// The bot has no access token for so long.
    Tokenless(Duration),
    Ends(Outcome),
    Known(Outcome),
}

impl<'a> Pursuit<'a> {
    pub(super) fn new(
        egress: &'a Egress,
        command: &'a Command,
        past: Past,
        duty: &'a Duty,
    ) -> Self {
        let replied = command.reply.as_ref().and_then(|reply| reply.expires_at);
        let deadline = match (command.deadline, replied) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            egress,
            command,
            place: command.place(),
            deadline,
            attempts: Attempts::new(command, egress.setup.retry, past),
            on_record: command.resend() != Resend::ShownTwice || past == Past::Attempted,
            in_doubt: past == Past::Attempted,
            token_until: Instant::now() + TOKEN_PATIENCE,
            trace: None,
            duty,
        }
    }

    /// Tries until there is an outcome.
    pub(super) async fn run(mut self) -> Result<Found, Leave> {
        if let Some(refusal) = self.egress.closed.refusal(self.command, self.egress.clock.now()) {
            return Ok(Found::New { outcome: self.doubted(refusal), trace: None });
        }
        loop {
            match self.turn().await? {
                Turn::Again => {}
                Turn::Known(outcome) => return Ok(Found::Known(outcome)),
                Turn::End(outcome) => {
                    return Ok(Found::New { outcome, trace: self.trace });
                }
            }
        }
    }

    async fn turn(&mut self) -> Result<Turn, Leave> {
        let msg_seq = match self.enter().await? {
            Ok(msg_seq) => msg_seq,
            Err(Barred::Known(outcome)) => return Ok(Turn::Known(outcome)),
            Err(Barred::Ends(outcome)) => return Ok(Turn::End(self.doubted(outcome))),
            Err(Barred::Refused(observation)) => return self.follow(&observation).await,
            Err(Barred::Tokenless(wait)) => return self.wait(wait).await,
        };
        let Some(request) = self.command.request(msg_seq) else {
            self.release().await;
            let sentence = format!("scene {} takes no such command", self.command.scene);
            return Ok(Turn::End(self.doubted(refused(sentence))));
        };
        self.duty.assured().await?;
        let call = Call::from(request);
        let answer = self.duty.run(self.egress.pool.call(&self.command.app, &call)).await?;
        let observation = match answer {
            Ok(answer) => {
                self.trace.clone_from(&answer.trace_id);
                let retry_after = answer.retry_after;
                Observation::Answered(Answer {
                    retry_after,
                    ..Answer::read(answer.status, &answer.body)
                })
            }
            Err(error) => {
                self.log(&error);
                if error.may_have_acted() { Observation::Unanswered } else { Observation::NotSent }
            }
        };
        self.follow(&observation).await
    }

    /// Everything that comes before a call; gives the number that its message has.
    async fn enter(&mut self) -> Result<Result<MsgSeq, Barred>, Leave> {
        self.hold().await?;
        if let Some(barred) = self.without_token().await? {
            return Ok(Err(barred));
        }
        let passed = self.egress.limiter.pass(self.command, self.deadline, self.duty).await?;
        let now = self.egress.clock.now();
        match (passed, self.deadline) {
            (Pass::UsedUp { limit, wait }, _) => {
                let sentence = format!(
                    "limit {} is used up; there is room again in {} s",
                    limit.as_str(),
                    wait.as_secs()
                );
                return Ok(Err(Barred::Ends(refused(sentence))));
            }
            (Pass::TooLate, _) => return Ok(Err(Barred::Refused(Observation::Late))),
            (Pass::Open, Some(deadline)) if deadline <= now => {
                return Ok(Err(Barred::Refused(Observation::Late)));
            }
            (Pass::Open, _) => {}
        }
        let mut granted = (self.command.id.msg_seq(), 1);
        if let Some(wanted) = Use::of(self.command, &self.place) {
            let refused = match self.duty.run(self.egress.rights.claim(wanted)).await? {
                Claim::Granted { msg_seq, attempt } => {
                    granted = (msg_seq, attempt);
                    None
                }
                Claim::Exhausted { limit } => Some(Observation::Exhausted { limit }),
                Claim::Late { .. } => Some(Observation::Late),
            };
            if let Some(refused) = refused {
                return Ok(Err(Barred::Refused(refused)));
            }
        }
        if !self.on_record {
            let attempt = Attempt { number: granted.1, msg_seq: None };
            if !self.egress.journal.begin(self.command, attempt, self.duty).await? {
                self.release().await;
                match self.egress.resume(self.command, self.duty).await? {
                    Resumed::Known(outcome) => return Ok(Err(Barred::Known(outcome))),
                    Resumed::Ends(outcome) => return Ok(Err(Barred::Ends(outcome))),
                    // The sender prefers twice to never.
                    Resumed::Tries(_) => {}
                }
            }
            self.on_record = true;
        }
        Ok(Ok(granted.0))
    }

    /// What bars a call whose bot has no access token. Asked first: a command that cannot be sent
    /// should use up no limit.
    async fn without_token(&self) -> Result<Option<Barred>, Leave> {
        let app = &self.command.app;
        let Err(error) = self.duty.run(self.egress.pool.token(app)).await? else {
            return Ok(None);
        };
        self.log(&error);
        Ok(Some(match error {
            // A gateway that has the bot has read a newer configuration: ours will say it soon.
            RestError::UnknownBot(_)
                if self.deadline.is_some() && Instant::now() < self.token_until =>
            {
                Barred::Tokenless(SHORTEST_WAIT)
            }
            RestError::UnknownBot(_) => {
                let sentence = format!("bot {app} is not configured here; add it to [[bots]]");
                Barred::Ends(refused(sentence))
            }
            RestError::NoToken(missing) => {
                let wait = missing.retry_after.max(SHORTEST_WAIT);
                if self.deadline.is_none() && Instant::now() + wait > self.token_until {
                    Barred::Ends(refused(format!("the bot has no access token; {missing}")))
                } else {
                    Barred::Tokenless(wait)
                }
            }
            RestError::NotSent(_) | RestError::Unanswered(_) => Barred::Tokenless(SHORTEST_WAIT),
        }))
    }

    /// Carries out what follows from an observation.
    async fn follow(&mut self, observation: &Observation) -> Result<Turn, Leave> {
        let mut ruling = self.judge(observation);
        if ruling.verdict == Verdict::RenewAndRetry {
            // The pool has renewed the token and asked again, before it gave this answer.
            ruling = self.judge(observation);
        }
        let Ruling { verdict, effect, consequence } = ruling;
        self.in_doubt |= effect == Effect::Unknown;
        let granted = !matches!(observation, Observation::Late | Observation::Exhausted { .. });
        match (effect, &verdict) {
            (Effect::Nothing, Verdict::NextNumber) => {
                if let Some(wanted) = Use::of(self.command, &self.place) {
                    self.egress.rights.number_taken(wanted).await;
                }
            }
            (Effect::Nothing, _) if granted => self.release().await,
            (Effect::Nothing | Effect::Unknown | Effect::Taken, _) => {}
        }
        if let Verdict::End(outcome) = &verdict {
            self.face(consequence, outcome).await;
        }
        match verdict {
            Verdict::End(outcome) => Ok(Turn::End(outcome)),
            Verdict::NextNumber | Verdict::RenewAndRetry => Ok(Turn::Again),
            Verdict::RetryIn(wait) => self.wait(wait).await,
            Verdict::Wait(wait) => {
                self.egress.limiter.cool_down(self.command, wait).await;
                self.wait(wait).await
            }
            Verdict::WaitForSession => self.wait(SHORTEST_WAIT).await,
        }
    }

    fn judge(&mut self, observation: &Observation) -> Ruling {
        let percent = self.egress.setup.budget_percent;
        // A panic elsewhere leaves whole numbers behind.
        let mut budgets = self.egress.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let budget =
            budgets.entry(self.command.app.clone()).or_insert_with(|| RetryBudget::new(percent));
        self.attempts.judge(observation, budget, random::share())
    }

    /// What a refusal means for others than this command.
    async fn face(&self, consequence: Consequence, refusal: &Outcome) {
        let (command, now) = (self.command, self.egress.clock.now());
        match consequence {
            Consequence::None => return,
            Consequence::NoMoreReplies => {
                if let Some(wanted) = Use::of(command, &self.place) {
                    self.egress.rights.exhaust(wanted).await;
                }
                return;
            }
            Consequence::Alert => {}
            Consequence::CloseScope(until) => {
                self.egress.closed.close(command, until, now, refusal);
            }
            Consequence::ParkBot => self.egress.closed.park(&command.app, now, refusal),
        }
        tracing::error!(
            app = %command.app,
            scope = %self.place,
            command = %command.id,
            outcome = ?refusal,
            platform_trace = self.trace,
            ?consequence,
            "the platform refused a send"
        );
    }

    /// Waits for the bot to have a session, for a while: what the platform takes while it has none
    /// may be seen by nobody.
    async fn hold(&self) -> Result<(), Leave> {
        let left = self
            .deadline
            .map(|deadline| deadline.minus(HOLD_RESERVE).since(self.egress.clock.now()));
        let longest = left.map_or(self.egress.setup.hold, |left| left.min(self.egress.setup.hold));
        let connected = || self.egress.presence.connected(&self.command.app);
        if longest.is_zero() || connected().now_or_never().is_some() {
            return Ok(());
        }
        let until = Instant::now() + longest;
        match self.duty.hold(until, timeout(longest, connected())).await? {
            Ok(()) => self.egress.metrics.held(Hold::Connected),
            Err(_) => self.egress.metrics.held(Hold::GivenUp),
        }
        Ok(())
    }

    /// Waits before another turn, unless that would come after the deadline.
    async fn wait(&self, wait: Duration) -> Result<Turn, Leave> {
        let over = self.egress.clock.now().plus(wait);
        if self.deadline.is_some_and(|deadline| over >= deadline) {
            return Ok(Turn::End(self.doubted(Outcome::Expired)));
        }
        self.duty.wait(wait).await?;
        Ok(Turn::Again)
    }

    async fn release(&self) {
        if let Some(wanted) = Use::of(self.command, &self.place) {
            self.egress.rights.release(wanted).await;
        }
    }

    /// An outcome that says nothing was sent, unless an earlier attempt may have been taken.
    fn doubted(&self, outcome: Outcome) -> Outcome {
        if self.in_doubt { Outcome::Ambiguous } else { outcome }
    }

    fn log(&self, error: &RestError) {
        tracing::warn!(
            app = %self.command.app,
            scope = %self.place,
            command = %self.command.id,
            error = error as &dyn Error,
            attempt = self.attempts.made() + 1,
            "send was not answered"
        );
    }
}
