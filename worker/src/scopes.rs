//! One lane's order: a queue per scope, first in first out inside it, scopes beside each other.
//!
//! A machine without I/O: tell it what arrived and what became of work, drain [`Scopes::poll`], do
//! what it says. The rule a newcomer would break: an event is never skipped to keep a lane moving.
//! What a scope has no room for goes to the dead letters, in order, and is acknowledged only once
//! it lies there.

mod piece;
mod track;
mod twins;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use qqrelay_runtime::bus::{Position, WorkStream};

pub use self::piece::{Bounds, Cause, Identity, Output, Piece};
use self::track::{Stage, Track};
use self::twins::{Joined, Twins};

/// Whether pieces are taken in and started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    /// Only what is in hand goes on.
    Draining,
}

#[derive(Debug)]
struct Queue<K, T> {
    in_hand: Option<Position>,
    waiting: VecDeque<Piece<K, T>>,
    bytes: usize,
}

impl<K, T> Default for Queue<K, T> {
    fn default() -> Self {
        Self { in_hand: None, waiting: VecDeque::new(), bytes: 0 }
    }
}

/// What the machine keeps of a piece that has left its queue and is not over.
#[derive(Debug)]
struct Away<K> {
    /// The scope it holds; `None` of one on its way to the dead letters.
    scope: Option<K>,
    identity: Option<Identity>,
    bytes: usize,
}

/// The queues of one lane.
#[derive(Debug)]
pub struct Scopes<K, T> {
    bounds: Bounds,
    intake: Intake,
    queues: HashMap<K, Queue<K, T>>,
    /// Scopes that have work and nothing in hand, the longest waiting first.
    ready: VecDeque<K>,
    away: HashMap<Position, Away<K>>,
    twins: Twins,
    tracks: BTreeMap<WorkStream, Track>,
    in_hand: usize,
    waiting: usize,
    bytes: usize,
    outputs: VecDeque<Output<K, T>>,
}

impl<K: Clone + Eq + Hash, T> Scopes<K, T> {
    /// A lane with nothing in it.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            intake: Intake::Open,
            queues: HashMap::new(),
            ready: VecDeque::new(),
            away: HashMap::new(),
            twins: Twins::default(),
            tracks: BTreeMap::new(),
            in_hand: 0,
            waiting: 0,
            bytes: 0,
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to do; drain it to `None` after every input.
    pub fn poll(&mut self) -> Option<Output<K, T>> {
        self.outputs.pop_front()
    }

    /// Whether the lane has room for more. Where it has not, what is in hand makes some.
    #[must_use]
    pub const fn wants_more(&self) -> bool {
        matches!(self.intake, Intake::Open) && self.bytes < self.bounds.lane_bytes
    }

    /// Whether a delivery of this position needs a look at its done mark.
    #[must_use]
    pub fn is_new(&self, position: Position, delivered: u32) -> bool {
        delivered <= 1 && !self.is_open(position)
    }

    /// A piece was delivered, for the `delivered`th time by this feed.
    ///
    /// What is open is left alone; what this feed gave before and is open no more was finished,
    /// and its acknowledgement was lost.
    pub fn arrive(&mut self, piece: Piece<K, T>, delivered: u32) {
        let position = piece.position;
        if self.intake == Intake::Draining || self.is_open(position) {
            return;
        }
        if delivered > 1 {
            self.outputs.push_back(Output::Ack(position));
            return;
        }
        if let Some(joined) = self.twins.join(position, piece.identity.as_ref()) {
            self.track(position.stream).open(position.number, Stage::Twin);
            if joined == Joined::Over {
                self.settle(position, piece.identity);
            }
        } else if self.has_room(&piece) {
            self.track(position.stream).open(position.number, Stage::Waiting);
            self.enqueue(piece);
        } else {
            self.track(position.stream).open(position.number, Stage::Leaving);
            self.leave(piece, Cause::Overflow);
        }
        self.pump();
    }

    /// A delivered piece has its done mark: another holder of the lane finished it.
    pub fn arrive_finished(&mut self, position: Position) {
        if self.intake == Intake::Open && !self.is_open(position) {
            self.track(position.stream).close(position.number);
            self.track(position.stream).pass();
            self.outputs.push_back(Output::Ack(position));
            self.pump();
        }
    }

