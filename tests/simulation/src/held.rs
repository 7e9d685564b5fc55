//! The partition while a process has it: one chain, and the shards that write through it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qqrelay_proto::chain::{Chain, Entry, Input, Memory, Output, Refused, Settings};
use qqrelay_proto::id::{Seq, SessionId};
use qqrelay_proto::record::{
    Duplicate, Headers, Ownership, Place, Record, ResumePoint, Stored, Tail,
};
use qqrelay_proto::subject::{Partition, Source, SourceSubject};

use crate::gateway::{LogAsk, LogTold, Means};
use crate::mutant::Mutant;
use crate::platform::{Down, Link};
use crate::shard::{About, Driver, Handed, Known, event_of};
use crate::stream;

/// The only partition: they share nothing.
pub(crate) const PARTITION: Partition = Partition::Chain(0);

const ANSWER_WITHIN: Duration = Duration::from_millis(800);
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// How often it is looked whose the partition is while nothing is stored.
const FENCE_EVERY: Duration = Duration::from_millis(1_500);

/// What the chain gives back.
#[derive(Debug, Clone)]
pub(crate) struct Tag {
    source: usize,
    epoch: u64,
    session: Option<SessionId>,
    seq: Seq,
    about: Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Event(u64),
    Frame,
    Gap,
}

/// A question that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Publish,
    Owner,
    Mark,
    Before,
    Tail(usize),
    Rebuild,
    /// A shard's look at the fence, and when it was asked.
    Fence(usize, Instant),
    /// The owner's own look.
    Quiet,
}

/// One shard's place in the log.
struct Standing {
    subject: SourceSubject,
    known: Option<Known>,
    tail_asked: Option<(u64, Instant)>,
    /// Where events are, by their number; those on their way have none.
    memory: BTreeMap<u64, Option<u64>>,
}

pub(crate) struct Held {
    chain: Chain<Tag>,
    asked: BTreeMap<u64, Asked>,
    epoch: u64,
    places: Vec<Standing>,
    drivers: Vec<Driver>,
    /// A repeated event whose first record has no number yet.
    waiting: Option<Handed>,
    rebuilding: Option<Instant>,
    fence_at: Instant,
    newest: u64,
    newest_then: u64,
    over: bool,
}

impl Held {
    /// Takes the partition.
    pub(crate) fn take(now: Instant, means: &mut Means) -> Self {
        let setting = means.setting.clone();
        let mut chain = Chain::new(Settings {
            partition: PARTITION,
            owner: means.me.clone(),
            started: String::new(),
            window: setting.window,
            window_bytes: usize::MAX,
            answer_within: ANSWER_WITHIN,
            retry_after: RETRY_AFTER,
        });
        chain.handle(now, Input::Take);
        let subject = |index| {
            SourceSubject::new(PARTITION, &setting.app, Source::Shard(setting.shard(index)))
        };
        let places = (0..setting.shards).map(|index| Standing {
            subject: subject(index),
            known: None,
            tail_asked: None,
            memory: BTreeMap::new(),
        });
        let drivers = (0..setting.shards).map(|index| Driver::new(index, subject(index)));
        let mut held = Self {
            chain,
            asked: BTreeMap::new(),
            epoch: 0,
            places: places.collect(),
            drivers: drivers.collect(),
            waiting: None,
            rebuilding: None,
            fence_at: now + FENCE_EVERY,
            newest: 0,
            newest_then: 0,
            over: false,
        };
        if setting.is(Mutant::TailsBeforeBatch) {
            held.ask_tails(now, means);
        }
        held
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.chain.is_open()
            && self.chain.is_drained()
            && self.waiting.is_none()
            && self.drivers.iter().all(Driver::is_settled)
    }

    pub(crate) fn tick(&mut self, now: Instant, means: &mut Means) {
        self.chain.handle(now, Input::Tick);
        for driver in &mut self.drivers {
            driver.tick(now, means);
        }
    }

