//! Rate-limit arithmetic: whether one more request fits, and if not, when it will.
//!
//! GCRA: a bucket is one time, the moment at which it is empty again. What a request needs from
//! several buckets is decided together: it takes from all of them or from none.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::NameError;
use crate::time::UnixMs;

/// The longest time that a refusal of the platform's closes a bucket for.
///
/// Also what a clock that stepped back can cost.
pub const COOL_DOWN_MAX: Duration = Duration::from_secs(10 * 60);

/// How much a bucket takes: `4/s burst 2`, `30/min`, `1000/day`; the burst is 1 unless given.
///
/// In any stretch of time `t` no more than `t × count/per + burst` requests pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    count: u32,
    per: Per,
    burst: u32,
}

/// The time a quota's count is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// `s`
    Second,
    /// `min`
    Minute,
    /// `day`, any 24 hours.
    Day,
}

impl Per {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Day];

    const fn micros(self) -> u64 {
        match self {
            Self::Second => 1_000_000,
            Self::Minute => 60_000_000,
            Self::Day => 86_400_000_000,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Day => "day",
        }
    }
}

impl Quota {
    /// More per unit, or at once, is no limit of this platform but a slip of the pen.
    const MAX: u32 = 1_000_000;

    /// `count` requests per `per`, up to `burst` of them at once; `None` unless both are from 1 to
    /// a million.
    #[must_use]
    pub const fn new(count: u32, per: Per, burst: u32) -> Option<Self> {
        if count == 0 || count > Self::MAX || burst == 0 || burst > Self::MAX {
            return None;
        }
        Some(Self { count, per, burst })
    }

    /// Most requests that can pass in a window of the quota's own unit, wherever it begins.
    #[must_use]
    pub const fn most_in_a_window(self) -> u32 {
        self.count - 1 + self.burst
    }

    /// What `part` of `of` equal parts may use, for those who cannot count together: all parts
    /// together pass no more than the whole. In a longer unit where less than one request of its own
    /// is left, and one request at a time at least.
    #[must_use]
    pub fn share(self, part: u32, of: u32) -> Self {
        let part_of = |whole: u64| whole * u64::from(part) / u64::from(of.max(1));
        let fitting = |number: u64| u32::try_from(number).unwrap_or(Self::MAX).min(Self::MAX);
        let burst = fitting(part_of(self.burst.into())).max(1);
        let units = Per::ALL.into_iter().filter(|per| per.micros() >= self.per.micros());
        let counts = units.map(|per| {
            let whole = u64::from(self.count) * (per.micros() / self.per.micros());
            (fitting(part_of(whole)), per)
        });
        let mut usable = counts.filter(|(count, _)| *count > 0);
        let (count, per) = usable.next().unwrap_or((1, Per::Day));
        Self { count, per, burst }
    }

    /// The window that it counts in, its unit.
    #[must_use]
    pub const fn window(self) -> Duration {
        Duration::from_micros(self.per.micros())
    }

    /// Its unit.
    #[must_use]
    pub const fn per(self) -> Per {
        self.per
    }

    /// Time between two requests at the steady rate, µs, rounded up so that the rate is never passed.
    #[must_use]
    pub const fn interval_us(self) -> u64 {
        self.per.micros().div_ceil(self.count as u64)
    }

    /// How far ahead of now a bucket may be taken, µs.
    #[must_use]
    pub const fn depth_us(self) -> u64 {
        self.interval_us().saturating_mul(self.burst as u64)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.as_str())?;
        if self.burst == 1 { Ok(()) } else { write!(f, " burst {}", self.burst) }
    }
}

impl FromStr for Quota {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let mut words = text.split_ascii_whitespace();
            let (count, unit) = words.next()?.split_once('/')?;
            let per = Per::ALL.into_iter().find(|per| per.as_str() == unit)?;
            let burst = match (words.next(), words.next(), words.next()) {
                (None, ..) => 1,
                (Some("burst"), Some(burst), None) => burst.parse().ok()?,
                _ => return None,
            };
            Self::new(count.parse().ok()?, per, burst)
        };
        parse().ok_or_else(|| NameError {
            found: text.into(),
            expected: "a rate such as \"4/s\", \"30/min burst 5\" or \"1000/day\"",
        })
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Quota {
    fn schema_name() -> Cow<'static, str> {
        "Quota".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A rate and how many may pass at once (1 unless given).",
            "pattern": "^[0-9]+/(s|min|day)( burst [0-9]+)?$",
            "examples": ["4/s burst 2", "30/min", "1000/day burst 200"],
        })
    }
}

/// What is remembered of one limit; a new one is full.
///
/// Times are microseconds since 1970. A store may keep the two numbers as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// When everything taken will have been given back.
    pub whole_at_us: u64,
    /// Nothing passes before this: the platform said that it had enough.
    pub closed_until_us: u64,
}