    /// A started or dead-lettered piece is over, whatever came of it. The next of its scope starts.
    ///
    /// # Panics
    ///
    /// The piece was neither started nor on its way to the dead letters.
    pub fn finished(&mut self, position: Position) {
        let away = self.away.remove(&position).expect("only a piece that left its queue is over");
        self.bytes -= away.bytes;
        self.settle(position, away.identity.clone());
        for twin in self.twins.over(position) {
            self.settle(twin, away.identity.clone());
        }
        if let Some(scope) = away.scope {
            self.in_hand -= 1;
            self.release(scope);
        }
        self.pump();
    }

    /// A started piece was given back undone: it comes again to whoever holds the lane next.
    ///
    /// # Panics
    ///
    /// The piece was not started, or the lane is not draining: its scope would go on without it.
    pub fn abandoned(&mut self, position: Position) {
        assert_eq!(self.intake, Intake::Draining, "only a draining lane gives work back");
        let away = self.away.remove(&position).expect("only a started piece is abandoned");
        self.bytes -= away.bytes;
        self.forget(position);
        if away.scope.is_some() {
            self.in_hand -= 1;
        }
    }

    /// Its done mark stands: it is acknowledged, wherever the floor is.
    pub fn settled(&mut self, position: Position) {
        if matches!(self.stage(position), Some(Stage::Finished | Stage::Unmarked)) {
            self.track(position.stream).close(position.number);
            self.acknowledge(position);
        }
        self.acknowledge_floor(position.stream);
        self.pump();
    }

    /// Its done mark could not be written: it is acknowledged when nothing below it is open. Gives
    /// whether that is still to come, so that writing the mark is worth another try.
    pub fn unmarked(&mut self, position: Position) -> bool {
        if self.stage(position) == Some(Stage::Finished) {
            self.track(position.stream).advance(position.number, Stage::Unmarked);
        }
        self.acknowledge_floor(position.stream);
        self.pump();
        self.stage(position).is_some()
    }

    /// The feed was opened anew: what waits is forgotten, for it comes again in order. What is in
    /// hand goes on, and its delivery is recognised.
    pub fn reopened(&mut self) {
        self.ready.clear();
        let mut forgotten = Vec::new();
        for queue in self.queues.values_mut() {
            forgotten.extend(queue.waiting.drain(..));
            queue.bytes = 0;
        }
        self.queues.retain(|_, queue| queue.in_hand.is_some());
        for piece in forgotten {
            self.waiting -= 1;
            self.bytes -= piece.bytes;
            self.forget(piece.position);
        }
    }

    /// Takes nothing in and starts nothing from now on; what waits is left to the next holder.
    pub fn drain(&mut self) {
        self.intake = Intake::Draining;
        self.reopened();
    }

