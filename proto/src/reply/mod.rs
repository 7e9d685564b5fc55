//! What an attempt's answer means for the command: again, later, otherwise, or never.
//!
//! One place decides, by what is certain: nothing was sent, the platform said something, or nobody
//! knows. What may have been taken is sent again only where the platform notices or the sender
//! wishes it, and once an attempt's fate is unknown, no later refusal can make the command
//! `rejected`: it is `ambiguous`.

mod answer;

use std::time::Duration;

pub use self::answer::Answer;
use crate::backoff::{Doubling, RetryBudget};
use crate::bucket::COOL_DOWN_MAX;
use crate::code::{self, Action};
use crate::command::{Command, Resend};
use crate::outcome::Outcome;

/// What was seen of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// None was made: the ledger, or the command's own deadline, says that it is too late.
    Late,
    /// None was made: the ledger has no reply left.
    Exhausted {
        /// As many as the platform takes.
        limit: u8,
    },
    /// The request certainly never reached the platform: no connection, or refused before it was
    /// read.
    NotSent,
    /// The request left, and no answer came, or only a part of one.
    Unanswered,
    /// The platform answered.
    Answered(Answer),
}

/// What becomes of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This is its outcome; only the platform's reviewers can add to it.
    End(Outcome),
    /// The same command with the same number, no sooner than this; its scope waits behind it.
    RetryIn(Duration),
    /// The same, and the bucket of its place is closed as long: the platform has enough.
    Wait(Duration),
    /// The same, once the bot has a session.
    WaitForSession,
    /// The same, with another access token.
    RenewAndRetry,
    /// The same at once, with the next free number.
    NextNumber,
}

/// What the attempt did on the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing, for certain: what was claimed for the attempt is given back.
    Nothing,
    /// Nobody knows.
    Unknown,
    /// It was taken, now or by an earlier attempt.
    Taken,
}

/// What else follows, beyond the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing.
    None,
    /// Somebody should look: a permission is missing, we sent what nobody should, or the answer is
    /// one that nobody has met.
    Alert,
    /// The message or event takes no more replies, whatever the ledger counted.
    NoMoreReplies,
    /// No more sends to this place until then.
    CloseScope(Until),
    /// No more sends of this bot: a person must mend something. Probe slowly.
    ParkBot,
}

/// When a place that was closed is open again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When an event comes from it.
    Event,
    /// When the bot is allowed to speak again; ask rarely.
    Unmuted,
    /// The platform's next midnight: [`crate::time::UnixMs::next_platform_midnight`].
    Midnight,
    /// For [`PUSH_WINDOW`].
    Window,
}

/// The shortest window in which the platform counts pushes to one place.
///
/// Source: PLATFORM.md, "rates".
pub const PUSH_WINDOW: Duration = Duration::from_secs(60);

/// All that follows from one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// What becomes of the command.
    pub verdict: Verdict,
    /// What the attempt did.
    pub effect: Effect,
    /// What else follows.
    pub consequence: Consequence,
}

/// How often and how soon a command is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, whatever they failed of.
    pub attempts: u8,
    /// Waits between them.
    pub wait: Doubling,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 3, wait: Doubling::REST }
    }
}

/// The attempts of one command so far, in the worker that makes them.
#[derive(Debug, Clone)]
pub struct Attempts {
    policy: RetryPolicy,
    resend: Resend,
    repeatable: bool,
    is_reply: bool,
    made: u8,
    /// An attempt was made whose fate nobody knows.
    unknown: bool,
    /// An attempt may have been made by somebody who did not live to tell.
    forgotten: bool,
    renewed: bool,
    retried_once: bool,
    /// Attempts that found the bot without a session.
    session_waits: u8,
    /// Attempts at a reply that were refused for the rate.
    rate_waits: u8,
}

/// What is known of attempts before these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// There were none.
    None,
    /// There may have been one that was forgotten: the command, or its event, was there before its
    /// lane was taken, or was delivered more than once.
    Forgotten,
    /// One is on record, and its outcome is not.
    Attempted,
}

/// The platform's code for a right that is used up by count or by time.
const REPLIES_USED_UP: u32 = 40_034_128;

/// Times that a send may find its bot without a session. At a wait of a second each, this is how
/// long sends are held for one.
///
/// Source: PLATFORM.md, "error codes".
const SESSION_WAITS_MAX: u8 = 30;

/// Times that a reply may be refused for its rate. Its window ends before: at the longest cool-down
/// these last for more than the hour of a single chat.
const RATE_WAITS_MAX: u8 = 64;

