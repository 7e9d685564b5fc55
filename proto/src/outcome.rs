//! What became of a command: attempts while it is tried, and one final word.
//!
//! A command has exactly one final outcome. "Accepted by the platform" is the most that one can
//! say: none of them means that somebody has seen the message.

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandId, MsgSeq, Resend, Version};
use crate::id::{AppId, MessageId, OwnerId, Scene};
use crate::time::UnixMs;

/// The last word on a command, or `pending_audit`, which one more follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The platform took it.
    Sent {
        /// The message it became, where the platform said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<MessageId>,
    },
    /// The platform had taken it already, at an earlier attempt.
    Deduped,
    /// The platform's reviewers look at it first; not final.
    PendingAudit {
        /// What the verdict will be known by; without it the outcome will be `audit_unknown`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audit_id: Option<String>,
    },
    /// Reviewed and shown.
    AuditPass {
        /// The message it became, where the platform said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<MessageId>,
    },
    /// Reviewed and not shown.
    AuditReject,
    /// No verdict came in time.
    AuditUnknown,
    /// Refused; it would be again.
    Rejected {
        /// The platform's code, its HTTP status where it gave none, or 0 where we did not ask it.
        code: u32,
        /// Why, for people.
        sentence: String,
    },
    /// Too late: nothing was sent.
    Expired,
    /// It may have been taken or not, and asking again could show it twice.
    Ambiguous,
}

impl Outcome {
    /// The code of a rejection that is not the platform's: our own checks refused it, or there was
    /// no way to reach the platform.
    pub const OURS: u32 = 0;

    /// Its name in JSON and metric labels.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "sent",
            Self::Deduped => "deduped",
            Self::PendingAudit { .. } => "pending_audit",
            Self::AuditPass { .. } => "audit_pass",
            Self::AuditReject => "audit_reject",
            Self::AuditUnknown => "audit_unknown",
            Self::Rejected { .. } => "rejected",
            Self::Expired => "expired",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// Whether nothing follows it.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::PendingAudit { .. })
    }

    const fn is_verdict(&self) -> bool {
        matches!(self, Self::AuditPass { .. } | Self::AuditReject | Self::AuditUnknown)
    }
}

/// One record about a command, on `qq.v1.res.<app>.<scene>.<scope>.<command id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResultRecord {
    /// Version of this form.
    pub v: Version,
    /// The command.
    pub id: CommandId,
    /// The bot.
    pub app: AppId,
    /// What kind of place it is for.
    pub scene: Scene,
    /// The place.
    #[schemars(with = "String")]
    pub scope: Arc<str>,
    /// When this was known.
    pub at: UnixMs,
    /// The process that knows it.
    pub by: OwnerId,
    /// What is known.
    #[serde(flatten)]
    pub news: News,
    /// The platform's own trace id, for a support ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_trace: Option<String>,
    /// The trace the command belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// The platform is about to be asked.
    Attempt(Attempt),
    /// This became of it.
    Outcome(Outcome),
}

/// One try at a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u8,
    /// The message number it uses, where the scene has such numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg_seq: Option<MsgSeq>,
}

impl ResultRecord {
    /// The JSON Schema of what is published, as `proto/schema/result.v1.json` has it.
    #[must_use]
    pub fn schema() -> Schema {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        settings.into_generator().into_root_schema_for::<Self>()
    }

    /// A record about a command.
    #[must_use]
    pub fn new(command: &Command, at: UnixMs, by: OwnerId, news: News) -> Self {
        Self {
            v: Version,
            id: command.id.clone(),
            app: command.app.clone(),
            scene: command.scene,
            scope: Arc::clone(&command.scope),
            at,
            by,
            news,
            platform_trace: None,
            traceparent: command.traceparent.clone(),
        }
    }
}