    pub(crate) fn disconnected(&mut self, now: Instant) {
        self.asked.clear();
        for driver in &mut self.drivers {
            driver.fence_lost();
        }
        for place in &mut self.places {
            place.tail_asked = None;
        }
        self.rebuilding = self.rebuilding.map(|_| now);
        self.chain.handle(now, Input::Disconnected);
    }

    pub(crate) fn heard(&mut self, now: Instant, link: Link, down: Down, means: &mut Means) {
        for driver in &mut self.drivers {
            driver.heard(now, link, &down, means);
        }
    }

    /// A shard that waits for leave to identify.
    pub(crate) fn wants_permit(&self, now: Instant) -> Option<u16> {
        self.drivers.iter().find(|driver| driver.wants_permit(now)).map(Driver::index)
    }

    pub(crate) fn permitted(&mut self, shard: u16) {
        self.drivers[usize::from(shard)].permitted();
    }

    pub(crate) fn permit_again(&mut self, shard: u16, at: Instant) {
        self.drivers[usize::from(shard)].permit_again(at);
    }

    pub(crate) fn told(&mut self, now: Instant, id: u64, told: LogTold, means: &mut Means) {
        let Some(asked) = self.asked.remove(&id) else { return };
        match (asked, told) {
            (Asked::Publish, LogTold::Stored(number)) => {
                self.chain.handle(now, Input::Stored(number));
            }
            (Asked::Publish, LogTold::Mismatch(number)) => {
                self.chain.handle(now, Input::Refused(number, Refused::Mismatch));
            }
            (Asked::Owner, LogTold::Newest(newest)) => {
                self.chain.handle(now, Input::Owner(Ok(owner(newest.as_ref()))));
            }
            (Asked::Mark, LogTold::Marked(number)) => {
                self.newest = number;
                self.chain.handle(now, Input::Marked(Ok(number)));
            }
            (Asked::Before, LogTold::Range(before)) => {
                let before =
                    if means.setting.is(Mutant::KeepsMemory) { Vec::new() } else { before };
                self.chain.handle(now, Input::Before(Ok(before)));
            }
            (Asked::Tail(source), LogTold::Newest(newest)) => self.tail(source, id, newest),
            (Asked::Rebuild, LogTold::Range(records)) => self.rebuild(&records),
            (Asked::Fence(shard, at), LogTold::Newest(newest)) => {
                let newest = owner(newest.as_ref());
                let ours = newest.as_ref().is_some_and(|marker| marker.owner == means.me);
                self.chain.handle(now, Input::Owner(Ok(newest)));
                if ours && self.chain.is_open() {
                    self.drivers[shard].fence_read(now, at, means);
                }
            }
            (Asked::Quiet, LogTold::Newest(newest)) => {
                if self.chain.is_open() {
                    self.chain.handle(now, Input::Owner(Ok(owner(newest.as_ref()))));
                }
            }
            (asked, told) => unreachable!("{asked:?} is not answered by {told:?}"),
        }
    }

    fn tail(&mut self, source: usize, id: u64, newest: Option<Stored>) {
        let (place, epoch) = (&mut self.places[source], self.epoch);
        if place.tail_asked.take_if(|(asked, _)| *asked == id).is_some() {
            let tail = Tail::of(newest.as_ref().map(|stored| &stored.record));
            place.known = Some(Known { epoch, tail, durable: None, gaps: 0 });
        }
    }

    fn rebuild(&mut self, records: &[Stored]) {
        self.rebuilding = None;
        for stored in records {
            let Some(event) = event_of(&stored.record) else { continue };
            let of = stream::source(&stored.record.subject);
            let place = self.places.iter_mut().find(|place| place.subject.to_string() == of);
            if let Some(place) = place {
                place.memory.entry(event).or_insert(Some(stored.number));
            }
        }
    }

