//! The newest records of a partition, kept in memory for those who follow it closely.
//!
//! Lanes and readers that keep up never touch the file. What they want of older records they read
//! there.

use std::collections::VecDeque;
use std::sync::Arc;

use qqrelay_proto::record::Stored;

use super::record::Filing;

/// Most records kept, whatever their size.
const ENTRIES_MAX: usize = 4096;

/// A committed record.
#[derive(Debug)]
pub(super) struct Entry {
    /// Which partition, by its index.
    pub(super) partition: usize,
    pub(super) filing: Filing,
    pub(super) stored: Stored,
}

impl Entry {
    /// The part of the subject that names whose chain it is.
    pub(super) fn chain(&self) -> &str {
        &self.stored.record.subject[..usize::from(self.filing.chain)]
    }
}

/// What a look into memory found.
pub(super) struct Found {
    pub(super) entries: Vec<Arc<Entry>>,
    /// Where to look next.
    pub(super) next: u64,
}

/// The newest records of one partition, without a hole.
#[derive(Debug)]
pub(super) struct Recent {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    bytes_max: usize,
    /// Number of the newest record, whether it is kept here or not; what is in doubt counts.
    last: u64,
}

impl Recent {
    /// Knows only that the partition reaches to `last`.
    pub(super) const fn new(last: u64, bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max, last }
    }

    /// Leaves everything up to `last`, which may or may not have been stored, to the file.
    pub(super) fn forget(&mut self, last: u64) {
        self.entries.clear();
        self.bytes = 0;
        self.last = last;
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        let number = entry.stored.number;
        if number != self.last + 1 {
            self.forget(number - 1); // what was in doubt was not stored after all
        }
        self.last = number;
        self.bytes += entry.stored.record.size();
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES_MAX || self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.stored.record.size();
        }
    }

    /// What `wanted` takes from number `next` on, at most `limit`; `None` if `next` is no longer
    /// kept here.
    pub(super) fn since(
        &self,
        next: u64,
        limit: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<Found> {
        let oldest = self.entries.front().map_or(self.last + 1, |entry| entry.stored.number);
        let skip = usize::try_from(next.checked_sub(oldest)?).ok()?;
        let mut found = Found { entries: Vec::new(), next };
        for entry in self.entries.iter().skip(skip) {
            if found.entries.len() == limit {
                break;
            }
            found.next = entry.stored.number + 1;
            if wanted(entry) {
                found.entries.push(Arc::clone(entry));
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use qqrelay_proto::record::{Headers, Record};
    use qqrelay_proto::subject::Lane;

    fn entry(number: u64, lane: u8) -> Arc<Entry> {
        let record = Record {
            subject: "s".to_owned(),
            headers: Headers::default(),
            payload: Bytes::from(vec![0; 99]),
        };
        let filing = Filing { lane: Lane::new(lane), chain: 0 };
        let stored = Stored { number, at_ms: 0, record };
        Arc::new(Entry { partition: 0, filing, stored })
    }

    fn numbers(found: &Found) -> Vec<u64> {
        found.entries.iter().map(|entry| entry.stored.number).collect()
    }

    #[test]
    fn what_has_gone_from_memory_is_asked_of_the_file() {
        let mut recent = Recent::new(10, 250);
        for number in 11..=14 {
            recent.push(entry(number, 1));
        }
        assert!(recent.since(12, 9, |_| true).is_none(), "two of 100 bytes fit in 250");
        assert_eq!(numbers(&recent.since(13, 9, |_| true).unwrap()), [13, 14]);
        let ahead = recent.since(15, 9, |_| true).unwrap();
        assert_eq!((numbers(&ahead), ahead.next), (vec![], 15));
    }

    #[test]
    fn what_is_in_doubt_is_asked_of_the_file() {
        let mut recent = Recent::new(0, 10_000);
        recent.push(entry(1, 1));
        recent.forget(2);
        assert!(recent.since(1, 9, |_| true).is_none());
        assert!(recent.since(2, 9, |_| true).is_none(), "it may have been stored");
        recent.push(entry(2, 1));
        assert!(recent.since(1, 9, |_| true).is_none());
        assert_eq!(numbers(&recent.since(2, 9, |_| true).unwrap()), [2], "it had not been");
    }

    proptest! {
        /// Reading on from where the last look ended gives every wanted record once, in order.
        #[test]
        fn looks_join_without_hole_or_overlap(
            lanes in prop::collection::vec(0_u8..3, 0..200),
            limit in 1_usize..20,
        ) {
            let mut recent = Recent::new(0, usize::MAX);
            for (number, lane) in (1..).zip(&lanes) {
                recent.push(entry(number, *lane));
            }
            let (mut next, mut seen) = (1, Vec::new());
            loop {
                let found = recent.since(next, limit, |e| e.filing.lane == Lane::new(2)).unwrap();
                seen.extend(numbers(&found));
                if found.next == next { break; }
                next = found.next;
            }
            let expected: Vec<u64> =
                (1..).zip(&lanes).filter(|(_, lane)| **lane == 2).map(|(n, _)| n).collect();
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(next, lanes.len() as u64 + 1);
        }
    }
}
