//! What IDENTIFY creates and RESUME continues: a sequence, and what is kept of it.
//!
//! A session numbers its frames whether or not somebody is connected. Frames are not pushed at a
//! socket; the socket reads on from its own place, so a slow one holds nobody back.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use qqrelay_proto::id::SessionId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::frame;
use super::link::Link;
use crate::app::AppHandle;
use crate::clock::WallMs;
use crate::config::{Replay, ResumedFrames, SecondSocket};
use crate::events::Event;
use crate::flood::Stream;
use crate::journal::{Entry, Journal};
use crate::lock;
use crate::shard::Shard;

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub app: AppHandle,
    /// The slice of events it gets.
    pub shard: Shard,
    /// The intents it was opened with.
    pub intents: u32,
    journal: Arc<Journal>,
    replay: Replay,
    /// Makes the events of a flood; all others are in what is kept.
    flood: Option<Stream>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last_seq: u64,
    kept: VecDeque<Kept>,
    /// Sequences of a flood under which nothing is sent, as ranges.
    holes: Vec<RangeInclusive<u64>>,
    /// Nothing up to here can be sent again.
    forgotten: u64,
    socket: Option<Socket>,
    /// Since when nobody is connected.
    alone_since: WallMs,
    silence: Silence,
    over: bool,
}

#[derive(Debug)]
struct Kept {
    seq: u64,
    at: WallMs,
    frame: Bytes,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Resumed,
    Other,
}

#[derive(Debug)]
struct Socket {
    link: Arc<Link>,
    /// The next sequence to write.
    next: u64,
    /// Frames that may wait for it; what it came for does not count against it.
    patience: usize,
    too_slow: bool,
}

/// What a session leaves out for the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Silence {
    /// Events pass it by: they get no sequence, as if the platform had forgotten the session.
    pub dispatches: bool,
    /// Heartbeats are not answered.
    pub acks: bool,
}

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// The injection.
    pub injection: u64,
    /// The injection it repeats.
    pub repeat_of: Option<u64>,
}

/// Why a RESUME does not go on with this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotResume {
    /// The session has ended.
    Over,
    /// The sequence was never given out.
    Ahead,
    /// What follows the sequence is no longer kept.
    TooOld,
    /// Another socket has it, and keeps it.
    Taken,
}

/// Whether a resumed client is told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// RESUMED follows the replay.
    Said,
    /// Nothing does.
    Omitted,
}

/// What a socket gets to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Some frames, and how many of them are new events of a flood.
    Frames {
        /// New events, which got their sequence just now.
        fresh: u64,
    },
    /// Nothing yet.
    Nothing,
    /// More has gathered than may wait.
    TooSlow,
    /// The session has another socket, or none.
    NotMine,
}

impl Session {
    /// A session whose READY is its first frame.
    #[must_use]
    pub(super) fn begin(
        (id, app): (SessionId, AppHandle),
        (shard, intents): (Shard, u32),
        (replay, flood): (Replay, Option<Stream>),
        journal: Arc<Journal>,
    ) -> Self {
        let state = State {
            last_seq: 0,
            kept: VecDeque::new(),
            holes: Vec::new(),
            forgotten: 0,
            socket: None,
            alone_since: 0,
            silence: Silence::default(),
            over: false,
        };
        Self { id, app, shard, intents, journal, replay, flood, state: Mutex::new(state) }
    }

    /// Sends READY with this payload to its first socket.
    pub fn ready(&self, link: Arc<Link>, d: &Value, now: WallMs) -> u64 {
        let mut state = self.state();
        let connection = link.number;
        let patience = self.replay.waiting;
        state.socket = Some(Socket { link, next: 1, patience, too_slow: false });
        let (app, shard, session) = (self.app.id.clone(), self.shard, self.id.clone());
        let seq = state.last_seq + 1;
        self.journal.record(Entry::Ready { connection, app, shard, session, seq });
        state.keep(Kind::Other, control("READY", d, seq), now, &self.replay);
        seq
    }

