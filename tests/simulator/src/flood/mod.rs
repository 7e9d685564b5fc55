//! More events than any relay can take, so that the relay and not the platform is what a benchmark
//! measures.
//!
//! A flood's event is a function of its session and its sequence. Nothing is kept, nothing is
//! allocated per event, and a resume makes the missed frames again, byte for byte.

mod pace;
mod scope;
mod template;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

pub(crate) use self::pace::Pace;
use self::scope::Scopes;
use self::template::Template;
use crate::dice::{Dice, mix};
use crate::shard::Shard;

/// How a platform floods its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloodConfig {
    /// Events in a second over all sockets; absent is as many as are taken.
    pub events_per_second: Option<u64>,
    /// Different events, which only ids, scopes and sequences make unique.
    pub templates: usize,
    /// Different guilds, groups and users of each session.
    pub scopes: usize,
}

impl Default for FloodConfig {
    fn default() -> Self {
        Self { events_per_second: None, templates: 256, scopes: 16 }
    }
}

impl FloodConfig {
    /// A flood of so many events in a second; of 0, as many as are taken.
    #[must_use]
    pub fn of(events_per_second: u64) -> Self {
        let events_per_second = Some(events_per_second).filter(|rate| *rate > 0);
        Self { events_per_second, ..Self::default() }
    }
}

/// What all floods of one platform share.
#[derive(Debug)]
pub struct Flood {
    config: FloodConfig,
    templates: Arc<[Template]>,
    seed: u64,
    sessions: AtomicU64,
    sockets: AtomicUsize,
    sent: AtomicU64,
}

impl Flood {
    /// Prepares the events.
    #[must_use]
    pub fn new(config: FloodConfig, dice: &Dice) -> Self {
        Self {
            templates: template::all(config.templates.max(1), dice),
            seed: dice.next(),
            config,
            sessions: AtomicU64::new(1),
            sockets: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// The events of a new session; none when its intents let it see no kind of them.
    pub(crate) fn stream(&self, shard: Shard, intents: u32) -> Option<Stream> {
        let visible =
            (0..self.templates.len()).filter(|&n| self.templates[n].intent & intents != 0);
        let visible: Box<[usize]> = visible.collect();
        if visible.is_empty() {
            return None;
        }
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let scopes = Scopes::of(shard, self.config.scopes.max(1), &Dice::new(self.seed));
        Some(Stream { templates: Arc::clone(&self.templates), visible, scopes, number })
    }

    /// The events that one socket may get; dropping it gives its share to the others.
    pub(crate) fn pace(self: &Arc<Self>) -> Pace {
        Pace::new(Arc::clone(self))
    }

    /// How many events were sent, repeats of a replay not included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, events: u64) {
        self.sent.fetch_add(events, Ordering::Relaxed);
    }
}

/// One session's events.
#[derive(Debug)]
pub(crate) struct Stream {
    templates: Arc<[Template]>,
    /// Those that the session's intents let it see.
    visible: Box<[usize]>,
    scopes: Scopes,
    /// Makes ids unique among sessions.
    number: u64,
}

impl Stream {
    /// Appends the frame of a sequence. The same sequence always gives the same frame.
    pub(crate) fn append(&self, seq: u64, out: &mut Vec<u8>) {
        let draw = mix(seq ^ self.number << 40);
        let template = &self.templates[self.visible[below(draw, self.visible.len())]];
        let scope = below(draw >> 32, self.scopes.count());
        template.append(seq, self.number << 40 | seq, (&self.scopes, scope), out);
    }
}

/// A number below `bound` from the lower half of a draw.
fn below(draw: u64, bound: usize) -> usize {
    let bounded = ((draw & 0xffff_ffff) * bound as u64) >> 32;
    usize::try_from(bounded).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::PUBLIC_INTENTS;
    use crate::events::intent_of;
    use crate::shard::{GrouplessRule, Place};
    use serde_json::Value;
    use std::collections::{BTreeSet, HashMap};

    const SHARD: Shard = Shard { index: 3, count: 5 };

    fn flood() -> Arc<Flood> {
        Arc::new(Flood::new(FloodConfig::default(), &Dice::new(7)))
    }

    fn stream(flood: &Flood, intents: u32) -> Stream {
        flood.stream(SHARD, intents).unwrap()
    }

    /// The frames of these sequences, without their WebSocket headers.
    fn payloads(stream: &Stream, seqs: std::ops::Range<u64>) -> Vec<Vec<u8>> {
        seqs.map(|seq| {
            let mut out = Vec::new();
            stream.append(seq, &mut out);
            assert_eq!((out[0], out[1]), (0x81, 126), "sixteen bits of length");
            let length = usize::from(u16::from_be_bytes([out[2], out[3]]));
            assert_eq!(out.len(), 4 + length);
            out.split_off(4)
        })
        .collect()
    }

    #[test]
    fn events_are_real_json_of_the_promised_size_and_mix() {
        let flood = flood();
        let frames = payloads(&stream(&flood, PUBLIC_INTENTS), 2..5_002);
        let mut kinds: HashMap<String, usize> = HashMap::new();
        for frame in &frames {
            assert!((660..=1_760).contains(&frame.len()), "{}", frame.len());
            let event: Value = serde_json::from_slice(frame).unwrap();
            *kinds.entry(event["t"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let mean = frames.iter().map(Vec::len).sum::<usize>() / frames.len();
        assert!((1_180..=1_300).contains(&mean), "{mean}");
        assert_eq!(kinds.len(), 4, "{kinds:?}");
        assert!(kinds.values().all(|count| *count > 200), "{kinds:?}");
        let text = String::from_utf8(frames.concat()).unwrap();
        assert!(text.contains(r"\u003c") && text.contains('天') && !text.contains('<'));
    }

    #[test]
    fn ids_are_unique_and_sequences_follow_each_other() {
        let flood = flood();
        let mut ids = BTreeSet::new();
        for stream in [stream(&flood, PUBLIC_INTENTS), stream(&flood, PUBLIC_INTENTS)] {
            for (frame, seq) in payloads(&stream, 2..2_002).iter().zip(2..) {
                let event: Value = serde_json::from_slice(frame).unwrap();
                assert_eq!(event["s"], seq);
                assert!(ids.insert(event["id"].as_str().unwrap().to_owned()));
                if let Some(id) = event["d"]["id"].as_str() {
                    assert!(ids.insert(id.to_owned()));
                }
            }
        }
    }

    #[test]
    fn a_sequence_gives_the_same_frame_again() {
        let flood = flood();
        let stream = stream(&flood, PUBLIC_INTENTS);
        assert_eq!(payloads(&stream, 2..500), payloads(&stream, 2..500));
    }

    #[test]
    fn events_belong_to_the_sessions_shard_and_intents() {
        let flood = flood();
        for intents in [PUBLIC_INTENTS, 1 << 30, 1 << 25, 1 << 1] {
            for frame in payloads(&stream(&flood, intents), 2..500) {
                let event: Value = serde_json::from_slice(&frame).unwrap();
                let t = event["t"].as_str().unwrap();
                assert_ne!(intent_of(t).unwrap() & intents, 0, "{t}");
                let place = Place::of(t, &event["d"]);
                assert!(place.goes_to(SHARD, GrouplessRule::Hash), "{place:?}");
            }
        }
        assert!(flood.stream(SHARD, 1 << 26).is_none());
    }
}