/// Wait before what the platform calls worth one repetition.
const ONCE: Duration = Duration::from_secs(1);

impl Attempts {
    /// No attempt has been made here yet.
    #[must_use]
    pub const fn new(command: &Command, policy: RetryPolicy, past: Past) -> Self {
        let resend = command.resend();
        Self {
            policy,
            resend,
            repeatable: command.at_least_once || !matches!(resend, Resend::ShownTwice),
            is_reply: command.reply.is_some(),
            made: 0,
            unknown: matches!(past, Past::Attempted),
            forgotten: matches!(past, Past::Forgotten),
            renewed: false,
            retried_once: false,
            session_waits: 0,
            rate_waits: 0,
        }
    }

    /// Attempts made here.
    #[must_use]
    pub const fn made(&self) -> u8 {
        self.made
    }

    /// The one place that decides what follows from an attempt. `budget` is the bot's; `jitter` is
    /// a share in `0.0..1.0`.
    pub fn judge(
        &mut self,
        observation: &Observation,
        budget: &mut RetryBudget,
        jitter: f64,
    ) -> Ruling {
        match observation {
            Observation::Late => self.not_made(Outcome::Expired),
            Observation::Exhausted { limit } => {
                self.not_made(ours(&format!("no more than {limit} replies are taken")))
            }
            Observation::NotSent => {
                self.count(budget);
                let wait = self.policy.wait.delay(self.made.into(), jitter);
                let out = "the platform could not be reached";
                let verdict = self.again(budget, Verdict::RetryIn(wait), || ours(out));
                Ruling { verdict, effect: Effect::Nothing, consequence: Consequence::None }
            }
            Observation::Unanswered => {
                self.count(budget);
                self.unanswered(budget, jitter)
            }
            Observation::Answered(answer) => {
                self.count(budget);
                self.answered(answer, budget, jitter)
            }
        }
    }

    fn count(&mut self, budget: &mut RetryBudget) {
        if self.made == 0 {
            budget.earn();
        }
        self.made = self.made.saturating_add(1);
    }

    /// Another attempt, if one is left; else the end.
    fn again(
        &self,
        budget: &mut RetryBudget,
        verdict: Verdict,
        refusal: impl FnOnce() -> Outcome,
    ) -> Verdict {
        let counted = self.made.saturating_sub(self.session_waits).saturating_sub(self.rate_waits);
        if counted < self.policy.attempts && budget.spend() { verdict } else { self.end(refusal()) }
    }

    /// A refusal says what became of this attempt only.
    fn end(&self, refusal: Outcome) -> Verdict {
        Verdict::End(if self.unknown { Outcome::Ambiguous } else { refusal })
    }

    fn not_made(&self, refusal: Outcome) -> Ruling {
        let verdict = self.end(refusal);
        Ruling { verdict, effect: Effect::Nothing, consequence: Consequence::None }
    }

    fn unanswered(&mut self, budget: &mut RetryBudget, jitter: f64) -> Ruling {
        self.unknown = true;
        let verdict = if self.repeatable {
            let wait = self.policy.wait.delay(self.made.into(), jitter);
            self.again(budget, Verdict::RetryIn(wait), || Outcome::Ambiguous)
        } else {
            Verdict::End(Outcome::Ambiguous)
        };
        Ruling { verdict, effect: Effect::Unknown, consequence: Consequence::None }
    }

    fn answered(&mut self, answer: &Answer, budget: &mut RetryBudget, jitter: f64) -> Ruling {
        let action = code::action(answer.status, answer.codes());
        if answer.is_taken(action) {
            let outcome = match action {
                Action::Pending => Outcome::PendingAudit { audit_id: answer.audit_id.clone() },
                _ if answer.awaits_audit() => {
                    Outcome::PendingAudit { audit_id: answer.audit_id.clone() }
                }
                _ => Outcome::Sent { message_id: answer.message_id.clone() },
            };
            return taken(outcome);
        }
        if self.may_have_taken(answer, action) {
            return self.unanswered(budget, jitter);
        }
        let refusal = || answer.rejection();
        let wait = self.policy.wait.delay(self.made.into(), jitter);
        let (verdict, consequence) = match action {
            Action::NumberTaken if self.unknown || self.forgotten => {
                return taken(Outcome::Deduped);
            }
            Action::NumberTaken if self.resend == Resend::Deduplicated => {
                (self.again(budget, Verdict::NextNumber, refusal), Consequence::None)
            }
            Action::Renew | Action::RenewThenStop if !self.renewed => {
                (self.renew(budget, refusal), Consequence::None)
            }
            Action::RetryOnceThenRenew if self.retried_once && !self.renewed => {
                (self.renew(budget, refusal), Consequence::None)
            }
            Action::RetryOnce | Action::RetryOnceThenRenew if !self.retried_once => {
                self.retried_once = true;
                (self.again(budget, Verdict::RetryIn(ONCE), refusal), Consequence::None)
            }
            Action::Retry => {
                (self.again(budget, Verdict::RetryIn(wait), refusal), Consequence::None)
            }
            Action::Wait => (self.wait(answer, budget, jitter), Consequence::None),
            Action::WaitIfReply if self.is_reply => {
                (self.wait(answer, budget, jitter), Consequence::None)
            }
            Action::WaitForSession => (self.wait_for_session(refusal), Consequence::None),
            refused => (self.end(refusal()), consequence(refused, answer)),
        };
        Ruling { verdict, effect: Effect::Nothing, consequence }
    }

