//! A partition as nats-server keeps it, as far as a writer can tell: conditional publishes, batches
//! that are taken whole, and reads of what lies there.

use std::collections::BTreeMap;

use qqrelay_proto::chain::Refused;
use qqrelay_proto::record::{Record, Stored};

/// One stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    records: Vec<Stored>,
    /// The newest record of each source's or of the ownership subject, by its place.
    newest: BTreeMap<String, usize>,
    /// Records by their message id, where somebody gives them one.
    ids: BTreeMap<String, u64>,
}

impl Stream {
    /// Takes a record that fits only as `number`.
    ///
    /// # Errors
    ///
    /// The number does not fit.
    pub(crate) fn publish(
        &mut self,
        number: u64,
        record: Record,
        at_ms: u64,
    ) -> Result<u64, Refused> {
        if number != self.last() + 1 {
            return Err(Refused::Mismatch);
        }
        Ok(self.append(record, at_ms))
    }

    /// Takes a record under a message id: one that was there is answered as stored, whatever number
    /// is expected, as a single server does.
    ///
    /// # Errors
    ///
    /// The number does not fit.
    pub(crate) fn publish_once(
        &mut self,
        id: String,
        number: u64,
        record: Record,
        at_ms: u64,
    ) -> Result<u64, Refused> {
        if self.ids.contains_key(&id) {
            return Ok(number);
        }
        let stored = self.publish(number, record, at_ms)?;
        self.ids.insert(id, stored);
        Ok(stored)
    }

    /// Takes all of these, behind whatever is there; gives the last one's number.
    pub(crate) fn mark(&mut self, records: Vec<Record>, at_ms: u64) -> u64 {
        for record in records {
            self.append(record, at_ms);
        }
        self.last()
    }

    /// The number of the newest record.
    #[must_use]
    pub(crate) fn last(&self) -> u64 {
        self.records.len() as u64
    }

    /// The newest record of a source, or of the ownership subject.
    #[must_use]
    pub(crate) fn newest(&self, of: &str) -> Option<&Stored> {
        self.newest.get(of).map(|place| &self.records[*place])
    }

    /// Records with these numbers, both included.
    #[must_use]
    pub(crate) fn range(&self, from: u64, to: u64) -> &[Stored] {
        let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let to = place(to).min(self.records.len());
        self.records.get(place(from).saturating_sub(1)..to).unwrap_or_default()
    }

    /// Everything.
    #[must_use]
    pub(crate) fn all(&self) -> &[Stored] {
        &self.records
    }

    fn append(&mut self, record: Record, at_ms: u64) -> u64 {
        self.newest.insert(source(&record.subject).to_owned(), self.records.len());
        let number = self.last() + 1;
        self.records.push(Stored { number, at_ms, record });
        number
    }
}

/// The part of a subject that its newest record is looked for by: `qq.v1.ev.00.102.2-0`, or
/// `qq.v1.ev.00.own`.
#[must_use]
pub(crate) fn source(subject: &str) -> &str {
    let end = subject.match_indices('.').nth(5).map_or(subject.len(), |(end, _)| end);
    &subject[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use qqrelay_proto::record::Headers;

    fn record(subject: &str) -> Record {
        Record { subject: subject.to_owned(), headers: Headers::default(), payload: "{}".into() }
    }

    #[test]
    fn a_number_fits_once() {
        let mut stream = Stream::default();
        assert_eq!(stream.publish(2, record("a"), 0), Err(Refused::Mismatch));
        assert_eq!(stream.publish(1, record("a"), 0), Ok(1));
        assert_eq!(stream.publish(1, record("a"), 0), Err(Refused::Mismatch));
        assert_eq!(stream.mark(vec![record("b"), record("b")], 0), 3);
        assert_eq!(stream.publish(4, record("c"), 0), Ok(4));
        let numbers: Vec<_> = stream.range(2, 9).iter().map(|stored| stored.number).collect();
        assert_eq!(numbers, [2, 3, 4]);
    }

    #[test]
    fn the_newest_of_a_source_is_found_whatever_it_says() {
        let mut stream = Stream::default();
        stream.mark(vec![record("qq.v1.ev.00.102.2-0.ses"), record("qq.v1.ev.00.102.2-1.gap")], 0);
        stream.mark(vec![record("qq.v1.ev.00.102.2-0.e.3.group.g.message_create")], 0);
        let newest = |of| stream.newest(of).map(|stored| stored.number);
        assert_eq!(newest("qq.v1.ev.00.102.2-0"), Some(3));
        assert_eq!(newest("qq.v1.ev.00.102.2-1"), Some(2));
        assert_eq!(newest("qq.v1.ev.00.own"), None);
    }
}
