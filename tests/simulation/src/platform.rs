//! The platform, as a bot's gateway sees it: sessions with sequences and a window of replay, and
//! everything that it may do to them.

use std::collections::{BTreeMap, VecDeque};

use qqrelay_proto::close::CloseCode;
use qqrelay_proto::id::{Seq, SessionId};

/// A socket, as both ends number it.
pub(crate) type Link = u64;

/// What a socket carries to the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Up {
    /// It opens.
    Open,
    /// IDENTIFY of this shard.
    Identify(u16),
    /// RESUME.
    Resume(SessionId, Seq),
    /// A heartbeat.
    Heartbeat(Option<Seq>),
    /// A close frame.
    Close,
}

/// What a socket carries from the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Down {
    /// HELLO.
    Hello,
    /// A dispatch.
    Dispatch(Seq, Frame),
    /// A heartbeat's answer.
    Ack,
    /// Opcode 7.
    Reconnect,
    /// Opcode 9.
    InvalidSession,
    /// A close frame, or the end of the transport.
    Closed(Option<CloseCode>),
}

/// What a sequence was given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// READY of this session.
    Ready(SessionId),
    /// RESUMED.
    Resumed,
    /// Something that happened; the same number again is the same event, pushed again.
    Event(u64),
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// The shard that it was begun for.
    pub(crate) shard: u16,
    /// Every frame that it ever got, from sequence 1.
    pub(crate) frames: Vec<Frame>,
    /// The first that would still be sent again.
    kept_from: Seq,
    link: Option<Link>,
    /// Whether it can be resumed.
    alive: bool,
}

/// What of it a schedule may choose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Frames that are kept for a session that nobody listens to.
    pub(crate) replay: usize,
    /// IDENTIFYs in any 5 s.
    pub(crate) max_concurrency: u32,
}

/// The platform.
#[derive(Debug)]
pub(crate) struct Platform {
    habits: Habits,
    /// By id; ids are numbers in the order of their beginning.
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    links: BTreeMap<Link, Option<SessionId>>,
    /// When IDENTIFYs came, in milliseconds.
    pub(crate) identifies: Vec<u64>,
    /// When sessions began.
    begun: Vec<u64>,
    events: u64,
    /// The last events of each shard, for those that are pushed again.
    recent: BTreeMap<u16, VecDeque<u64>>,
}

impl Platform {
    /// A platform that has seen nobody yet.
    #[must_use]
    pub(crate) const fn new(habits: Habits) -> Self {
        Self {
            habits,
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            identifies: Vec::new(),
            begun: Vec::new(),
            events: 0,
            recent: BTreeMap::new(),
        }
    }

    /// Takes what came over a socket at `now_ms`; gives what goes out, by socket.
    pub(crate) fn take(&mut self, now_ms: u64, link: Link, up: Up) -> Vec<(Link, Down)> {
        match up {
            Up::Open => {
                self.links.insert(link, None);
                vec![(link, Down::Hello)]
            }
            _ if !self.links.contains_key(&link) => Vec::new(), // the platform has closed it
            Up::Heartbeat(_) => vec![(link, Down::Ack)],
            Up::Close => {
                self.unlink(link);
                Vec::new()
            }
            Up::Identify(shard) => self.identify(now_ms, link, shard),
            Up::Resume(session, seq) => self.resume(link, &session, seq),
        }
    }

    fn identify(&mut self, now_ms: u64, link: Link, shard: u16) -> Vec<(Link, Down)> {
        self.identifies.push(now_ms);
        let recent = self.begun.iter().filter(|at| now_ms - **at < 5_000).count();
        if recent >= self.habits.max_concurrency as usize {
            return vec![(link, Down::InvalidSession)];
        }
        self.begun.push(now_ms);
        // A new session of a shard ends the one before it.
        let mut out = Vec::new();
        let older = self.sessions.values_mut().filter(|it| it.shard == shard && it.alive);
        for session in older {
            session.alive = false;
            out.extend(session.link.take().map(|old| (old, Down::Closed(Some(CloseCode(4009))))));
        }
        for (old, _) in &out {
            self.links.remove(old);
        }
        let id = SessionId::from(format!("s{:05}", self.sessions.len()));
        let ready = Frame::Ready(id.clone());
        let session = Session {
            shard,
            frames: vec![ready.clone()],
            kept_from: 1,
            link: Some(link),
            alive: true,
        };
        self.sessions.insert(id.clone(), session);
        self.links.insert(link, Some(id));
        out.push((link, Down::Dispatch(1, ready)));
        out
    }

