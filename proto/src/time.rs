//! The wall clock's readings, for what crosses processes.
//!
//! A timer inside one process uses `Instant`: this clock may step, back as well as forward.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970. In JSON it is RFC 3339, such as `2026-11-25T01:47:00.250Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// This much later; at the end of time it stays there.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(whole_ms(wait)))
    }

    /// This much earlier; at the beginning of 1970 it stays there.
    #[must_use]
    pub fn minus(self, lead: Duration) -> Self {
        Self(self.0.saturating_sub(whole_ms(lead)))
    }

    /// Time since `earlier`; zero where that is later than this.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The next midnight where the platform counts its days, UTC+8.
    #[must_use]
    pub const fn next_platform_midnight(self) -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        const AHEAD_MS: u64 = 8 * 60 * 60 * 1000;
        let into_day = (self.0 % DAY_MS + AHEAD_MS) % DAY_MS;
        Self(self.0.saturating_add(DAY_MS - into_day))
    }

    /// Reads RFC 3339 text with any offset; `None` of anything else. Before 1970 is 1970.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time: Timestamp = text.parse().ok()?;
        Some(Self(u64::try_from(time.as_millisecond()).unwrap_or(0)))
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        write!(f, "{:.3}", time.unwrap_or(Timestamp::MAX))
    }
}

impl Serialize for UnixMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format_args!("{text:?} is not a time as RFC 3339 has it"));
        Self::parse(&text).ok_or_else(wrong)
    }
}

impl JsonSchema for UnixMs {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_people_write_it() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(UnixMs::parse(text).map(|time| time.to_string()).as_deref(), expected);
        };
        check("2026-11-25T09:47:00.25+08:00", Some("2026-11-25T01:47:00.250Z"));
        check("2026-11-25T01:47:00Z", Some("2026-11-25T01:47:00.000Z"));
        check("1960-01-01T00:00:00Z", Some("1970-01-01T00:00:00.000Z"));
        check("2026-11-25", None);
        check("1764035220250", None);
    }

    #[test]
    fn the_platforms_day_ends_at_midnight_in_china() {
        let check = |text: &str, expected: &str| {
            let time = UnixMs::parse(text).expect("a time");
            assert_eq!(Some(time.next_platform_midnight()), UnixMs::parse(expected), "{text}");
        };
        check("2026-11-25T23:59:59.999+08:00", "2026-11-26T00:00:00+08:00");
        check("2026-11-25T00:00:00+08:00", "2026-11-26T00:00:00+08:00");
        check("2026-11-25T20:00:00Z", "2026-11-26T16:00:00Z");
        check("1970-01-01T00:00:00Z", "1970-01-01T16:00:00Z");
    }

    #[test]
    fn the_ends_of_time_hold() {
        assert_eq!(UnixMs(u64::MAX).plus(Duration::MAX), UnixMs(u64::MAX));
        assert_eq!(UnixMs(5).minus(Duration::MAX), UnixMs(0));
        assert_eq!(UnixMs(5).since(UnixMs(9)), Duration::ZERO);
        assert!(UnixMs(u64::MAX).to_string().starts_with("9999-12-30"));
        let json = serde_json::to_string(&UnixMs(1)).unwrap();
        assert_eq!(json, r#""1970-01-01T00:00:00.001Z""#);
        assert_eq!(serde_json::from_str::<UnixMs>(&json).unwrap(), UnixMs(1));
    }
}
