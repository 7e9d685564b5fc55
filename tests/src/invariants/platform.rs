//! The platform's side of a run: which frame it gave to which session, and what it was asked.

use std::collections::{BTreeMap, HashMap};

use qqrelay_proto::id::{AppId, Seq, SessionId};
use qqrelay_simulator::journal::{Entry, Line};
use qqrelay_simulator::shard::Shard;

/// The journal, by session.
#[derive(Debug, Default)]
pub(super) struct Platform<'a> {
    pub(super) sessions: BTreeMap<&'a SessionId, Session<'a>>,
    /// The injection that each repeated one pushed again.
    repeats: HashMap<u64, u64>,
}

/// A session as the platform knows it.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) app: &'a AppId,
    pub(super) shard: Shard,
    pub(super) frames: BTreeMap<Seq, Frame<'a>>,
}

/// A frame that got a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Ready,
    Resumed,
    Event {
        wire_type: &'a str,
        injection: u64,
    },
    /// A sequence that was given to nothing.
    Skipped,
}

impl<'a> Platform<'a> {
    pub(super) fn of(journal: &'a [Line]) -> Self {
        let mut platform = Self::default();
        for line in journal {
            match &line.entry {
                Entry::Ready { app, shard, session, seq, .. } => {
                    platform.session(app, *shard, session).frames.insert(*seq, Frame::Ready);
                }
                Entry::Resumed { app, shard, session, seq, .. } => {
                    platform.session(app, *shard, session).frames.insert(*seq, Frame::Resumed);
                }
                Entry::Dispatch { app, shard, session, seq, t, injection, repeat_of, .. } => {
                    let frame = Frame::Event { wire_type: t, injection: *injection };
                    platform.session(app, *shard, session).frames.insert(*seq, frame);
                    platform.repeats.extend(repeat_of.map(|of| (*injection, of)));
                }
                Entry::Skipped { session, from, to } => {
                    if let Some(session) = platform.sessions.get_mut(session) {
                        session.frames.extend((*from..=*to).map(|seq| (seq, Frame::Skipped)));
                    }
                }
                _ => {}
            }
        }
        platform
    }

    fn session(&mut self, app: &'a AppId, shard: Shard, id: &'a SessionId) -> &mut Session<'a> {
        let new = || Session { app, shard, frames: BTreeMap::new() };
        self.sessions.entry(id).or_insert_with(new)
    }

    pub(super) fn frame(&self, session: &SessionId, seq: Seq) -> Option<Frame<'a>> {
        self.sessions.get(session)?.frames.get(&seq).copied()
    }

    /// The injection that this one says again, or itself.
    pub(super) fn first_of(&self, mut injection: u64) -> u64 {
        while let Some(&earlier) = self.repeats.get(&injection) {
            injection = earlier;
        }
        injection
    }

    pub(super) fn frame_count(&self) -> usize {
        let real = |session: &Session<'_>| {
            session.frames.values().filter(|frame| **frame != Frame::Skipped).count()
        };
        self.sessions.values().map(real).sum()
    }
}

impl Session<'_> {
    /// Whose it is, as a source's subject tells it: `<app>.<count>-<index>`.
    pub(super) fn source(&self) -> String {
        let app = qqrelay_proto::subject::Token::escape(self.app.as_str());
        format!("{app}.{}", self.shard)
    }
}
