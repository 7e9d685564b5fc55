//! One partition's chain: one writer, its numbers, its window, and what follows from each answer.
//!
//! Every record is published under the number it must get. The first that does not fit makes the
//! rest of its window fail, so an acknowledgement vouches for everything before it. The number
//! alone is no fence: behind a single marker a stale window fits again. Therefore a takeover, and
//! going on after **any** unknown outcome, is one batch of window + 1 ownership records that
//! outruns whatever may still be in flight. Never shorten it, never make it conditional, and never
//! send a record again without it.
//!
//! The driver publishes, reads and writes batches as [`Output`] says, in order, and reports with
//! [`Input`]. Only what was read after our own batch counts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::id::OwnerId;
use crate::record::{DropReason, Headers, Ownership, Record, SessionRecord, Stored};
use crate::subject::{LogSubject, Partition};

mod recovery;
#[cfg(test)]
mod tests;

use self::recovery::{Before, what_lies_before};

/// Who writes, where, and within which bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The partition.
    pub partition: Partition,
    /// This process.
    pub owner: OwnerId,
    /// When this process started, RFC 3339.
    pub started: String,
    /// Most records in flight, as the stream's metadata says.
    pub window: usize,
    /// Most bytes in flight.
    pub window_bytes: usize,
    /// Time after which a missing answer is an unknown outcome.
    pub answer_within: Duration,
    /// Wait before something that the log refused for now is tried again.
    pub retry_after: Duration,
}

/// A record on its way, and whom to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// The driver's own; comes back in [`Output::Durable`].
    pub tag: T,
    /// The record. Its headers name session and sequence.
    pub record: Record,
}

/// Something that happened outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<T> {
    /// Take the partition.
    Take,
    /// A record for the log. Ask [`Chain::has_room`] before.
    Append(Entry<T>),
    /// The record published under this number is stored, and so is all before it.
    Stored(u64),
    /// The record published under this number was not taken.
    Refused(u64, Refused),
    /// Whatever is in flight is unknown.
    Disconnected,
    /// Answers [`Output::ReadOwner`]: the newest record on the ownership subject.
    Owner(Result<Option<Ownership>, Refused>),
    /// Answers [`Output::Mark`]: the number of the batch's last record.
    Marked(Result<u64, Refused>),
    /// Answers [`Output::ReadBefore`].
    Before(Result<Vec<Stored>, Refused>),
    /// Time passed.
    Tick,
}

/// How the log said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The number does not fit.
    Mismatch,
    /// This record will never be taken.
    Never,
    /// Not now.
    Busy,
    /// Configuration forbids it.
    Forbidden,
    /// Nobody knows.
    Unknown,
}

/// Something the driver must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<T> {
    /// Publish the record so that it fits only under this number.
    Publish(u64, Record),
    /// Read the newest record on the ownership subject.
    ReadOwner,
    /// Write all these records or none, behind whatever is there.
    Mark(Vec<Record>),
    /// Read everything with numbers from `from` to `to`, both included.
    ReadBefore {
        /// The first number.
        from: u64,
        /// The last number.
        to: u64,
    },
    /// The partition is ours, and the tails may be read.
    Opened(Memory),
    /// The log holds this record, and so it does all before it.
    Durable {
        /// As [`Entry`] had it.
        tag: T,
        /// The record's number.
        number: u64,
    },
    /// The partition is not ours any more. Close the sockets, keep the sessions.
    StoodDown(Why),
}

/// Whether what the process remembers still holds, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// The log ends where memory says; what was in flight goes on by itself.
    Kept,
    /// Start every source from its tail.
    Forgotten,
    /// The log lost what it had acknowledged. Start every source from its tail and record what is
    /// missing there.
    LogLost,
}

/// Why a partition is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Another process has taken it.
    Taken(OwnerId),
    /// The log forbids us to write.
    Forbidden,
}