/// Whether a request may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may, and what it needs has been taken.
    Allowed,
    /// It may not, and nothing was taken; ask again no sooner than after this, whole milliseconds.
    RetryAfter(Duration),
}

/// Takes one request's room from every bucket, or from none where one of them has none.
///
/// `now` may run backwards. A bucket that then lies too far ahead lets one request pass, and goes on
/// from there.
pub fn take<'a>(
    now: UnixMs,
    buckets: impl IntoIterator<Item = (Quota, &'a mut Bucket)>,
) -> Decision {
    let now_us = now.0.saturating_mul(1000);
    let mut buckets: Vec<_> = buckets.into_iter().collect();
    let wait = buckets.iter().map(|(quota, bucket)| bucket.wait_us(now_us, *quota)).max();
    match wait.unwrap_or(0) {
        0 => {
            for (quota, bucket) in &mut buckets {
                bucket.take_one(now_us, *quota);
            }
            Decision::Allowed
        }
        wait_us => Decision::RetryAfter(Duration::from_millis(wait_us.div_ceil(1000))),
    }
}

impl Bucket {
    /// Closes the bucket for `wait`, because the platform refused for its rate; never shortens an
    /// earlier closure, and [`COOL_DOWN_MAX`] is the most.
    pub fn cool_down(&mut self, now: UnixMs, wait: Duration) {
        self.closed_until_us = self.closed_until_us.max(micros(now.plus(wait.min(COOL_DOWN_MAX))));
    }

    /// When the bucket can be forgotten: a new one would say the same.
    #[must_use]
    pub const fn stale_at(&self) -> UnixMs {
        let last = if self.whole_at_us > self.closed_until_us {
            self.whole_at_us
        } else {
            self.closed_until_us
        };
        UnixMs(last.div_ceil(1000))
    }

    fn wait_us(&self, now_us: u64, quota: Quota) -> u64 {
        let full_us = self.taken_until(now_us, quota).saturating_add(quota.interval_us());
        let room = full_us.saturating_sub(now_us.saturating_add(quota.depth_us()));
        let cool_down_us = u64::try_from(COOL_DOWN_MAX.as_micros()).unwrap_or(u64::MAX);
        room.max(self.closed_until_us.saturating_sub(now_us).min(cool_down_us))
    }

    fn take_one(&mut self, now_us: u64, quota: Quota) {
        self.whole_at_us = self.taken_until(now_us, quota).saturating_add(quota.interval_us());
    }

    /// Where the bucket stands. Further ahead than its depth only a clock that stepped back, or a
    /// quota that was made smaller, can have put it: then one request passes, which sets it right.
    /// To refuse would be to wait until the clock has caught up.
    fn taken_until(&self, now_us: u64, quota: Quota) -> u64 {
        let deepest = now_us.saturating_add(quota.depth_us());
        if self.whole_at_us > deepest {
            deepest.saturating_sub(quota.interval_us())
        } else {
            self.whole_at_us.max(now_us)
        }
    }
}

