//! Whatever happens in whatever order, a client that comes back gets all that it has not kept.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::app::{App, AppConfig};
use crate::clock::Clock;
use crate::dice::Dice;
use crate::flood::{Flood, FloodConfig};
use crate::journal::JournalConfig;
use crate::wire::Cutter;

#[derive(Debug, Clone, Copy)]
enum Happens {
    Push,
    Skip(u64),
    /// The socket writes up to so many bytes, and so many events of a flood.
    Read(usize, u64),
    /// The socket is lost, and with it up to so many frames that the client had not kept yet.
    Resume(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Push),
        1 => (1..4u64).prop_map(Happens::Skip),
        4 => (0..2_000usize, 0..4u64).prop_map(|(room, fresh)| Happens::Read(room, fresh)),
        1 => (0..6u64).prop_map(Happens::Resume),
    ]
}

/// A session with a client that keeps what it gets.
struct Run {
    session: Session,
    sockets: u64,
    kept: Vec<u64>,
    skipped: BTreeSet<u64>,
}

impl Run {
    fn new(flood: Option<Stream>) -> Self {
        let journal = Journal::open(&JournalConfig::default(), Arc::new(Clock::new())).unwrap();
        let app = Arc::new(App::new(AppConfig::new("1", "s")));
        let replay = Replay { frames: usize::MAX, ..Replay::default() };
        let whole = (Shard::WHOLE, u32::MAX);
        let session = Session::begin(("s".into(), app), whole, (replay, flood), Arc::new(journal));
        session.ready(Link::new(0, Cutter::default()).0, &json!({}), 0);
        Self { session, sockets: 0, kept: Vec::new(), skipped: BTreeSet::new() }
    }

    fn apply(&mut self, what: Happens) {
        match what {
            Happens::Push => {
                let cause = Cause { injection: 1, repeat_of: None };
                self.session.push(&Event::new("X", None, json!({})), cause, 0);
            }
            Happens::Skip(count) => {
                let last = self.session.last_seq();
                self.session.skip(count);
                self.skipped.extend(last + 1..=last + count);
            }
            Happens::Read(room, fresh) => self.read(room, fresh),
            Happens::Resume(lost) => {
                let left = self.kept.len().saturating_sub(usize::try_from(lost).unwrap());
                self.kept.truncate(left);
                self.resume();
            }
        }
    }

    fn resume(&mut self) {
        self.sockets += 1;
        let link = Link::new(self.sockets, Cutter::default()).0;
        let after = self.kept.last().copied().unwrap_or(0);
        let rule = (SecondSocket::NewestWins, Greeting::Said);
        self.session.resume(link, after, rule, 0).expect("everything is kept");
    }

    fn read(&mut self, room: usize, fresh: u64) {
        let mut out = Vec::new();
        self.session.read(self.sockets, &mut out, room, fresh);
        let mut rest = &out[..];
        while let [0x81, length, ..] = *rest {
            let (head, length) = match length {
                126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                length => (2, usize::from(length)),
            };
            let frame: Value = serde_json::from_slice(&rest[head..head + length]).unwrap();
            self.kept.push(frame["s"].as_u64().unwrap());
            rest = &rest[head + length..];
        }
        assert!(rest.is_empty(), "whole frames only");
    }

    /// The client has, in order and once, every sequence that was not left out.
    fn check(mut self) {
        self.resume();
        let read = |run: &mut Self| {
            let before = run.kept.len();
            run.read(usize::MAX, 0);
            run.kept.len() > before
        };
        while read(&mut self) {}
        let expected: Vec<u64> =
            (1..=self.session.last_seq()).filter(|seq| !self.skipped.contains(seq)).collect();
        assert_eq!(self.kept, expected);
    }
}

proptest! {
    #[test]
    fn a_client_that_comes_back_misses_nothing(
        story in prop::collection::vec(happens(), 0..60),
        flooded in any::<bool>(),
    ) {
        let config = FloodConfig { templates: 2, scopes: 1, ..FloodConfig::default() };
        let flood = flooded.then(|| Flood::new(config, &Dice::new(1)));
        let stream = flood.and_then(|flood| flood.stream(Shard::WHOLE, u32::MAX));
        let mut run = Run::new(stream);
        story.into_iter().for_each(|what| run.apply(what));
        run.check();
    }
}