    /// Gives the session to a new socket, which gets all after `after` and then RESUMED, and tells
    /// which socket had it.
    ///
    /// # Errors
    ///
    /// When the session cannot go on from there; it then stays as it was.
    pub fn resume(
        &self,
        link: Arc<Link>,
        after: u64,
        (rule, greeting): (SecondSocket, Greeting),
        now: WallMs,
    ) -> Result<Option<Arc<Link>>, CannotResume> {
        let mut state = self.state();
        if state.over || state.is_expired(now, &self.replay) {
            return Err(CannotResume::Over);
        }
        state.forget(now, &self.replay);
        if after > state.last_seq {
            return Err(CannotResume::Ahead);
        }
        if after < state.forgotten {
            return Err(CannotResume::TooOld);
        }
        if state.socket.is_some() && rule == SecondSocket::OldestWins {
            return Err(CannotResume::Taken);
        }
        let connection = link.number;
        let patience = state.kept.len() + self.replay.waiting;
        let socket = Socket { link, next: after + 1, patience, too_slow: false };
        let replaced = state.socket.replace(socket).map(|socket| socket.link);
        if greeting == Greeting::Said {
            let seq = state.last_seq + 1;
            let (app, shard, session) = (self.app.id.clone(), self.shard, self.id.clone());
            self.journal.record(Entry::Resumed { connection, app, shard, session, after, seq });
            state.keep(Kind::Resumed, control("RESUMED", &json!(""), seq), now, &self.replay);
        }
        Ok(replaced)
    }

    /// Gives an event its sequence here; none when the session is over or silent.
    pub fn push(&self, event: &Event, cause: Cause, now: WallMs) -> Option<u64> {
        let mut state = self.state();
        if state.over || state.silence.dispatches {
            return None;
        }
        let seq = state.last_seq + 1;
        self.journal.record(Entry::Dispatch {
            app: self.app.id.clone(),
            shard: self.shard,
            session: self.id.clone(),
            seq,
            t: Arc::clone(&event.t),
            event_id: event.id.clone(),
            injection: cause.injection,
            repeat_of: cause.repeat_of,
        });
        let frame = frame::text(&event.envelope(seq));
        state.keep(Kind::Other, frame, now, &self.replay);
        Some(seq)
    }

    /// Appends what the socket has not written yet, at most about `room` bytes, and up to `fresh` new
    /// events of a flood.
    pub fn read(&self, connection: u64, out: &mut Vec<u8>, room: usize, fresh: u64) -> Reading {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(socket) = state.socket.as_mut().filter(|s| s.link.number == connection) else {
            return Reading::NotMine;
        };
        if socket.too_slow {
            return Reading::TooSlow;
        }
        match &self.flood {
            Some(flood) => state.read_flood(flood, out, room, fresh),
            None => state.read_kept(out, room),
        }
    }

    /// The socket is gone; the session waits for the next one.
    pub fn let_go(&self, connection: u64, now: WallMs) {
        let mut state = self.state();
        if state.socket.as_ref().is_some_and(|socket| socket.link.number == connection) {
            state.socket = None;
            state.alone_since = now;
        }
    }

    /// Ends it for good.
    pub fn end(&self, why: &str) {
        let mut state = self.state();
        if !state.over {
            state.over = true;
            state.socket = None;
            state.kept.clear();
            self.journal.record(Entry::Ended {
                app: self.app.id.clone(),
                shard: self.shard,
                session: self.id.clone(),
                last_seq: state.last_seq,
                why: why.to_owned(),
            });
        }
    }

    /// Whether nobody came back for it in time.
    #[must_use]
    pub fn is_expired(&self, now: WallMs) -> bool {
        self.state().is_expired(now, &self.replay)
    }

    /// Leaves out the next sequences: nothing will ever be sent under them.
    pub fn skip(&self, count: u64) {
        let mut state = self.state();
        let from = state.last_seq + 1;
        state.last_seq += count;
        let to = state.last_seq;
        if self.flood.is_some() {
            state.holes.push(from..=to);
        }
        self.journal.record(Entry::Skipped { session: self.id.clone(), from, to });
    }

    /// The frames that are kept of these sequences, to send them once more.
    #[must_use]
    pub fn kept(&self, from: u64, to: u64) -> Vec<Bytes> {
        let state = self.state();
        let within = state.kept.iter().filter(|kept| (from..=to).contains(&kept.seq));
        within.map(|kept| kept.frame.clone()).collect()
    }