    fn resume(&mut self, link: Link, id: &SessionId, seq: Seq) -> Vec<(Link, Down)> {
        let Some(session) = self.sessions.get_mut(id).filter(|session| session.alive) else {
            return vec![(link, Down::InvalidSession)];
        };
        let newest = session.frames.len() as Seq;
        if seq > newest || seq + 1 < session.kept_from {
            session.alive = false;
            return vec![(link, Down::InvalidSession)];
        }
        let mut out = Vec::new();
        if let Some(old) = session.link.replace(link).filter(|old| *old != link) {
            self.links.remove(&old);
            out.push((old, Down::Closed(Some(CloseCode(4902)))));
        }
        self.links.insert(link, Some(id.clone()));
        let missed = session.frames.iter().zip(1..).skip(usize::try_from(seq).unwrap_or(0));
        out.extend(missed.map(|(frame, seq)| (link, Down::Dispatch(seq, frame.clone()))));
        session.frames.push(Frame::Resumed);
        out.push((link, Down::Dispatch(newest + 1, Frame::Resumed)));
        out
    }

    /// Something happens to a shard; where `again` is given, it is one of its last events once more.
    pub(crate) fn happen(&mut self, shard: u16, again: Option<usize>) -> Option<(Link, Down)> {
        let recent = self.recent.entry(shard).or_default();
        let event = again.and_then(|back| recent.get(back).copied()).unwrap_or_else(|| {
            self.events += 1;
            recent.push_front(self.events);
            recent.truncate(8);
            self.events
        });
        let session = self.sessions.values_mut().find(|it| it.shard == shard && it.alive)?;
        session.frames.push(Frame::Event(event));
        let seq = session.frames.len() as Seq;
        if session.link.is_none() {
            let kept = seq.saturating_sub(self.habits.replay as Seq) + 1;
            session.kept_from = session.kept_from.max(kept);
        }
        session.link.map(|link| (link, Down::Dispatch(seq, Frame::Event(event))))
    }

    /// The socket of a shard's session, if it has one.
    #[must_use]
    pub(crate) fn link_of(&self, shard: u16) -> Option<Link> {
        self.sessions.values().find(|it| it.shard == shard && it.alive)?.link
    }

    /// The session of a socket.
    #[must_use]
    pub(crate) fn session_of(&self, link: Link) -> Option<SessionId> {
        self.links.get(&link)?.clone()
    }

    /// The platform closes a socket.
    pub(crate) fn close(&mut self, link: Link, code: Option<CloseCode>) -> Option<(Link, Down)> {
        self.links.contains_key(&link).then(|| {
            self.unlink(link);
            (link, Down::Closed(code))
        })
    }

    /// The session of a shard ends for good; its socket hears op 9.
    pub(crate) fn end_session(&mut self, shard: u16) -> Option<(Link, Down)> {
        let session = self.sessions.values_mut().find(|it| it.shard == shard && it.alive)?;
        session.alive = false;
        let link = session.link.take()?;
        self.links.insert(link, None);
        Some((link, Down::InvalidSession))
    }

    /// Whether every shard has a session with a socket.
    #[must_use]
    pub(crate) fn is_whole(&self, shards: u16) -> bool {
        (0..shards).all(|shard| self.link_of(shard).is_some())
    }

    fn unlink(&mut self, link: Link) {
        if let Some(Some(id)) = self.links.remove(&link)
            && let Some(session) = self.sessions.get_mut(&id)
            && session.link == Some(link)
        {
            session.link = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HABITS: Habits = Habits { replay: 2, max_concurrency: 1 };

    fn with_session() -> Platform {
        let mut platform = Platform::new(HABITS);
        platform.take(0, 1, Up::Open);
        platform.take(0, 1, Up::Identify(0));
        platform
    }

    #[test]
    fn a_resume_sends_again_what_was_missed_and_takes_the_socket_over() {
        let mut platform = with_session();
        platform.happen(0, None);
        platform.take(1, 2, Up::Open);
        let out = platform.take(1, 2, Up::Resume("s00000".into(), 1));
        let expected = [
            (1, Down::Closed(Some(CloseCode(4902)))),
            (2, Down::Dispatch(2, Frame::Event(1))),
            (2, Down::Dispatch(3, Frame::Resumed)),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn what_is_not_kept_cannot_be_resumed() {
        let mut platform = with_session();
        platform.close(1, None);
        for _ in 0..3 {
            platform.happen(0, None);
        }
        platform.take(1, 2, Up::Open);
        let out = platform.take(1, 2, Up::Resume("s00000".into(), 1));
        assert_eq!(out, [(2, Down::InvalidSession)]);
    }

    #[test]
    fn one_identify_too_many_is_refused() {
        let mut platform = with_session();
        platform.take(10, 2, Up::Open);
        assert_eq!(platform.take(10, 2, Up::Identify(1)), [(2, Down::InvalidSession)]);
    }

    #[test]
    fn an_event_may_come_again_under_another_sequence() {
        let mut platform = with_session();
        platform.happen(0, None);
        let again = platform.happen(0, Some(0));
        assert_eq!(again, Some((1, Down::Dispatch(3, Frame::Event(1)))));
    }
}