    /// Does everything that can be done now.
    pub(crate) fn drive(&mut self, now: Instant, means: &mut Means) {
        loop {
            self.carry_out(now, means);
            if self.over {
                return;
            }
            let mut is_moved = false;
            for index in 0..self.drivers.len() {
                let known = self.places[index].known.clone();
                if self.drivers[index].drive(now, known, means) {
                    self.ask_fence(index, now, means);
                }
                while self.takes_more()
                    && let Some(handed) = self.drivers[index].next()
                {
                    is_moved = true;
                    self.hand(now, handed, means);
                    self.carry_out(now, means);
                }
            }
            if let Some(waiting) = self.waiting.take_if(|_| self.chain.has_room()) {
                let is_over = self.settled_place(&waiting);
                self.waiting = Some(waiting);
                if is_over {
                    let waiting = self.waiting.take().expect("it was put there");
                    self.hand(now, waiting, means);
                    is_moved = true;
                }
            }
            if !is_moved {
                break;
            }
        }
        self.look_around(now, means);
    }

    /// Whether the event that a repeated one points at has its number.
    fn settled_place(&self, handed: &Handed) -> bool {
        let About::Event(event) = handed.about else { return true };
        self.places[handed.source].memory.get(&event).copied().flatten().is_some()
    }

    /// What is to be asked now and then, and when to wake up.
    fn look_around(&mut self, now: Instant, means: &mut Means) {
        if self.fence_at <= now {
            self.fence_at = now + FENCE_EVERY;
            let is_quiet = std::mem::replace(&mut self.newest_then, self.newest) == self.newest;
            if is_quiet && self.chain.is_open() && self.chain.is_drained() {
                self.ask_owner(Asked::Quiet, means);
            }
        }
        if self.chain.is_open() {
            let lost = |asked: Option<(u64, Instant)>| {
                asked.is_none_or(|(_, at)| now.duration_since(at) >= ANSWER_WITHIN)
            };
            for index in 0..self.places.len() {
                let place = &self.places[index];
                let is_closed = place.known.as_ref().is_none_or(|known| known.epoch != self.epoch);
                if is_closed && lost(place.tail_asked) {
                    self.ask_tail(index, now, means);
                }
            }
            if self.rebuilding.is_some_and(|at| now.duration_since(at) >= ANSWER_WITHIN) {
                self.ask_rebuild(now, means);
            }
        }
        let deadlines = self.drivers.iter().filter_map(|driver| driver.deadline(now));
        let chain = self.chain.deadline();
        for at in deadlines.chain(chain).chain([self.fence_at]) {
            means.wake(at);
        }
    }

    fn carry_out(&mut self, now: Instant, means: &mut Means) {
        while let Some(output) = self.chain.poll() {
            match output {
                Output::Publish(number, record) => {
                    let id = means.ask_log(LogAsk::Publish(number, record));
                    self.asked.insert(id, Asked::Publish);
                }
                Output::ReadOwner => self.ask_owner(Asked::Owner, means),
                Output::Mark(mut records) => {
                    self.asked.retain(|_, asked| *asked != Asked::Mark);
                    records.truncate(1 + means.setting.fillers());
                    let id = means.ask_log(LogAsk::Mark(records));
                    self.asked.insert(id, Asked::Mark);
                }
                Output::ReadBefore { from, to } => {
                    let id = means.ask_log(LogAsk::Range(from, to));
                    self.asked.insert(id, Asked::Before);
                }
                Output::Opened(Memory::Kept) => {}
                Output::Opened(_) => self.opened(now, means),
                Output::Durable { tag, number } => self.durable(tag, number),
                Output::StoodDown(_) => {
                    for driver in &mut self.drivers {
                        driver.leave(means);
                    }
                    self.over = true;
                }
            }
        }
    }

    fn opened(&mut self, now: Instant, means: &mut Means) {
        self.epoch += 1;
        self.waiting = None;
        for place in &mut self.places {
            place.memory.clear();
            let stale = place.known.take();
            if means.setting.is(Mutant::TailsBeforeBatch) {
                place.known = stale.map(|known| Known { epoch: self.epoch, ..known });
            }
        }
        self.ask_rebuild(now, means);
        self.ask_tails(now, means);
    }