fn micros(time: UnixMs) -> u64 {
    time.0.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quota(text: &str) -> Quota {
        text.parse().expect("a quota")
    }

    fn retry(ms: u64) -> Decision {
        Decision::RetryAfter(Duration::from_millis(ms))
    }

    #[test]
    fn a_share_is_a_part_of_the_whole_in_a_unit_that_can_hold_it() {
        let check = |whole: &str, part, expected: &str| {
            let whole: Quota = whole.parse().unwrap();
            assert_eq!(whole.share(part, 16).to_string(), expected, "{part} of {whole}");
        };
        check("80/s burst 20", 16, "80/s burst 20");
        check("80/s burst 20", 5, "25/s burst 6");
        check("80/s burst 20", 1, "5/s");
        check("4/s burst 2", 1, "15/min");
        check("24/min burst 7", 8, "12/min burst 3");
        check("10/day", 1, "1/day");
    }

    #[test]
    fn quotas_read_as_people_write_them() {
        let check = |text: &str, expected: &str| assert_eq!(quota(text).to_string(), expected);
        check("4/s burst 2", "4/s burst 2");
        check("30/min", "30/min");
        check("1000/day  burst 1", "1000/day");
        let refused = |text: &str| assert!(text.parse::<Quota>().is_err(), "{text}");
        refused("");
        refused("4");
        refused("0/s");
        refused("4/h");
        refused("4/s burst");
        refused("4/s burst 0");
        refused("4/s burst 2 more");
        refused("1000001/s");
    }

    #[test]
    fn a_burst_passes_then_the_steady_rate() {
        let (limit, mut bucket) = (quota("4/s burst 2"), Bucket::default());
        let mut ask = |ms| take(UnixMs(ms), [(limit, &mut bucket)]);
        assert_eq!(ask(10_000), Decision::Allowed);
        assert_eq!(ask(10_000), Decision::Allowed);
        assert_eq!(ask(10_000), retry(250));
        assert_eq!(ask(10_100), retry(150));
        assert_eq!(ask(10_250), Decision::Allowed);
        assert_eq!(ask(11_000), Decision::Allowed);
    }

    #[test]
    fn what_one_bucket_refuses_no_other_pays_for() {
        let (wide, narrow) = (quota("80/s burst 20"), quota("2/s"));
        let (mut app, mut scope) = (Bucket::default(), Bucket::default());
        let now = UnixMs(5_000);
        assert_eq!(take(now, [(wide, &mut app), (narrow, &mut scope)]), Decision::Allowed);
        let before = app;
        assert_eq!(take(now, [(wide, &mut app), (narrow, &mut scope)]), retry(500));
        assert_eq!(app, before);
    }

    #[test]
    fn a_cool_down_closes_and_is_bounded() {
        let (limit, mut bucket) = (quota("100/s burst 20"), Bucket::default());
        bucket.cool_down(UnixMs(1_000), Duration::from_secs(3));
        bucket.cool_down(UnixMs(1_000), Duration::from_secs(1));
        assert_eq!(take(UnixMs(1_500), [(limit, &mut bucket)]), retry(2_500));
        assert_eq!(take(UnixMs(4_000), [(limit, &mut bucket)]), Decision::Allowed);
        bucket.cool_down(UnixMs(4_000), Duration::MAX);
        assert_eq!(take(UnixMs(0), [(limit, &mut bucket)]), retry(600_000));
    }

    #[test]
    fn a_clock_that_steps_back_lets_one_pass_and_then_keeps_the_rate() {
        let (limit, mut bucket) = (quota("4/s burst 2"), Bucket::default());
        let mut ask = |ms| take(UnixMs(ms), [(limit, &mut bucket)]);
        assert_eq!(ask(9_000_000), Decision::Allowed);
        assert_eq!(ask(1_000), Decision::Allowed);
        assert_eq!(ask(1_000), retry(250));
        assert_eq!(ask(1_250), Decision::Allowed);
    }

    #[test]
    fn nothing_needed_is_always_allowed() {
        assert_eq!(take(UnixMs(0), []), Decision::Allowed);
    }

    fn any_quota() -> impl Strategy<Value = Quota> {
        let per = prop_oneof![Just(Per::Second), Just(Per::Minute), Just(Per::Day)];
        (1..50_u32, per, 1..20_u32)
            .prop_map(|(count, per, burst)| Quota::new(count, per, burst).expect("in range"))
    }

    proptest! {
        /// Over any stretch, what passes is bounded by rate × time + burst. Where the clock runs
        /// back, the time that counts is all its way forward, and each step back adds one.
        #[test]
        fn no_order_of_requests_passes_more_than_the_quota(
            limit in any_quota(),
            steps in prop::collection::vec(-5_000_i64..5_000, 1..300),
        ) {
            let (mut now, mut forward_us, mut back) = (1_000_000_u64, 0_u64, 0_u64);
            let mut passed = Vec::new();
            let mut bucket = Bucket::default();
            for step in steps {
                now = now.saturating_add_signed(step);
                forward_us += u64::try_from(step).unwrap_or(0) * 1000;
                back += u64::from(step < 0);
                if take(UnixMs(now), [(limit, &mut bucket)]) == Decision::Allowed {
                    passed.push((forward_us, back));
                }
            }
            for (first, &(from, back_from)) in passed.iter().enumerate() {
                for (last, &(to, back_to)) in passed.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u64;
                    let rate = (to - from) / limit.interval_us();
                    let bound = rate + u64::from(limit.burst) + back_to - back_from;
                    prop_assert!(count <= bound, "{count} passed where {bound} may");
                }
            }
        }

        /// The wait that is told is enough, and no shorter one is.
        #[test]
        fn the_wait_is_exact(limit in any_quota(), gaps in prop::collection::vec(0..400_u64, 1..60)) {
            let (mut now, mut bucket) = (UnixMs(77), Bucket::default());
            for gap in gaps {
                now = UnixMs(now.0 + gap);
                let mut ask = |at| take(at, [(limit, &mut bucket)]);
                if let Decision::RetryAfter(wait) = ask(now) {
                    let ready = now.plus(wait);
                    prop_assert_ne!(ask(UnixMs(ready.0 - 1)), Decision::Allowed);
                    prop_assert_eq!(ask(ready), Decision::Allowed);
                    now = ready;
                }
            }
        }

        /// A bucket that is stale answers as a new one.
        #[test]
        fn what_is_stale_can_be_forgotten(limit in any_quota(), takes in 1..40_u32) {
            let mut bucket = Bucket::default();
            for _ in 0..takes {
                take(UnixMs(50), [(limit, &mut bucket)]);
            }
            let (mut old, mut new) = (bucket, Bucket::default());
            for _ in 0..=limit.burst {
                let at = bucket.stale_at();
                prop_assert_eq!(take(at, [(limit, &mut old)]), take(at, [(limit, &mut new)]));
            }
        }
    }
}