/// One partition's writer; see the module.
#[derive(Debug)]
pub struct Chain<T> {
    settings: Settings,
    phase: Phase,
    /// Batches sent by this process, each an incarnation of its ownership.
    incarnation: u64,
    /// What the next [`Output::Opened`] may say at best.
    memory: Memory,
    /// The number that the next publish takes.
    next: u64,
    /// Published and not acknowledged, oldest first.
    in_flight: VecDeque<InFlight<T>>,
    in_flight_bytes: usize,
    /// Accepted and not published.
    waiting: VecDeque<Entry<T>>,
    outputs: VecDeque<Output<T>>,
}

#[derive(Debug)]
struct InFlight<T> {
    number: u64,
    sent: Instant,
    entry: Entry<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not asked to own the partition, or stood down.
    Idle,
    /// Publishing.
    Open,
    /// After an unknown outcome: whose is it? Nothing is published meanwhile.
    Checking { until: Instant },
    /// The batch is out.
    Marking { until: Instant },
    /// The batch that ends with this number is in; what lies before it is being read.
    Reading { last: u64, until: Instant },
    /// The log cannot, for now: ask whose it is again at this moment.
    Resting { until: Instant },
}

impl<T> Chain<T> {
    /// A chain that owns nothing yet.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::Idle,
            incarnation: 0,
            memory: Memory::Forgotten,
            next: 1,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            waiting: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Applies one input. Drain [`Chain::poll`] to `None` before applying the next.
    pub fn handle(&mut self, now: Instant, input: Input<T>) {
        match (self.phase, input) {
            (Phase::Idle, Input::Take) => {
                self.memory = Memory::Forgotten;
                self.mark(now);
            }
            (Phase::Idle, _) | (_, Input::Take) => {}
            (_, Input::Append(entry)) => self.waiting.push_back(entry),
            (Phase::Open, Input::Stored(number)) => self.stored(number),
            (Phase::Open, Input::Refused(number, refused)) => self.refused(now, number, refused),
            (Phase::Open, Input::Disconnected) => self.check(now),
            (Phase::Open, Input::Owner(owner)) => self.fence(now, owner),
            (Phase::Checking { .. }, Input::Owner(owner)) => self.owner(now, owner),
            (Phase::Marking { .. }, Input::Marked(marked)) => self.marked(now, marked),
            (Phase::Reading { last, .. }, Input::Before(before)) => {
                self.reopen(now, last, before);
            }
            (phase, Input::Tick) => self.tick(now, phase),
            // Answers to what an earlier phase asked: the batch has made them void.
            (
                _,
                Input::Stored(_)
                | Input::Refused(..)
                | Input::Disconnected
                | Input::Owner(_)
                | Input::Marked(_)
                | Input::Before(_),
            ) => {}
        }
        if self.phase == Phase::Open {
            self.publish(now);
        }
    }

