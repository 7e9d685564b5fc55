//! The platform's times: RFC 3339 in most events, whole seconds in some, either in a few.

use super::Text;
use crate::lenient::Raw;
use crate::time::UnixMs;

/// One point in time, as the platform wrote it and as a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment<'a> {
    /// RFC 3339, the platform's own text where it was that.
    pub(super) text: Text<'a>,
    /// The same to reckon with.
    pub(super) at: UnixMs,
}

/// Whole numbers from here on are milliseconds: as seconds they would be after the year 5000.
const FIRST_MILLISECONDS: u64 = 100_000_000_000;

impl<'a> Moment<'a> {
    /// Reads a time; anything else is none.
    pub(super) fn read(raw: Raw<'a>) -> Option<Self> {
        raw.whole().map_or_else(|| Self::from_text(raw), Self::from_number)
    }

    fn from_text(raw: Raw<'a>) -> Option<Self> {
        let text = raw.text()?;
        Some(Self { at: UnixMs::parse(&text)?, text: text.into() })
    }

    fn from_number(number: i64) -> Option<Self> {
        let number = u64::try_from(number).ok().filter(|number| *number > 0)?;
        let ms = if number < FIRST_MILLISECONDS { number * 1000 } else { number };
        Some(Self { text: UnixMs(ms).to_string().into(), at: UnixMs(ms) })
    }
}

/// The text alone.
pub(super) fn read_time<'a>(raw: Raw<'a>) -> Option<Text<'a>> {
    Moment::read(raw).map(|moment| moment.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_every_form_that_was_seen() {
        let check = |json: &str, text: Option<&str>| {
            let raw: &serde_json::value::RawValue = serde_json::from_str(json).expect("JSON");
            let read = read_time(raw.into());
            assert_eq!(read.as_deref(), text, "{json}");
        };
        check(r#""2026-09-01T10:00:00+08:00""#, Some("2026-09-01T10:00:00+08:00"));
        check("1788228000", Some("2026-09-01T02:00:00.000Z"));
        check(r#""1788228000""#, Some("2026-09-01T02:00:00.000Z"));
        check("1788228000123", Some("2026-09-01T02:00:00.123Z"));
        for other in ["0", "-5", "1.5", "null", "[]", r#""""#, r#""yesterday""#, r#""2026-09-01""#]
        {
            check(other, None);
        }
        check("9223372036854775807", Some(&UnixMs(u64::MAX).to_string()));
    }
}