    /// Whether an error may hide a message that was taken. A code says what went wrong, so that
    /// only a gateway's time-out, a 5xx without a code that we know, and one that asks for a repetition
    /// where it would show, are in doubt.
    fn may_have_taken(&self, answer: &Answer, action: Action) -> bool {
        let repeats =
            matches!(action, Action::Retry | Action::RetryOnce | Action::RetryOnceThenRenew);
        match answer.status {
            504 => true,
            500..=599 => answer.known_code().is_none() || (repeats && !self.repeatable),
            _ => false,
        }
    }

    /// The platform did nothing but look whether the bot is there: no attempt and no retry is used
    /// up by that. A busy bot has many such sends each time its sockets change.
    fn wait_for_session(&mut self, refusal: impl FnOnce() -> Outcome) -> Verdict {
        if self.session_waits == SESSION_WAITS_MAX {
            return self.end(refusal());
        }
        self.session_waits += 1;
        Verdict::WaitForSession
    }

    fn renew(&mut self, budget: &mut RetryBudget, refusal: impl FnOnce() -> Outcome) -> Verdict {
        self.renewed = true;
        self.again(budget, Verdict::RenewAndRetry, refusal)
    }

    /// A reply has a window, and waits as long as that lasts: refused for its rate it has changed
    /// nothing, and one busy place must not use up what others may retry.
    ///
    /// Source: PLATFORM.md, "error codes".
    fn wait(&mut self, answer: &Answer, budget: &mut RetryBudget, jitter: f64) -> Verdict {
        let wait = answer
            .retry_after
            .unwrap_or_else(|| Doubling::COOL_DOWN.delay(self.made.into(), jitter));
        let verdict = Verdict::Wait(wait.min(COOL_DOWN_MAX));
        let refusal = || answer.rejection();
        if !self.is_reply {
            return self.again(budget, verdict, refusal);
        }
        if self.rate_waits == RATE_WAITS_MAX {
            return self.end(refusal());
        }
        self.rate_waits += 1;
        verdict
    }
}

fn taken(outcome: Outcome) -> Ruling {
    let verdict = Verdict::End(outcome);
    Ruling { verdict, effect: Effect::Taken, consequence: Consequence::None }
}

fn ours(sentence: &str) -> Outcome {
    Outcome::Rejected { code: Outcome::OURS, sentence: sentence.to_owned() }
}

/// What a final refusal means beyond the command.
fn consequence(action: Action, answer: &Answer) -> Consequence {
    match action {
        Action::CloseScope => Consequence::CloseScope(Until::Event),
        Action::CloseScopeUntilUnmuted => Consequence::CloseScope(Until::Unmuted),
        Action::CloseScopeUntilMidnight => Consequence::CloseScope(Until::Midnight),
        Action::WaitIfReply => Consequence::CloseScope(Until::Window),
        Action::Stop | Action::RenewThenStop => Consequence::ParkBot,
        Action::Permission
        | Action::PermissionInGuild
        | Action::Bug
        | Action::Unknown
        | Action::NumberTaken
        | Action::Renew
        | Action::RetryOnceThenRenew => Consequence::Alert,
        Action::Drop if answer.known_code() == Some(REPLIES_USED_UP) => Consequence::NoMoreReplies,
        Action::Drop
        | Action::DropUntilMidnight
        | Action::Done
        | Action::Pending
        | Action::RetryOnce
        | Action::Retry
        | Action::Wait
        | Action::WaitForSession => Consequence::None,
    }
}

#[cfg(test)]
mod tests;