    fn ask_tails(&mut self, now: Instant, means: &mut Means) {
        for index in 0..self.places.len() {
            if self.places[index].known.is_none() {
                self.ask_tail(index, now, means);
            }
        }
    }

    fn ask_tail(&mut self, index: usize, now: Instant, means: &mut Means) {
        let id = means.ask_log(LogAsk::Newest(self.places[index].subject.to_string()));
        self.places[index].tail_asked = Some((id, now));
        self.asked.insert(id, Asked::Tail(index));
    }

    fn ask_rebuild(&mut self, now: Instant, means: &mut Means) {
        self.asked.retain(|_, asked| *asked != Asked::Rebuild);
        let id = means.ask_log(LogAsk::Range(1, u64::MAX));
        self.rebuilding = Some(now);
        self.asked.insert(id, Asked::Rebuild);
    }

    fn ask_owner(&mut self, why: Asked, means: &mut Means) {
        self.asked.retain(|_, asked| *asked != why);
        let id = means.ask_log(LogAsk::Newest(PARTITION.ownership()));
        self.asked.insert(id, why);
    }

    fn ask_fence(&mut self, shard: usize, now: Instant, means: &mut Means) {
        let id = means.ask_log(LogAsk::Newest(PARTITION.ownership()));
        self.asked.insert(id, Asked::Fence(shard, now));
    }

    fn takes_more(&self) -> bool {
        self.chain.has_room() && self.rebuilding.is_none() && self.waiting.is_none()
    }

    fn hand(&mut self, now: Instant, handed: Handed, means: &Means) {
        if handed.epoch != self.epoch {
            return;
        }
        let place = &mut self.places[handed.source];
        let (record, about) = match handed.about {
            About::Event(event) if !means.setting.is(Mutant::RepeatStored) => {
                match place.memory.get(&event) {
                    None => {
                        place.memory.insert(event, None);
                        (handed.record, Written::Event(event))
                    }
                    Some(Some(number)) => {
                        let of = Place { stream: PARTITION.stream(), seq: *number };
                        (duplicate(&place.subject, &handed.record, of), Written::Frame)
                    }
                    Some(None) => {
                        self.waiting = Some(handed);
                        return;
                    }
                }
            }
            About::Event(_) | About::Session => (handed.record, Written::Frame),
            About::Gap => (handed.record, Written::Gap),
        };
        let (source, epoch, seq) = (handed.source, handed.epoch, handed.seq);
        let tag = Tag { source, epoch, session: handed.session, seq, about };
        let headers = Headers { owner: Some(means.me.clone()), ..record.headers };
        let record = Record { headers, ..record };
        self.chain.handle(now, Input::Append(Entry { tag, record }));
    }

    fn durable(&mut self, tag: Tag, number: u64) {
        self.newest = number;
        if tag.epoch != self.epoch {
            return;
        }
        let place = &mut self.places[tag.source];
        if let Written::Event(event) = tag.about {
            place.memory.insert(event, Some(number));
        }
        let Some(known) = &mut place.known else { return };
        match tag.about {
            Written::Gap => {
                known.gaps += 1;
                known.durable = None;
            }
            Written::Event(_) | Written::Frame => {
                known.durable = tag.session.map(|session| ResumePoint { session, seq: tag.seq });
            }
        }
    }
}

fn owner(newest: Option<&Stored>) -> Option<Ownership> {
    newest.and_then(|stored| serde_json::from_slice(&stored.record.payload).ok())
}

fn duplicate(source: &SourceSubject, record: &Record, of: Place) -> Record {
    let id = record.headers.event.as_ref().map_or_else(String::new, |event| event.id.to_string());
    let payload = serde_json::to_vec(&Duplicate { of, id }).expect("plain data").into();
    let headers = Headers { event: None, ..record.headers.clone() };
    Record { subject: source.duplicate(), headers, payload }
}
