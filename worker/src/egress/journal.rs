//! What is known of commands, on the bus: attempts before they are made, outcomes after.
//!
//! The rule a newcomer would break: an attempt whose call the platform cannot recognise twice is
//! written down first, as the first word on its command. Whoever finds it without an outcome knows
//! that the message may be there.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use qqrelay_proto::command::{Command, CommandId, Version};
use qqrelay_proto::id::OwnerId;
use qqrelay_proto::outcome::{Attempt, News, Outcome, Progress, ResultRecord};
use qqrelay_proto::subject::ScopeSubject;
use qqrelay_runtime::bus::{Appended, Bus, Only};
use qqrelay_runtime::store::Clock;

use crate::duty::{Duty, Leave};
use crate::work::persist;

/// The records about commands.
#[derive(Clone)]
pub(super) struct Journal {
    bus: Arc<dyn Bus>,
    owner: OwnerId,
    clock: Clock,
}

/// A record and where it goes.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    subject: String,
    record: ResultRecord,
}

impl Journal {
    pub(super) const fn new(bus: Arc<dyn Bus>, owner: OwnerId, clock: Clock) -> Self {
        Self { bus, owner, clock }
    }

    /// How far a command has come, as its records tell.
    pub(super) async fn progress(&self, command: &Command, duty: &Duty) -> Result<Progress, Leave> {
        let subject = subject(command);
        let records = persist(duty, "results", || self.bus.results(&subject)).await?;
        Ok(records.iter().fold(Progress::default(), |mut progress, record| {
            let noted = serde_json::from_slice(record).map_err(|error| error.to_string()).and_then(
                |ResultRecord { news, .. }| progress.note(news).map_err(|error| error.to_string()),
            );
            if let Err(error) = noted {
                tracing::error!(subject, error, "record of a command passed over");
            }
            progress
        }))
    }

    /// Writes down that a call is about to be made; `false` where somebody else's word on the
    /// command stands already.
    pub(super) async fn begin(
        &self,
        command: &Command,
        attempt: Attempt,
        duty: &Duty,
    ) -> Result<bool, Leave> {
        let entry = self.entry(command, News::Attempt(attempt));
        let payload = entry.payload();
        let append = || self.bus.result(&entry.subject, payload.clone(), Only::First);
        match persist(duty, "attempt", append).await? {
            Appended::Stored => Ok(true),
            Appended::Taken => {
                // Unless it is this very record, whose acknowledgement was lost.
                let records = persist(duty, "results", || self.bus.results(&entry.subject)).await?;
                Ok(records == [payload.clone()])
            }
        }
    }

    /// Writes down what became of a command.
    pub(super) async fn end(
        &self,
        command: &Command,
        outcome: Outcome,
        platform_trace: Option<String>,
        duty: &Duty,
    ) -> Result<(), Leave> {
        let mut entry = self.entry(command, News::Outcome(outcome));
        entry.record.platform_trace = platform_trace;
        self.append(&entry, duty).await
    }

    /// Writes down what became of a command of which little more than the id is known; `false`
    /// where there is a word on it already.
    pub(super) async fn end_unread(
        &self,
        place: &ScopeSubject,
        id: &CommandId,
        outcome: Outcome,
        duty: &Duty,
    ) -> Result<bool, Leave> {
        let text = |token: &qqrelay_proto::subject::Token| {
            token.unescape().unwrap_or_else(|| token.as_str().to_owned())
        };
        let record = ResultRecord {
            v: Version,
            id: id.clone(),
            app: text(&place.app).into(),
            scene: place.scene,
            scope: text(&place.scope).into(),
            at: self.clock.now(),
            by: self.owner.clone(),
            news: News::Outcome(outcome),
            platform_trace: None,
            traceparent: None,
        };
        let entry = Entry { subject: place.result(id.as_str()), record };
        let payload = entry.payload();
        let append = || self.bus.result(&entry.subject, payload.clone(), Only::First);
        Ok(persist(duty, "outcome", append).await? == Appended::Stored)
    }

    /// The reviewers' word on a command, when it will have come.
    pub(super) fn verdict(&self, command: &Command) -> Entry {
        self.entry(command, News::Outcome(Outcome::AuditUnknown))
    }

    /// Writes down the reviewers' word.
    pub(super) async fn end_audit(
        &self,
        entry: &Entry,
        verdict: Outcome,
        duty: &Duty,
    ) -> Result<(), Leave> {
        let mut entry = entry.clone();
        entry.record.at = self.clock.now();
        entry.record.news = News::Outcome(verdict);
        self.append(&entry, duty).await
    }

    /// The same outside of any lane, once; whether it was written.
    pub(super) async fn try_end_audit(&self, entry: &Entry, verdict: Outcome) -> bool {
        let mut entry = entry.clone();
        entry.record.at = self.clock.now();
        entry.record.news = News::Outcome(verdict);
        let written = self.bus.result(&entry.subject, entry.payload(), Only::Always).await;
        if let Err(error) = &written {
            let error = error as &dyn Error;
            tracing::warn!(command = %entry.record.id, error, "outcome of an audit not written");
        }
        written.is_ok()
    }

    async fn append(&self, entry: &Entry, duty: &Duty) -> Result<(), Leave> {
        let payload = entry.payload();
        let append = || self.bus.result(&entry.subject, payload.clone(), Only::Always);
        persist(duty, "outcome", append).await.map(|_| ())
    }

    fn entry(&self, command: &Command, news: News) -> Entry {
        let (at, by) = (self.clock.now(), self.owner.clone());
        Entry { subject: subject(command), record: ResultRecord::new(command, at, by, news) }
    }
}

impl Entry {
    fn payload(&self) -> Bytes {
        serde_json::to_vec(&self.record).expect("texts and numbers are JSON").into()
    }
}

fn subject(command: &Command) -> String {
    ScopeSubject::new(&command.app, &command.place()).result(command.id.as_str())
}