/// How far a command has come, as its records tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is known of it.
    #[default]
    Untried,
    /// It was tried, and what came of it is not known.
    Attempted(Attempt),
    /// The platform's reviewers have it.
    AwaitsAudit {
        /// What the verdict will be known by.
        audit_id: Option<String>,
    },
    /// There is a final word on it.
    Ended(Outcome),
}

/// News that cannot follow what is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgressError {
    /// A second final word, or another attempt after the first one.
    #[error("command has ended as {} already", .0.label())]
    Ended(Outcome),
    /// A reviewers' verdict on what no reviewer has, or something else on what one has.
    #[error("{} cannot follow what is known of the command", .0.label())]
    OutOfTurn(Outcome),
}

/// What to do with a command that was found with a past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumption {
    /// Try it, for the first time or again.
    Try,
    /// Wait for the reviewers.
    AwaitAudit,
    /// Record this as its outcome: it may have been taken.
    End(Outcome),
    /// Nothing: this is its outcome.
    Done(Outcome),
}

impl Progress {
    /// Takes in what became known.
    ///
    /// # Errors
    ///
    /// The news contradicts what is known; nothing changed. It must not be published.
    pub fn note(&mut self, news: News) -> Result<(), ProgressError> {
        *self = match (&*self, news) {
            (Self::Ended(outcome), _) => return Err(ProgressError::Ended(outcome.clone())),
            (Self::AwaitsAudit { .. }, News::Outcome(verdict)) if verdict.is_verdict() => {
                Self::Ended(verdict)
            }
            (Self::AwaitsAudit { audit_id }, News::Attempt(_)) => {
                let pending = Outcome::PendingAudit { audit_id: audit_id.clone() };
                return Err(ProgressError::OutOfTurn(pending));
            }
            (Self::AwaitsAudit { .. }, News::Outcome(outcome)) => {
                return Err(ProgressError::OutOfTurn(outcome));
            }
            (Self::Untried | Self::Attempted(_), News::Attempt(attempt)) => {
                Self::Attempted(attempt)
            }
            (Self::Untried | Self::Attempted(_), News::Outcome(outcome)) => match outcome {
                Outcome::PendingAudit { audit_id } => Self::AwaitsAudit { audit_id },
                verdict if verdict.is_verdict() => {
                    return Err(ProgressError::OutOfTurn(verdict));
                }
                last => Self::Ended(last),
            },
        };
        Ok(())
    }