    /// The next thing to do, oldest first.
    pub fn poll(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    /// When to apply the next [`Input::Tick`]; `None` when only the outside can move the chain.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None,
            Phase::Open => {
                self.in_flight.front().map(|oldest| oldest.sent + self.settings.answer_within)
            }
            Phase::Checking { until }
            | Phase::Marking { until }
            | Phase::Reading { until, .. }
            | Phase::Resting { until } => Some(until),
        }
    }

    /// Whether another record would go out at once. Where not, its source stops reading.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.phase == Phase::Open && self.waiting.is_empty() && self.window_open()
    }

    /// Whether the partition is ours as far as we know, and open for records.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether nothing is in flight or waiting.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.in_flight.is_empty() && self.waiting.is_empty()
    }

    /// Records published and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn window_open(&self) -> bool {
        self.in_flight.len() < self.settings.window
            && self.in_flight_bytes < self.settings.window_bytes
    }

    fn publish(&mut self, now: Instant) {
        while self.window_open() {
            let Some(entry) = self.waiting.pop_front() else { return };
            let number = self.next;
            self.next += 1;
            self.in_flight_bytes += entry.record.size();
            self.outputs.push_back(Output::Publish(number, entry.record.clone()));
            self.in_flight.push_back(InFlight { number, sent: now, entry });
        }
    }

    /// Everything up to `number` is durable, whatever the order of the answers.
    fn stored(&mut self, number: u64) {
        while self.in_flight.front().is_some_and(|oldest| oldest.number <= number) {
            let oldest = self.in_flight.pop_front().expect("there is a front");
            self.acknowledge(oldest.number, oldest.entry);
        }
    }

    fn acknowledge(&mut self, number: u64, entry: Entry<T>) {
        let Entry { tag, record } = entry;
        self.in_flight_bytes -= record.size();
        self.outputs.push_back(Output::Durable { tag, number });
    }

    fn refused(&mut self, now: Instant, number: u64, refused: Refused) {
        let Some(found) = self.in_flight.iter_mut().find(|sent| sent.number == number) else {
            return; // an answer to what is acknowledged already
        };
        match refused {
            Refused::Mismatch | Refused::Unknown => self.check(now),
            Refused::Never => {
                let before = found.entry.record.size();
                found.entry.record = dropped(&found.entry.record);
                self.in_flight_bytes = self.in_flight_bytes - before + found.entry.record.size();
                self.check(now);
            }
            Refused::Busy => self.rest(now),
            Refused::Forbidden => self.stand_down(Why::Forbidden),
        }
    }

    /// Answers a fence reading that the driver made on its own.
    fn fence(&mut self, now: Instant, owner: Result<Option<Ownership>, Refused>) {
        match owner {
            Ok(Some(marker)) if marker.owner == self.settings.owner => {}
            Ok(Some(marker)) => self.stand_down(Why::Taken(marker.owner)),
            Ok(None) => self.check(now), // our marker is gone: the log lost records
            Err(_) => {}
        }
    }

    fn check(&mut self, now: Instant) {
        self.outputs.push_back(Output::ReadOwner);
        self.phase = Phase::Checking { until: now + self.settings.answer_within };
    }

    fn rest(&mut self, now: Instant) {
        self.phase = Phase::Resting { until: now + self.settings.retry_after };
    }

    fn owner(&mut self, now: Instant, owner: Result<Option<Ownership>, Refused>) {
        match owner {
            Ok(Some(marker)) if marker.owner != self.settings.owner => {
                self.stand_down(Why::Taken(marker.owner));
            }
            Ok(_) => self.mark(now),
            Err(Refused::Forbidden) => self.stand_down(Why::Forbidden),
            Err(_) => self.rest(now),
        }
    }

    fn mark(&mut self, now: Instant) {
        self.incarnation += 1;
        let markers = (0..=self.settings.window).map(|n| self.ownership((n > 0).then_some(n)));
        let markers = markers.collect();
        self.outputs.push_back(Output::Mark(markers));
        self.phase = Phase::Marking { until: now + self.settings.answer_within };
    }

    fn ownership(&self, filler: Option<usize>) -> Record {
        let Settings { partition, owner, started, .. } = &self.settings;
        let marker = Ownership {
            owner: owner.clone(),
            incarnation: self.incarnation,
            started: started.clone(),
            filler,
        };
        Record {
            subject: partition.ownership(),
            headers: Headers { owner: Some(owner.clone()), ..Headers::default() },
            payload: serde_json::to_vec(&marker).expect("a marker is plain data").into(),
        }
    }

    /// One more record that keeps our marker among the newest of the stream.
    #[must_use]
    pub fn marker(&self) -> Record {
        self.ownership(None)
    }

    fn marked(&mut self, now: Instant, marked: Result<u64, Refused>) {
        let last = match marked {
            Ok(last) => last,
            Err(Refused::Forbidden) => return self.stand_down(Why::Forbidden),
            Err(Refused::Busy) => return self.rest(now),
            // Nobody knows, and another batch of ours does no harm.
            Err(Refused::Mismatch | Refused::Never | Refused::Unknown) => return self.mark(now),
        };
        self.phase = Phase::Reading { last, until: now + self.settings.answer_within };
        let (from, to) = (self.first_unknown(), self.batch_start(last).saturating_sub(1));
        if to + 1 < from {
            self.memory = Memory::LogLost;
        } else if to + 1 - from > self.read_before_max() {
            self.memory = self.memory.max(Memory::Forgotten);
        }
        if self.memory == Memory::Kept && from <= to {
            self.outputs.push_back(Output::ReadBefore { from, to });
        } else {
            self.reopen(now, last, Ok(Vec::new()));
        }
    }

    /// The most records that may lie between our last acknowledged one and a batch of ours without
    /// somebody else having written: what was in flight, and batches whose answers were lost.
    const fn read_before_max(&self) -> u64 {
        4 * (self.settings.window as u64 + 1)
    }

    /// The first number of which we do not know what stands there.
    fn first_unknown(&self) -> u64 {
        self.in_flight.front().map_or(self.next, |oldest| oldest.number)
    }

    const fn batch_start(&self, last: u64) -> u64 {
        (last + 1).saturating_sub(self.settings.window as u64 + 1)
    }

    /// The batch stands, and `before` is what lies between our last acknowledged record and it.
    fn reopen(&mut self, now: Instant, last: u64, before: Result<Vec<Stored>, Refused>) {
        let Ok(before) = before else { return self.check(now) };
        let outrun = self.first_unknown() + self.settings.window as u64;
        if self.memory == Memory::LogLost && last < outrun {
            return self.mark(now); // old numbers must never fit again
        }
        if self.memory == Memory::Kept {
            match what_lies_before(&before, &self.in_flight, &self.settings.owner) {
                Before::Ours { landed } => self.settle(landed),
                Before::AnothersToo => self.memory = Memory::Forgotten,
            }
        }
        if self.memory != Memory::Kept {
            self.in_flight.clear();
            self.waiting.clear();
        }
        self.in_flight_bytes = 0;
        self.next = last + 1;
        self.phase = Phase::Open;
        self.outputs.push_back(Output::Opened(self.memory));
        self.memory = Memory::Kept;
    }

    /// The oldest `landed` records in flight are in the log; the others are sent again.
    fn settle(&mut self, landed: usize) {
        for sent in self.in_flight.drain(..landed).collect::<Vec<_>>() {
            self.acknowledge(sent.number, sent.entry);
        }
        while let Some(sent) = self.in_flight.pop_back() {
            self.waiting.push_front(sent.entry);
        }
    }

    fn tick(&mut self, now: Instant, phase: Phase) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match phase {
            Phase::Idle => {}
            Phase::Marking { .. } => self.mark(now),
            Phase::Open
            | Phase::Checking { .. }
            | Phase::Reading { .. }
            | Phase::Resting { .. } => {
                self.check(now);
            }
        }
    }

    fn stand_down(&mut self, why: Why) {
        self.in_flight.clear();
        self.waiting.clear();
        self.in_flight_bytes = 0;
        self.phase = Phase::Idle;
        self.outputs.push_back(Output::StoodDown(why));
    }
}

/// What takes the place of a record that the log will never take: the sequence has no hole.
fn dropped(record: &Record) -> Record {
    let source = record.subject.parse::<LogSubject>().ok();
    let subject = source.and_then(|subject| subject.source().map(|source| source.session()));
    let payload = SessionRecord::Dropped { reason: DropReason::Refused };
    Record {
        subject: subject.unwrap_or_else(|| record.subject.clone()),
        headers: Headers { event: None, trace_parent: None, ..record.headers.clone() },
        payload: serde_json::to_vec(&payload).expect("a session record is plain data").into(),
    }
}
