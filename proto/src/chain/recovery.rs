//! What stands between our last acknowledged record and our newest batch.

use std::collections::VecDeque;

use crate::id::OwnerId;
use crate::record::Stored;
use crate::subject::LogSubject;

use super::InFlight;

/// What was found before a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing but ours: this many of the records in flight have landed, the oldest first.
    Ours {
        /// How many.
        landed: usize,
    },
    /// Somebody else wrote, so memory is worth nothing.
    AnothersToo,
}

/// Reads `before` against what was in flight. Batches of our own that were sent twice are passed
/// over; anything that is neither makes memory void.
pub(super) fn what_lies_before<T>(
    before: &[Stored],
    in_flight: &VecDeque<InFlight<T>>,
    owner: &OwnerId,
) -> Before {
    let mut landed = 0;
    for stored in before {
        if stored.record.headers.owner.as_ref() != Some(owner) {
            return Before::AnothersToo;
        }
        let expected = in_flight.get(landed).filter(|sent| {
            sent.number == stored.number && sent.entry.record.subject == stored.record.subject
        });
        if expected.is_some() {
            landed += 1;
        } else if !matches!(stored.record.subject.parse(), Ok(LogSubject::Ownership(_))) {
            return Before::AnothersToo;
        }
    }
    Before::Ours { landed }
}