    /// Whether nothing is in hand, on its way to the dead letters, or about to be settled.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting == 0 && self.tracks.values().all(Track::is_idle)
    }

    /// Pieces that wait, over all scopes.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Pieces that are worked on.
    #[must_use]
    pub const fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Bytes of all pieces that are not over.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Positions of each stream that were delivered and are not acknowledged.
    pub fn unacknowledged(&self) -> impl Iterator<Item = (WorkStream, usize)> {
        self.tracks.iter().map(|(&stream, track)| (stream, track.len()))
    }

    fn has_room(&self, piece: &Piece<K, T>) -> bool {
        self.queues.get(&piece.scope).is_none_or(|queue| {
            let fits = queue.bytes + piece.bytes <= self.bounds.scope_bytes;
            queue.waiting.is_empty() || (fits && queue.waiting.len() < self.bounds.scope_pieces)
        })
    }

    fn enqueue(&mut self, piece: Piece<K, T>) {
        self.waiting += 1;
        self.bytes += piece.bytes;
        self.twins.lead(&piece.identity, piece.position);
        let queue = self.queues.entry(piece.scope.clone()).or_default();
        if queue.in_hand.is_none() && queue.waiting.is_empty() {
            self.ready.push_back(piece.scope.clone());
        }
        queue.bytes += piece.bytes;
        queue.waiting.push_back(piece);
    }

    /// Sends a piece that is in no queue to the dead letters.
    fn leave(&mut self, piece: Piece<K, T>, cause: Cause) {
        self.bytes += piece.bytes;
        self.twins.lead(&piece.identity, piece.position);
        let (identity, bytes) = (piece.identity.clone(), piece.bytes);
        self.away.insert(piece.position, Away { scope: None, identity, bytes });
        self.outputs.push_back(Output::DeadLetter(piece, cause));
    }

    fn settle(&mut self, position: Position, identity: Option<Identity>) {
        self.track(position.stream).advance(position.number, Stage::Finished);
        self.outputs.push_back(Output::Settle(position, identity));
    }

    /// Drops a piece, and other records of the same event. They come again, and until then nothing
    /// above them is acknowledged without a mark.
    fn forget(&mut self, position: Position) {
        for gone in self.twins.forget(position).into_iter().chain([position]) {
            self.track(gone.stream).advance(gone.number, Stage::Expected);
        }
    }

    /// The scope has nothing in hand any more.
    fn release(&mut self, scope: K) {
        let Some(queue) = self.queues.get_mut(&scope) else { return };
        queue.in_hand = None;
        if queue.waiting.is_empty() {
            self.queues.remove(&scope);
        } else {
            self.ready.push_back(scope);
        }
    }

    fn acknowledge_floor(&mut self, stream: WorkStream) {
        while let Some(number) = self.track(stream).pop_unmarked_floor() {
            self.acknowledge(Position { stream, number });
        }
    }

    fn acknowledge(&mut self, position: Position) {
        self.twins.forget(position);
        self.outputs.push_back(Output::Ack(position));
    }

    /// Starts what may start, and gives up what holds a floor too long.
    fn pump(&mut self) {
        if self.intake == Intake::Draining {
            return;
        }
        while self.in_hand < self.bounds.in_hand {
            let Some(scope) = self.ready.pop_front() else { break };
            self.start(&scope);
        }
        let most = self.bounds.above_floor;
        let stuck = self.tracks.iter().find_map(|(&stream, track)| {
            track.stuck(most).map(|(number, stage)| (Position { stream, number }, stage))
        });
        if let Some((position, stage)) = stuck {
            self.give_up(position, stage);
        }
    }

    fn start(&mut self, scope: &K) {
        let queue = self.queues.get_mut(scope).expect("a ready scope has a queue");
        let piece = queue.waiting.pop_front().expect("a ready scope has work");
        queue.bytes -= piece.bytes;
        queue.in_hand = Some(piece.position);
        self.waiting -= 1;
        self.in_hand += 1;
        let (identity, bytes) = (piece.identity.clone(), piece.bytes);
        self.away.insert(piece.position, Away { scope: Some(scope.clone()), identity, bytes });
        self.track(piece.position.stream)
            .advance(piece.position.number, Stage::InHand { asked: false });
        self.outputs.push_back(Output::Start(piece));
    }

    fn give_up(&mut self, position: Position, stage: Stage) {
        match stage {
            Stage::Waiting => {
                let piece = self.withdraw(position);
                self.track(position.stream).advance(position.number, Stage::Leaving);
                self.leave(piece, Cause::Stuck);
            }
            Stage::InHand { asked: false } => {
                self.track(position.stream).advance(position.number, Stage::InHand { asked: true });
                self.outputs.push_back(Output::Stop(position));
            }
            // A twin is over when its leader is.
            Stage::Twin => {
                let leader = self.twins.leader_of(position);
                if let Some((leader, stage)) = leader.and_then(|at| Some((at, self.stage(at)?))) {
                    self.give_up(leader, stage);
                }
            }
            // It was kept for no longer, or the feed will give it yet.
            Stage::Expected => self.track(position.stream).close(position.number),
            Stage::InHand { asked: true } | Stage::Leaving | Stage::Finished | Stage::Unmarked => {}
        }
    }

    /// Takes a waiting piece out of the middle of its queue.
    fn withdraw(&mut self, position: Position) -> Piece<K, T> {
        let (scope, at) = self
            .queues
            .iter()
            .find_map(|(scope, queue)| {
                let at = queue.waiting.iter().position(|piece| piece.position == position)?;
                Some((scope.clone(), at))
            })
            .expect("a waiting piece is in a queue");
        let queue = self.queues.get_mut(&scope).expect("it was just found");
        let piece = queue.waiting.remove(at).expect("it was just found");
        queue.bytes -= piece.bytes;
        self.waiting -= 1;
        self.bytes -= piece.bytes;
        if queue.waiting.is_empty() && queue.in_hand.is_none() {
            self.queues.remove(&scope);
            self.ready.retain(|ready| *ready != scope);
        }
        piece
    }

    fn is_open(&self, position: Position) -> bool {
        self.stage(position).is_some_and(|stage| stage != Stage::Expected)
    }

    fn stage(&self, position: Position) -> Option<Stage> {
        self.tracks.get(&position.stream)?.stage(position.number)
    }

    fn track(&mut self, stream: WorkStream) -> &mut Track {
        self.tracks.entry(stream).or_default()
    }
}
