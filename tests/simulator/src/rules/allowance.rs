//! So many within so long: `5/1s`, `4/1h`, `off`.
//!
//! Every limit of the platform is one of these, so that every limit can be switched off, and a
//! scenario file reads like the table it was taken from.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::span;

/// How often something may happen within a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// No limit at all: `off`.
    Off,
    /// Any number, but only within the span: `any/5m`.
    Any {
        /// The span.
        within: Duration,
    },
    /// At most this many within the span: `4/1h`.
    Of {
        /// How many.
        count: u32,
        /// The span.
        within: Duration,
    },
}

impl Allowance {
    /// At most `count` in each second.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self::Of { count, within: Duration::from_secs(1) }
    }

    /// At most `count` in each minute.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        Self::Of { count, within: Duration::from_secs(60) }
    }

    /// At most `count` in each day.
    #[must_use]
    pub const fn per_day(count: u32) -> Self {
        Self::Of { count, within: Duration::from_secs(86_400) }
    }

    /// The span, unless switched off.
    #[must_use]
    pub const fn within(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Any { within } | Self::Of { within, .. } => Some(within),
        }
    }

    /// The number, where there is one.
    #[must_use]
    pub const fn count(self) -> Option<u32> {
        match self {
            Self::Off | Self::Any { .. } => None,
            Self::Of { count, .. } => Some(count),
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(within) = self.within() else { return f.write_str("off") };
        match self.count() {
            Some(count) => write!(f, "{count}/")?,
            None => f.write_str("any/")?,
        }
        f.write_str(&span::print(within))
    }
}

/// A text that is no allowance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an allowance: wanted \"off\", \"any/5m\" or \"4/1h\"")]
pub struct AllowanceError(String);

impl FromStr for Allowance {
    type Err = AllowanceError;

    fn from_str(text: &str) -> Result<Self, AllowanceError> {
        let parse = || {
            if text == "off" {
                return Some(Self::Off);
            }
            let (count, within) = text.split_once('/')?;
            let within = span::parse(within).ok().filter(|within| !within.is_zero())?;
            match count {
                "any" => Some(Self::Any { within }),
                count => Some(Self::Of { count: count.parse().ok()?, within }),
            }
        };
        parse().ok_or_else(|| AllowanceError(text.into()))
    }
}

impl Serialize for Allowance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Allowance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_allowance_is_written_as_the_documents_write_it() {
        let check = |text: &str, expected: Allowance, printed: &str| {
            assert_eq!(text.parse(), Ok(expected), "{text}");
            assert_eq!(expected.to_string(), printed);
        };
        check("off", Allowance::Off, "off");
        check("5/1s", Allowance::per_second(5), "5/1s");
        check("20/60s", Allowance::per_minute(20), "20/1m");
        check("1000/24h", Allowance::per_day(1000), "1000/24h");
        check("any/5m", Allowance::Any { within: Duration::from_secs(300) }, "any/5m");
    }

    #[test]
    fn what_is_no_allowance_is_refused_with_the_right_form() {
        for text in ["", "5", "5/", "/1s", "5/0s", "-1/1s", "5/s", "x/1s", "5/99999999999999999h"] {
            let refused = text.parse::<Allowance>().unwrap_err().to_string();
            assert!(refused.contains("4/1h"), "{text}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(count: Option<u32>, span_ms in 1_u64..1 << 50) {
            let within = Duration::from_millis(span_ms);
            let allowance = match count {
                Some(count) => Allowance::Of { count, within },
                None => Allowance::Any { within },
            };
            prop_assert_eq!(allowance.to_string().parse(), Ok(allowance));
        }
    }
}
