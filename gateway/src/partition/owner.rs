//! The one task that writes a partition: it takes the numbers, publishes and hears the answers.
//!
//! The rules are [`Chain`]'s; this moves records and answers. Two tasks that share a partition
//! would send their numbers swapped, so everything goes through this one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::time::{Duration, Instant};

use qqrelay_proto::chain::{
    Chain, Entry, Input, Memory as Recalled, Output, Refused, Settings, Why,
};
use qqrelay_proto::id::{AppId, OwnerId, Seq, SessionId};
use qqrelay_proto::record::{
    Duplicate, Headers, Ownership, Place as LogPlace, Record, ResumePoint, Stored, Tail,
};
use qqrelay_proto::subject::{Partition, SourceSubject};
use qqrelay_runtime::bus::{Answer, Log, Refusal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::{Span, debug, error, info, warn};

use super::keep::{self, Freshness};
use super::memory::{Key, Memory, Place, REMEMBERED};
use super::rebuild::Rebuild;
use super::{
    About, Ask, Attached, Durable, Epoch, Handed, Known, Outlet, Sighted, SourceIndex, Standing,
    StoredEvent,
};
use crate::alarm::Alarm;
use crate::metrics::PartitionMetrics;
use crate::shard::now;

/// How often sources are looked over for a resume point that retention may take.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// How often it is looked whose the partition is, while no record is stored that would say so.
const FENCE_EVERY: Duration = Duration::from_millis(1_500);

/// How long that look may take: nothing is appended meanwhile.
const FENCE_WITHIN: Duration = Duration::from_secs(1);

/// Records after which it is looked again where the log could not say how far it reaches.
const LOOK_WITHOUT_EXTENT: u64 = 10_000;

/// Why an owner's task is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its shards are gone and everything of theirs is durable.
    Drained,
    /// The partition is another's, or writing it is forbidden.
    StoodDown(Why),
}

/// What an owner is made with.
#[derive(Debug, Clone)]
pub(crate) struct OwnerSettings {
    pub(crate) partition: Partition,
    pub(crate) owner: OwnerId,
    pub(crate) started: String,
    pub(crate) window: usize,
    pub(crate) window_bytes: usize,
    pub(crate) answer_within: Duration,
    pub(crate) retry_after: Duration,
    /// Hears where events are that another source may show as well.
    pub(crate) stored: mpsc::Sender<StoredEvent>,
}

/// A partition's writer.
pub(crate) struct Owner {
    partition: Partition,
    owner: OwnerId,
    answer_within: Duration,
    chain: Chain<Tag>,
    log: Box<dyn Log>,
    outlet: Outlet,
    sources: Vec<Source>,
    /// Shards that were here before and are to begin again.
    attaching: Vec<Attaching>,
    epoch: Epoch,
    /// Whether the log has lost what it had acknowledged.
    lost: bool,
    /// A repeated event whose first record has no number yet: everything behind it waits.
    held: Option<Handed>,
    rebuild: Option<Rebuild>,
    ended: Option<Ended>,
    keep: Interval,
    fence: Interval,
    /// The newest record that is known to be durable.
    newest: u64,
    /// What was the newest when it was last looked at the fence.
    newest_then: u64,
    /// The number at which sources are looked over, however little time has passed.
    look_at: u64,
    /// The newest marker.
    marked: keep::Placed,
    stored: mpsc::Sender<StoredEvent>,
    metrics: PartitionMetrics,
}

/// What the chain gives back with an acknowledgement.
#[derive(Debug)]
struct Tag {
    source: Option<usize>,
    epoch: Epoch,
    session: Option<SessionId>,
    seq: Seq,
    about: Written,
    /// The event that another source may be waiting to hear of.
    claimed: Option<Box<(AppId, Box<str>)>>,
    received: Instant,
    /// Ends with the acknowledgement.
    _span: Span,
}

