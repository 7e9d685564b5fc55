//! How values are written in the file: durations as `10s`, sizes as `8GiB`, counts as `"auto"` or
//! a number.
//!
//! [`Span`] and [`Size`] are forms, not types: a field is a plain `Duration` or `u64` and names its
//! form with `#[serde(with = "Span")]`, which the schema follows too.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A value that is not written in its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// There is no whole number, or no unit behind it.
    #[error("{found:?} is not {expected}")]
    Shape {
        /// What stood there.
        found: String,
        /// What was wanted, for people.
        expected: &'static str,
    },
    /// It is written well and cannot be meant.
    #[error("{found:?} is more than {most}")]
    Overflow {
        /// What stood there.
        found: String,
        /// The largest value that is taken.
        most: &'static str,
    },
}

/// Splits `10s` into 10 and its unit's weight.
fn measure(
    text: &str,
    units: &[(&str, u64)],
    expected: &'static str,
    (most, most_text): (u64, &'static str),
) -> Result<u64, FormError> {
    let shape = || FormError::Shape { found: text.into(), expected };
    let overflow = || FormError::Overflow { found: text.into(), most: most_text };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, weight) = units.iter().find(|(name, _)| *name == unit).ok_or_else(shape)?;
    if number.is_empty() {
        return Err(shape());
    }
    let number: u64 = number.parse().map_err(|_| overflow())?; // only digits: it can only be long
    number.checked_mul(*weight).filter(|value| *value <= most).ok_or_else(overflow)
}

/// Writes a value with the largest unit that leaves no remainder.
fn write_out(value: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().rev().find(|(_, weight)| value > 0 && value.is_multiple_of(*weight));
    let (unit, weight) = fitting.unwrap_or(&units[0]);
    format!("{}{unit}", value / weight)
}

/// Reads a text by the form's own parser; serde's words about other types name the form.
struct FormVisitor<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, FormError>,
}

impl<T> de::Visitor<'_> for FormVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// The form of durations: a whole number and one of `ms`, `s`, `m`, `h`, `d`; at most `365d`.
#[derive(Debug)]
pub struct Span;

impl Span {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    const EXPECTED: &str = "a duration such as \"10s\", \"500ms\" or \"24h\"";
    /// Longer is a mistake, and keeps every sum of two durations far from overflow.
    const MAX: (u64, &str) = (365 * 86_400_000, "365d");

    /// Reads `10s`.
    ///
    /// # Errors
    ///
    /// It is not written so, or longer than `365d`.
    pub fn parse(text: &str) -> Result<Duration, FormError> {
        measure(text, &Self::UNITS, Self::EXPECTED, Self::MAX).map(Duration::from_millis)
    }

    /// Writes `10s`.
    #[must_use]
    pub fn format(duration: Duration) -> String {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        write_out(millis, &Self::UNITS)
    }

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Self::format(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        from.deserialize_str(FormVisitor { expected: Self::EXPECTED, parse: Self::parse })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

/// The form of sizes: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`; at most `64TiB`.
#[derive(Debug)]
pub struct Size;

impl Size {
    const UNITS: [(&str, u64); 5] =
        [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    const EXPECTED: &str = "a size such as \"900KiB\" or \"8GiB\"";
    const MAX: (u64, &str) = (64 << 40, "64TiB");

    /// Reads `8GiB`.
    ///
    /// # Errors
    ///
    /// It is not written so, or larger than `64TiB`.
    pub fn parse(text: &str) -> Result<u64, FormError> {
        measure(text, &Self::UNITS, Self::EXPECTED, Self::MAX)
    }

    /// Writes `8GiB`.
    #[must_use]
    pub fn format(bytes: u64) -> String {
        write_out(bytes, &Self::UNITS)
    }

    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Self::format(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        from.deserialize_str(FormVisitor { expected: Self::EXPECTED, parse: Self::parse })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$" })
    }
}

/// `"auto"`, or a number from 1 to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count<const MAX: u16> {
    /// Whatever the platform or the machine suggests.
    Auto,
    /// This many.
    Of(NonZeroU16),
}

impl<const MAX: u16> Count<MAX> {
    /// The number, where one was given.
    #[must_use]
    pub const fn number(self) -> Option<NonZeroU16> {
        match self {
            Self::Auto => None,
            Self::Of(number) => Some(number),
        }
    }
}

impl<const MAX: u16> Serialize for Count<MAX> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Of(number) => to.serialize_u16(number.get()),
        }
    }
}

impl<'de, const MAX: u16> Deserialize<'de> for Count<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AutoOrNumber<const MAX: u16>;

        impl<const MAX: u16> de::Visitor<'_> for AutoOrNumber<MAX> {
            type Value = Count<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"auto\" or a number from 1 to {MAX}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Count<MAX>, E> {
                if text == "auto" {
                    return Ok(Count::Auto);
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count<MAX>, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count<MAX>, E> {
                u16::try_from(number)
                    .ok()
                    .filter(|number| *number <= MAX)
                    .and_then(NonZeroU16::new)
                    .map(Count::Of)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }

        from.deserialize_any(AutoOrNumber)
    }
}

impl<const MAX: u16> JsonSchema for Count<MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Count{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "const": "auto" },
            { "type": "integer", "minimum": 1, "maximum": MAX },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        let check = |text, millis| assert_eq!(Span::parse(text), Ok(Duration::from_millis(millis)));
        check("0s", 0);
        check("500ms", 500);
        check("10s", 10_000);
        check("5m", 300_000);
        check("24h", 86_400_000);
        check("365d", 365 * 86_400_000);
    }

    #[test]
    fn what_has_no_unit_or_overflows_is_refused() {
        let shape = ["", "10", "s", "10 s", "-1s", "+1s", "1.5s", "10S", "10sec", "1h30m", "٣s"];
        for text in shape {
            assert!(matches!(Span::parse(text), Err(FormError::Shape { .. })), "{text}");
        }
        for text in ["366d", "18446744073709551615d", "99999999999999999999999999s"] {
            assert!(matches!(Span::parse(text), Err(FormError::Overflow { .. })), "{text}");
        }
        for text in ["8G", "8GB", "8gib", "8 GiB", "8"] {
            assert!(matches!(Size::parse(text), Err(FormError::Shape { .. })), "{text}");
        }
        assert!(matches!(Size::parse("16777216TiB"), Err(FormError::Overflow { .. })));
    }

    #[test]
    fn a_count_is_auto_or_in_range() {
        let read = |json| serde_json::from_str::<Count<4096>>(json).map(Count::number).ok();
        assert_eq!(read("\"auto\""), Some(None));
        assert_eq!(read("4096"), Some(NonZeroU16::new(4096)));
        for json in ["0", "-1", "4097", "1000000000", "\"4\"", "\"Auto\"", "true"] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0..=Span::MAX.0, bytes in 0..=Size::MAX.0) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(Span::parse(&Span::format(span)), Ok(span));
            prop_assert_eq!(Size::parse(&Size::format(bytes)), Ok(bytes));
        }
    }
}