    /// The newest sequence.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.state().last_seq
    }

    /// The socket it has.
    #[must_use]
    pub fn link(&self) -> Option<Arc<Link>> {
        self.state().socket.as_ref().map(|socket| Arc::clone(&socket.link))
    }

    /// The sequence its socket has written; of a session without one, none.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        self.state().socket.as_ref().map(|socket| socket.next - 1)
    }

    /// What it leaves out.
    #[must_use]
    pub fn silence(&self) -> Silence {
        self.state().silence
    }

    /// Changes what it leaves out.
    pub fn set_silence(&self, silence: Silence) {
        self.state().silence = silence;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// READY and RESUMED, which have no id of their own.
fn control(t: &str, d: &Value, seq: u64) -> Bytes {
    frame::text(&Event::new(t, None, d.clone()).envelope(seq))
}

impl State {
    /// Takes the next sequence for a frame.
    fn keep(&mut self, kind: Kind, frame: Bytes, now: WallMs, rule: &Replay) {
        if let Some(socket) = &mut self.socket {
            let waiting = self.kept.len() - self.kept.partition_point(|k| k.seq < socket.next);
            socket.too_slow |= waiting >= socket.patience;
            socket.link.wake();
        }
        if kind == Kind::Resumed && rule.resumed == ResumedFrames::Forgotten {
            self.kept.retain(|kept| kept.kind != Kind::Resumed);
        }
        self.last_seq += 1;
        self.kept.push_back(Kept { seq: self.last_seq, at: now, frame, kind });
        self.forget(now, rule);
    }

    fn read_kept(&mut self, out: &mut Vec<u8>, room: usize) -> Reading {
        let Some(socket) = &mut self.socket else { return Reading::NotMine };
        let start = self.kept.partition_point(|kept| kept.seq < socket.next);
        let before = out.len();
        for kept in self.kept.range(start..) {
            if out.len() > before && out.len() + kept.frame.len() > room {
                break;
            }
            out.extend_from_slice(&kept.frame);
            socket.next = kept.seq + 1;
        }
        if out.len() == before { Reading::Nothing } else { Reading::Frames { fresh: 0 } }
    }

    /// Joins what is kept with what a flood makes: at each sequence there is one or the other.
    fn read_flood(
        &mut self,
        flood: &Stream,
        out: &mut Vec<u8>,
        room: usize,
        allowed: u64,
    ) -> Reading {
        let Some(socket) = &mut self.socket else { return Reading::NotMine };
        let allowed = if self.silence.dispatches { 0 } else { allowed };
        let (before, mut fresh) = (out.len(), 0);
        let start = self.kept.partition_point(|kept| kept.seq < socket.next);
        let mut kept = self.kept.range(start..).peekable();
        while out.len() < room {
            if let Some(kept) = kept.next_if(|kept| kept.seq == socket.next) {
                out.extend_from_slice(&kept.frame);
            } else if socket.next <= self.last_seq {
                if !self.holes.iter().any(|hole| hole.contains(&socket.next)) {
                    flood.append(socket.next, out);
                }
            } else if fresh < allowed {
                self.last_seq += 1;
                fresh += 1;
                flood.append(socket.next, out);
            } else {
                break;
            }
            socket.next += 1;
        }
        if out.len() == before { Reading::Nothing } else { Reading::Frames { fresh } }
    }

    /// Drops what is too old or too much, but nothing that a live socket has yet to write.
    fn forget(&mut self, now: WallMs, rule: &Replay) {
        let wanted = self.socket.as_ref().filter(|s| !s.too_slow).map_or(u64::MAX, |s| s.next);
        let oldest = now - millis(rule);
        while let Some(kept) = self.kept.front()
            && kept.seq < wanted
            && (self.kept.len() > rule.frames || kept.at < oldest)
        {
            self.forgotten = kept.seq;
            self.kept.pop_front();
        }
    }

    fn is_expired(&self, now: WallMs, rule: &Replay) -> bool {
        self.over || (self.socket.is_none() && now - self.alone_since > millis(rule))
    }
}

fn millis(rule: &Replay) -> WallMs {
    i64::try_from(rule.window.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