    /// What to do after a crash or a takeover, when only the records are left.
    ///
    /// An attempt without an outcome may have reached the platform. It is made again only where the
    /// platform notices, or where the sender prefers twice to never.
    #[must_use]
    pub fn resume(&self, command: &Command) -> Resumption {
        match (self, command.resend()) {
            (Self::Ended(outcome), _) => Resumption::Done(outcome.clone()),
            (Self::AwaitsAudit { .. }, _) => Resumption::AwaitAudit,
            (Self::Attempted(_), Resend::ShownTwice) if !command.at_least_once => {
                Resumption::End(Outcome::Ambiguous)
            }
            (Self::Untried | Self::Attempted(_), _) => Resumption::Try,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Content, ReplyTo};
    use crate::id::Scope;
    use proptest::prelude::*;
    use serde_json::json;

    fn command(scene: Scene) -> Command {
        let place = Scope::new(scene, "A1");
        Command::send("c/0".into(), "102".into(), place, Content::Text("pong".into()))
    }

    fn attempt(number: u8) -> Attempt {
        Attempt { number, msg_seq: None }
    }

    #[test]
    fn records_read_as_consumers_see_them() {
        let check = |news, expected: serde_json::Value| {
            let record = ResultRecord::new(&command(Scene::Group), UnixMs(0), "w1".into(), news);
            let mut json = json!({"v":1,"id":"c/0","app":"102","scene":"group","scope":"A1",
                "at":"1970-01-01T00:00:00.000Z","by":"w1"});
            let members = json.as_object_mut().expect("an object");
            members.extend(expected.as_object().expect("an object").clone());
            assert_eq!(serde_json::to_value(&record).unwrap(), json);
            assert_eq!(serde_json::from_value::<ResultRecord>(json).unwrap(), record);
        };
        check(
            News::Attempt(Attempt { number: 1, msg_seq: Some(CommandId::from("a").msg_seq()) }),
            json!({"attempt":{"number":1,"msg_seq":3386}}),
        );
        let sent = Outcome::Sent { message_id: Some("m9".into()) };
        check(News::Outcome(sent), json!({"outcome":{"kind":"sent","message_id":"m9"}}));
        let rejected = Outcome::Rejected { code: 304_023, sentence: "no".into() };
        check(
            News::Outcome(rejected),
            json!({"outcome":{"kind":"rejected","code":304_023,"sentence":"no"}}),
        );
        check(News::Outcome(Outcome::Ambiguous), json!({"outcome":{"kind":"ambiguous"}}));
    }

    #[test]
    fn a_label_is_the_name_in_json() {
        for outcome in outcomes() {
            assert_eq!(serde_json::to_value(&outcome).unwrap()["kind"], outcome.label());
        }
    }

    #[test]
    fn an_attempt_without_an_outcome_is_repeated_only_where_the_platform_notices() {
        let tried = Progress::Attempted(attempt(1));
        let mut reply = command(Scene::Group);
        assert_eq!(tried.resume(&reply), Resumption::End(Outcome::Ambiguous));
        reply.reply = Some(ReplyTo::MsgId("m1".into()).into());
        assert_eq!(tried.resume(&reply), Resumption::Try);
        let mut push = command(Scene::Channel);
        assert_eq!(tried.resume(&push), Resumption::End(Outcome::Ambiguous));
        push.at_least_once = true;
        assert_eq!(tried.resume(&push), Resumption::Try);
        assert_eq!(Progress::Untried.resume(&push), Resumption::Try);
    }

    #[test]
    fn only_what_reviewers_have_gets_their_verdict() {
        let mut progress = Progress::Attempted(attempt(1));
        let verdict = || News::Outcome(Outcome::AuditPass { message_id: None });
        assert!(progress.note(verdict()).is_err());
        let pending = Outcome::PendingAudit { audit_id: Some("a".into()) };
        progress.note(News::Outcome(pending)).unwrap();
        assert_eq!(progress.resume(&command(Scene::Channel)), Resumption::AwaitAudit);
        assert!(progress.note(News::Attempt(attempt(2))).is_err());
        assert!(progress.note(News::Outcome(Outcome::Expired)).is_err());
        progress.note(verdict()).unwrap();
        assert!(progress.note(verdict()).is_err());
    }

    fn outcomes() -> [Outcome; 9] {
        [
            Outcome::Sent { message_id: None },
            Outcome::Deduped,
            Outcome::PendingAudit { audit_id: None },
            Outcome::AuditPass { message_id: None },
            Outcome::AuditReject,
            Outcome::AuditUnknown,
            Outcome::Rejected { code: 1, sentence: String::new() },
            Outcome::Expired,
            Outcome::Ambiguous,
        ]
    }

    fn any_news() -> impl Strategy<Value = News> {
        prop_oneof![
            (1..4_u8).prop_map(|number| News::Attempt(attempt(number))),
            prop::sample::select(outcomes().to_vec()).prop_map(News::Outcome),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_there_is_one_final_outcome_at_most(
            news in prop::collection::vec(any_news(), 0..40),
        ) {
            let (mut progress, mut finals) = (Progress::default(), 0);
            for news in news {
                let last = matches!(&news, News::Outcome(outcome) if outcome.is_final());
                let before = progress.clone();
                if progress.note(news).is_ok() {
                    finals += u32::from(last);
                } else {
                    prop_assert_eq!(&progress, &before);
                }
            }
            prop_assert_eq!(finals, u32::from(matches!(progress, Progress::Ended(_))));
        }
    }
}
