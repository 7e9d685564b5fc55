//! The log's side of a run, read back from subjects, headers and payloads.

use std::collections::BTreeMap;

use qqrelay_proto::id::{Seq, SessionId};
use qqrelay_proto::record::{Duplicate, Gap, Ownership, SessionRecord, Stored};
use qqrelay_proto::subject::{LogSubject, Partition};

use super::report::{Report, Rule};

/// The whole log.
#[derive(Debug, Default)]
pub(super) struct Log<'a> {
    /// Each source's records in order, by `<app>.<source>`.
    pub(super) sources: BTreeMap<String, Vec<Entry<'a>>>,
    /// Each partition's records in order.
    pub(super) partitions: BTreeMap<Partition, Vec<Entry<'a>>>,
}

/// A record of the log.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) partition: Partition,
    pub(super) stored: &'a Stored,
    pub(super) what: What<'a>,
}

/// What a record says.
#[derive(Debug, Clone)]
pub(super) enum What<'a> {
    Owner(Ownership),
    Event { id: &'a str },
    Duplicate(Duplicate),
    Session(SessionRecord),
    Gap(Gap),
}

impl<'a> Log<'a> {
    /// Sorts the log; a record that is not one of ours is a violation.
    pub(super) fn of(log: &'a [(Partition, Stored)], report: &mut Report) -> Self {
        let mut sorted = Self::default();
        for (partition, stored) in log {
            match read(*partition, stored) {
                Ok((source, entry)) => {
                    if let Some(source) = source {
                        sorted.sources.entry(source).or_default().push(entry.clone());
                    }
                    sorted.partitions.entry(*partition).or_default().push(entry);
                }
                Err(why) => {
                    let (number, subject) = (stored.number, &stored.record.subject);
                    let found = format!("{partition}/{number} {subject} is no record: {why}");
                    report.violated(Rule::Complete, found);
                }
            }
        }
        sorted
    }
}

fn read(
    partition: Partition,
    stored: &Stored,
) -> Result<(Option<String>, Entry<'_>), Box<dyn std::error::Error>> {
    let payload = &stored.record.payload;
    let subject: LogSubject = stored.record.subject.parse()?;
    let what = match &subject {
        LogSubject::Ownership(_) => What::Owner(serde_json::from_slice(payload)?),
        LogSubject::Event { .. } => {
            let headers = stored.record.headers.event.as_ref();
            What::Event { id: &headers.ok_or("an event without its headers")?.id }
        }
        LogSubject::Duplicate(_) => What::Duplicate(serde_json::from_slice(payload)?),
        LogSubject::Session(_) => What::Session(serde_json::from_slice(payload)?),
        LogSubject::Gap(_) => What::Gap(serde_json::from_slice(payload)?),
    };
    let source = subject.source().map(|source| format!("{}.{}", source.app, source.source));
    Ok((source, Entry { partition, stored, what }))
}

impl<'a> Entry<'a> {
    /// Where it stands and what it says, for a report.
    pub(super) fn place(&self) -> String {
        let Self { partition, stored, .. } = self;
        let tail = stored.record.subject.splitn(5, '.').last().unwrap_or_default();
        let headers = &stored.record.headers;
        let session = headers.session.as_ref().map_or("-", SessionId::as_str);
        let seq = headers.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
        format!("{partition}/{} {tail} (session {session}, {seq})", stored.number)
    }

    /// The frame that it stands for: `kept`, `ended`, gaps and ownership stand for none.
    pub(super) fn frame(&self) -> Option<(&'a SessionId, Seq)> {
        let is_frame = match &self.what {
            What::Event { .. } | What::Duplicate(_) => true,
            What::Session(said) => matches!(
                said,
                SessionRecord::Ready { .. }
                    | SessionRecord::Resumed
                    | SessionRecord::Dropped { .. }
            ),
            What::Gap(_) | What::Owner(_) => false,
        };
        let headers = &self.stored.record.headers;
        is_frame.then_some(headers.session.as_ref().zip(headers.seq)).flatten()
    }
}