#[derive(Debug, Clone, Copy)]
enum Written {
    Event(Key),
    Frame,
    Gap,
    Ended,
    /// `kept`, or the owner's own marker again.
    Upkeep,
}

/// A shard that comes back to its source: it begins where its predecessor's last record stands.
struct Attaching {
    index: usize,
    /// Records in the inbox that may be the predecessor's.
    behind: usize,
    reply: oneshot::Sender<Attached>,
}

struct Source {
    subject: SourceSubject,
    /// Records of its shard's that are appended and not durable.
    pending: usize,
    standing: watch::Sender<Standing>,
    memory: Memory,
    freshness: Freshness,
}

impl Owner {
    pub(crate) fn new(
        settings: OwnerSettings,
        log: Box<dyn Log>,
        outlet: Outlet,
        metrics: PartitionMetrics,
    ) -> Self {
        let OwnerSettings { partition, owner, started, window, window_bytes, .. } = settings;
        let (answer_within, retry_after) = (settings.answer_within, settings.retry_after);
        let chain = Chain::new(Settings {
            partition,
            owner: owner.clone(),
            started,
            window,
            window_bytes,
            answer_within,
            retry_after,
        });
        let (mut keep, mut fence) = (interval(KEEP_EVERY), interval(FENCE_EVERY));
        keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        fence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            partition,
            owner,
            answer_within,
            chain,
            log,
            outlet,
            sources: Vec::new(),
            attaching: Vec::new(),
            epoch: Epoch(0),
            lost: false,
            held: None,
            rebuild: None,
            ended: None,
            keep,
            fence,
            newest: 0,
            newest_then: 0,
            look_at: 0,
            marked: keep::Placed { number: 0, at: Instant::now() },
            stored: settings.stored,
            metrics,
        }
    }

    /// Writes the partition until its shards are gone and everything is durable, or until it is
    /// another's. Not to be dropped before: what is in flight would be unknown.
    pub(crate) async fn run(mut self) -> Ended {
        self.apply(Input::Take).await;
        let (mut drained, mut alarm) = (false, Alarm::default());
        loop {
            if let Some(ended) = self.ended.take() {
                return ended;
            }
            if drained && self.held.is_none() && self.chain.is_drained() {
                return Ended::Drained;
            }
            self.release_held().await;
            let ready = self.takes_more();
            alarm.set(self.chain.deadline());
            tokio::select! {
                biased;
                answer = poll_fn(|cx| self.log.poll_answer(cx)) => self.answer(answer).await,
                Some(ask) = self.outlet.asks.recv() => self.ask(ask).await,
                () = alarm.wait() => self.apply(Input::Tick).await,
                () = std::future::ready(()), if self.rebuild.is_some() && self.chain.is_open() => {
                    self.rebuild_page().await;
                }
                handed = self.outlet.records.recv(), if ready && !drained => match handed {
                    Some(handed) => self.hand_all(handed).await,
                    None => drained = true,
                },
                _ = self.keep.tick() => self.look_over().await,
                _ = self.fence.tick() => self.look_at_fence().await,
            }
            if self.newest >= self.look_at && self.chain.has_room() {
                self.look_over().await;
            }
            self.begin_again().await;
            self.metrics.in_flight(self.chain.in_flight());
        }
    }

    /// Lets shards begin again whose predecessors have nothing on its way any more.
    async fn begin_again(&mut self) {
        let held = self.held.as_ref().map(|held| held.source.0);
        let is_ready = |source: &Source, it: &Attaching| {
            it.behind == 0 && source.pending == 0 && held != Some(it.index)
        };
        while let Some(place) =
            self.attaching.iter().position(|it| is_ready(&self.sources[it.index], it))
        {
            let Attaching { index, reply, .. } = self.attaching.swap_remove(place);
            if self.chain.is_open() {
                self.open_source(index).await;
            }
            self.attached(index, reply);
        }
    }

    fn attached(&self, index: usize, reply: oneshot::Sender<Attached>) {
        let (source, standing) = (SourceIndex(index), self.sources[index].standing.subscribe());
        let _ = reply.send(Attached { source, standing }); // a shard that left is no loss
    }

    /// Applies an input to the chain, does what it asks for, and applies the answers to that.
    async fn apply(&mut self, input: Input<Tag>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.chain.handle(Instant::now(), input);
            while let Some(output) = self.chain.poll() {
                inputs.extend(self.carry_out(output).await);
            }
        }
    }

    async fn carry_out(&mut self, output: Output<Tag>) -> Option<Input<Tag>> {
        match output {
            Output::Publish(number, record) => self.log.publish(number, record),
            Output::ReadOwner => {
                return Some(Input::Owner(self.read_owner(self.answer_within).await));
            }
            Output::Mark(records) => return Some(Input::Marked(self.mark(records).await)),
            Output::ReadBefore { from, to } => {
                return Some(Input::Before(self.read_before(from, to).await));
            }
            Output::Opened(recalled) => self.opened(recalled).await,
            Output::Durable { tag, number } => self.durable(tag, number),
            Output::StoodDown(why) => self.stood_down(why),
        }
        None
    }

    async fn answer(&mut self, answer: Answer) {
        let input = match answer {
            Answer::Stored { number } => Input::Stored(number),
            Answer::Refused { number, refusal } => {
                self.metrics.refused(&refusal);
                if refusal != Refusal::Mismatch {
                    warn!(partition = %self.partition, number, %refusal, "the log refused a record");
                }
                Input::Refused(number, refused(&refusal))
            }
            Answer::Disconnected => Input::Disconnected,
        };
        self.apply(input).await;
    }

    async fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Attach(subject, reply) => self.attach(subject, reply).await,
            Ask::Verify(reply) => {
                let read = Instant::now();
                let owner = self.read_owner(self.answer_within).await;
                let ours = matches!(&owner, Ok(Some(marker)) if marker.owner == self.owner);
                self.apply(Input::Owner(owner)).await;
                if ours && self.chain.is_open() {
                    let _ = reply.send(read);
                }
            }
        }
    }

    /// A source that was here before keeps its memory.
    async fn attach(&mut self, subject: SourceSubject, reply: oneshot::Sender<Attached>) {
        if let Some(index) = self.sources.iter().position(|source| source.subject == subject) {
            let behind = self.outlet.records.len();
            self.attaching.push(Attaching { index, behind, reply });
            return;
        }
        let index = self.sources.len();
        self.sources.push(Source {
            subject,
            pending: 0,
            standing: watch::channel(Standing::Closed).0,
            memory: Memory::default(),
            freshness: Freshness::default(),
        });
        if self.chain.is_open() {
            self.open_source(index).await;
        }
        self.attached(index, reply);
    }

    async fn opened(&mut self, recalled: Recalled) {
        match recalled {
            Recalled::Kept => {
                debug!(partition = %self.partition, "recovered; memory holds");
                return;
            }
            Recalled::Forgotten => info!(partition = %self.partition, "partition taken"),
            Recalled::LogLost => {
                error!(partition = %self.partition, "the log lost acknowledged records");
            }
        }
        self.metrics.taken(recalled);
        self.lost |= recalled == Recalled::LogLost;
        self.epoch.0 += 1;
        self.held = None;
        self.start_rebuild().await;
        for index in 0..self.sources.len() {
            self.open_source(index).await;
        }
    }

    /// Reads a source's tail and tells its shard. A log that cannot be read is tried again with
    /// the next tick of [`KEEP_EVERY`].
    async fn open_source(&mut self, index: usize) {
        let filter = self.sources[index].subject.all();
        let newest = match within(self.answer_within, self.log.last(&filter)).await {
            Ok(newest) => newest,
            Err(refusal) => {
                warn!(partition = %self.partition, %refusal, "a source's tail cannot be read");
                return;
            }
        };
        let tail = match Tail::of(newest.as_ref().map(|stored| &stored.record)) {
            Tail::Absent if self.lost => Tail::Lost,
            tail => tail,
        };
        let source = &mut self.sources[index];
        source.freshness = Freshness::of(&tail, newest.as_ref(), Instant::now(), now().0);
        let known = Known { epoch: self.epoch, tail, durable: None, gaps: 0, ended: false };
        source.standing.send_replace(Standing::Open(known));
    }

    async fn start_rebuild(&mut self) {
        for source in &mut self.sources {
            source.memory.clear();
            source.pending = 0; // what was on its way is void
        }
        let since = now().0.saturating_sub(REMEMBERED.as_millis() as u64);
        let found = Rebuild::since(&mut *self.log, self.partition, since);
        let found = within(self.answer_within, found).await;
        self.rebuild = self.recalled(found).flatten();
    }

    async fn rebuild_page(&mut self) {
        let Some(rebuild) = self.rebuild.take() else { return };
        let read = rebuild.page(&mut *self.log, self.partition);
        let read = within(self.answer_within, read).await;
        let Some((page, rest)) = self.recalled(read) else { return };
        let now = Instant::now();
        for stored in &page {
            self.recall(now, stored);
        }
        self.rebuild = rest;
    }

    /// A log that cannot be read leaves ids unknown: their events are stored again under the same
    /// id, which is better than storing none.
    fn recalled<T>(&self, read: Result<T, Refusal>) -> Option<T> {
        read.inspect_err(|refusal| {
            warn!(partition = %self.partition, %refusal, "ids of before are not remembered");
        })
        .ok()
    }

    fn recall(&mut self, now: Instant, stored: &Stored) {
        let Some(event) = &stored.record.headers.event else { return };
        let subject = &stored.record.subject;
        let source = self.sources.iter_mut().find(|source| {
            let prefix = source.subject.to_string();
            subject.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with('.'))
        });
        if let Some(source) = source {
            let key = source.memory.key(&event.id);
            source.memory.remember(now, key, Place::Stored(stored.number));
        }
    }

    async fn release_held(&mut self) {
        if self.chain.has_room()
            && let Some(handed) = self.held.take()
        {
            self.hand(handed).await;
        }
    }

    /// Whether a record that comes now could be appended.
    fn takes_more(&self) -> bool {
        self.chain.has_room() && self.rebuild.is_none() && self.held.is_none()
    }

    /// Appends a record, and those that are there already.
    async fn hand_all(&mut self, first: Handed) {
        let mut next = Some(first);
        while let Some(handed) = next {
            for attaching in &mut self.attaching {
                attaching.behind = attaching.behind.saturating_sub(1);
            }
            self.hand(handed).await;
            next = if self.takes_more() { self.outlet.records.try_recv().ok() } else { None };
        }
    }

    async fn hand(&mut self, handed: Handed) {
        if handed.epoch != self.epoch {
            return; // made under a memory that is void: it comes again from the tail
        }
        let (index, now) = (handed.source.0, Instant::now());
        let source = &mut self.sources[index];
        let mut claimed = None;
        let (record, about) = match (&handed.record.headers.event, handed.about) {
            (Some(event), About::Event) => {
                let key = source.memory.key(&event.id);
                match (source.memory.place(key), handed.sighting) {
                    (None, Some(Sighted::Elsewhere(of))) => {
                        self.metrics.repeated();
                        (duplicate(&source.subject, &handed.record, of), Written::Frame)
                    }
                    (None, sighting) => {
                        if sighting == Some(Sighted::Ours) {
                            claimed = Some(Box::new((event.app.clone(), (*event.id).into())));
                        }
                        source.memory.remember(now, key, Place::Pending);
                        (handed.record, Written::Event(key))
                    }
                    (Some(Place::Stored(number)), _) => {
                        self.metrics.repeated();
                        let stream = self.partition.stream();
                        let of = LogPlace { stream, seq: number };
                        (duplicate(&source.subject, &handed.record, of), Written::Frame)
                    }
                    (Some(Place::Pending), sighting) => {
                        self.held = Some(Handed { sighting, ..handed });
                        return;
                    }
                }
            }
            (_, About::Gap) => (handed.record, Written::Gap),
            (_, About::Ended) => (handed.record, Written::Ended),
            (_, About::Event | About::Session) => (handed.record, Written::Frame),
        };
        self.sources[index].pending += 1;
        let tag = Tag {
            source: Some(index),
            epoch: handed.epoch,
            session: handed.session,
            seq: handed.seq,
            about,
            claimed,
            received: handed.received,
            _span: handed.span,
        };
        self.append(tag, record).await;
    }

    async fn append(&mut self, tag: Tag, mut record: Record) {
        record.headers.owner = Some(self.owner.clone());
        self.apply(Input::Append(Entry { tag, record })).await;
    }

    fn durable(&mut self, tag: Tag, number: u64) {
        let now = Instant::now();
        let placed = keep::Placed { number, at: now };
        self.newest = number;
        if tag.source.is_none() {
            self.marked = placed;
        }
        let Some(index) = tag.source.filter(|_| tag.epoch == self.epoch) else { return };
        let source = &mut self.sources[index];
        if !matches!(tag.about, Written::Upkeep) {
            source.pending -= 1;
        }
        let point = tag.session.map(|session| ResumePoint { session, seq: tag.seq });
        if let Some((app, id)) = tag.claimed.map(|claimed| *claimed) {
            let place = LogPlace { stream: self.partition.stream(), seq: number };
            // Who waits for it without hearing stores it as well, under the same id.
            let _ = self.stored.try_send(StoredEvent { app, id, place });
        }
        match tag.about {
            Written::Event(key) => source.memory.settle(key, number),
            Written::Frame | Written::Gap | Written::Ended | Written::Upkeep => {}
        }
        let is_end = matches!(tag.about, Written::Gap | Written::Ended);
        source.freshness.written(placed, point.as_ref(), is_end);
        if let Written::Event(_) | Written::Frame = tag.about {
            self.metrics.stored(now.saturating_duration_since(tag.received));
        }
        // Only gaps and ends are waited for. What is durable is looked at when a heartbeat or a RESUME goes out,
        // and waking a shard for each record would cost as much as reading it did.
        source.standing.send_if_modified(|standing| {
            let Standing::Open(known) = standing else { return false };
            match tag.about {
                Written::Gap => {
                    known.gaps += 1;
                    // What a gap gives up is not to be resumed, so the point before it is void.
                    known.durable = None;
                    return true;
                }
                Written::Ended => {
                    (known.durable, known.ended) = (None, true);
                    return true;
                }
                Written::Event(_) | Written::Frame => {
                    known.durable = point.map(|point| Durable { point, number });
                }
                Written::Upkeep => {}
            }
            false
        });
    }

    fn stood_down(&mut self, why: Why) {
        match &why {
            Why::Taken(by) => warn!(partition = %self.partition, %by, "partition is another's now"),
            Why::Forbidden => error!(
                partition = %self.partition,
                "the log forbids writing: allow this user to publish {}",
                self.partition.all()
            ),
        }
        self.metrics.lost();
        for source in &self.sources {
            source.standing.send_replace(Standing::Closed);
        }
        self.ended = Some(Ended::StoodDown(why));
    }

    /// Sources whose tail could not be read, and resume points that retention may take.
    async fn look_over(&mut self) {
        if !self.chain.is_open() {
            return;
        }
        for index in 0..self.sources.len() {
            if *self.sources[index].standing.borrow() == Standing::Closed {
                self.open_source(index).await;
            }
        }
        let extent = within(self.answer_within, self.log.extent()).await.inspect_err(|refusal| {
            warn!(partition = %self.partition, %refusal, "nobody says how near retention is");
        });
        let (extent, now) = (extent.ok(), Instant::now());
        self.look_at = extent.map_or(self.newest + LOOK_WITHOUT_EXTENT, keep::look_at);
        let sources = self.sources.iter().map(|source| &source.freshness);
        let due = keep::due(sources, now, extent);
        for index in due {
            if !self.chain.has_room() {
                self.look_at = self.newest; // the rest as soon as there is room
                return;
            }
            let source = &self.sources[index];
            let Some((point, record)) = source.freshness.kept(&source.subject) else { continue };
            let tag = self.upkeep(Some(index), Some(point));
            self.append(tag, record).await;
        }
        if self.chain.has_room() && self.marked.is_due(now, extent) {
            let (tag, marker) = (self.upkeep(None, None), self.chain.marker());
            self.append(tag, marker).await;
        }
    }

    fn upkeep(&self, source: Option<usize>, point: Option<ResumePoint>) -> Tag {
        let (session, seq) = point.map_or((None, 0), |point| (Some(point.session), point.seq));
        let (epoch, received, about) = (self.epoch, Instant::now(), Written::Upkeep);
        let (claimed, _span) = (None, Span::none());
        Tag { source, epoch, session, seq, about, claimed, received, _span }
    }

    /// What is stored says whose the partition is; where nothing is, somebody has to ask.
    async fn look_at_fence(&mut self) {
        let is_quiet = mem::replace(&mut self.newest_then, self.newest) == self.newest;
        if is_quiet
            && self.chain.is_open()
            && self.chain.is_drained()
            && let Ok(owner) = self.read_owner(FENCE_WITHIN).await
        {
            self.apply(Input::Owner(Ok(owner))).await;
        }
    }

    async fn read_owner(&mut self, limit: Duration) -> Result<Option<Ownership>, Refused> {
        let newest = within(limit, self.log.last(&self.partition.ownership())).await;
        let newest = newest.map_err(|refusal| refused(&refusal))?;
        let read = |stored: Stored| serde_json::from_slice(&stored.record.payload);
        newest.map(read).transpose().map_err(|_| Refused::Unknown)
    }

    async fn mark(&mut self, records: Vec<Record>) -> Result<u64, Refused> {
        let marked = within(self.answer_within, self.log.mark(records)).await;
        if let Ok(number) = marked {
            (self.marked, self.newest) = (keep::Placed { number, at: Instant::now() }, number);
        }
        marked.map_err(|refusal| {
            warn!(partition = %self.partition, %refusal, "the partition could not be marked");
            refused(&refusal)
        })
    }

    async fn read_before(&mut self, from: u64, to: u64) -> Result<Vec<Stored>, Refused> {
        let limit = usize::try_from(to + 1 - from).map_err(|_| Refused::Unknown)?;
        let all = self.partition.all();
        let read = within(self.answer_within, self.log.range(&all, from, limit)).await;
        let mut read = read.map_err(|refusal| refused(&refusal))?;
        read.retain(|stored| stored.number <= to);
        Ok(read)
    }
}

/// What an event that the log has already becomes.
fn duplicate(source: &SourceSubject, record: &Record, of: LogPlace) -> Record {
    let id = record.headers.event.as_ref().map_or_else(String::new, |event| event.id.to_string());
    let payload = serde_json::to_vec(&Duplicate { of, id }).expect("a duplicate is plain data");
    Record {
        subject: source.duplicate(),
        headers: Headers { event: None, ..record.headers.clone() },
        payload: payload.into(),
    }
}

fn refused(refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::Mismatch => Refused::Mismatch,
        Refusal::Never(_) => Refused::Never,
        Refusal::Busy(_) => Refused::Busy,
        Refusal::Forbidden(_) => Refused::Forbidden,
        Refusal::Unknown(_) => Refused::Unknown,
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    timeout(limit, answer).await.unwrap_or_else(|_| Err(Refusal::Unknown("time is up".to_owned())))
}
