//! Reading JSON of any shape: a member is what it should be, or absent, and never an error.
//!
//! Values are looked at as the text they are, so that an id of forty digits loses none and a
//! number out of range or half a surrogate pair in one member costs no other.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How many arrays and objects a frame may have inside one another, itself included.
///
/// What serde_json reads unless told otherwise: a frame within it can be read whole by everybody
/// behind us, and one beyond it could take a reader's stack.
pub const DEPTH_MAX: usize = 127;

/// A JSON value of any type, or none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw<'a>(Option<&'a RawValue>);

impl<'a> Raw<'a> {
    /// The value as it was written; `None` where there is none.
    pub(crate) const fn written(self) -> Option<&'a RawValue> {
        self.0
    }

    fn source(self) -> &'a str {
        self.0.map_or("", RawValue::get)
    }

    /// The text of a string.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        let inner = self.source().strip_prefix('"')?.strip_suffix('"')?;
        if !inner.contains('\\') {
            return Some(Cow::Borrowed(inner));
        }
        unescape(inner).map(Cow::Owned).or_else(|| self.lossy_text())
    }

    /// Half a surrogate pair, which no text can hold, reads as replacement characters.
    fn lossy_text(self) -> Option<Cow<'a, str>> {
        let Bytes(bytes) = serde_json::from_str(self.source()).ok()?;
        Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A name: a text that is not empty, or the digits of a whole number.
    pub(crate) fn id(self) -> Option<Cow<'a, str>> {
        let digits = || is_whole(self.source()).then(|| Cow::Borrowed(self.source()));
        self.text().or_else(digits).filter(|id| !id.is_empty())
    }

    /// Itself where it is a name, else the other.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.id().is_some() { self } else { other }
    }

    /// A whole number, or a text that holds one.
    pub(crate) fn whole(self) -> Option<i64> {
        self.text().as_deref().unwrap_or_else(|| self.source()).parse().ok()
    }

    /// A number of any form, the nearest that a float can hold.
    pub(crate) fn number(self) -> Option<f64> {
        let is_number = self.source().starts_with(|first: char| first == '-' || is_digit(first));
        is_number.then(|| self.source().parse().ok()).flatten()
    }

    /// A truth value.
    pub(crate) fn flag(self) -> Option<bool> {
        self.source().parse().ok()
    }

    /// Whether the value has members.
    pub(crate) fn is_object(self) -> bool {
        self.source().starts_with('{')
    }

    /// Whether the value has elements.
    pub(crate) fn is_array(self) -> bool {
        self.source().starts_with('[')
    }

    /// The elements of an array; of anything else none.
    pub(crate) fn items(self) -> Vec<Self> {
        let mut items = Vec::new();
        self.each_item(|item| items.push(item));
        items
    }

    /// Shows each element of an array, in order; of anything else none.
    pub(crate) fn each_item(self, see: impl FnMut(Self)) {
        struct Items<F>(F);

        impl<'de, F: FnMut(Raw<'de>)> Visitor<'de> for Items<F> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
                while let Some(item) = seq.next_element()? {
                    (self.0)(Raw(Some(item)));
                }
                Ok(())
            }
        }

        if self.is_array() {
            let mut reader = serde_json::Deserializer::from_str(self.source());
            // As with members: a raw value is well-formed.
            let _ = reader.deserialize_seq(Items(see));
        }
    }

    /// Shows each member of an object, in the order written; of anything else none.
    pub(crate) fn each_member(self, see: impl FnMut(&[u8], Self)) {
        struct Members<F>(F);

        impl<'de, F: FnMut(&[u8], Raw<'de>)> Visitor<'de> for Members<F> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
                while let Some(Bytes(name)) = map.next_key()? {
                    let value: &RawValue = map.next_value()?;
                    (self.0)(&name, Raw(Some(value)));
                }
                Ok(())
            }
        }

        if self.is_object() {
            let mut reader = serde_json::Deserializer::from_str(self.source());
            // A raw value is well-formed JSON, so what cannot be read here does not exist.
            let _ = reader.deserialize_map(Members(see));
        }
    }
}

impl<'a> From<&'a RawValue> for Raw<'a> {
    fn from(value: &'a RawValue) -> Self {
        Self(Some(value))
    }
}

/// A string's bytes, which serde_json gives for any string, well-formed Unicode or not.
pub(crate) struct Bytes<'a>(pub(crate) Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;

        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = Bytes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(bytes.to_vec())))
            }
        }

        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// A string's text, written into room that is enough from the start: serde_json would find it by
/// doubling. `None` of what it is left to, half a surrogate pair.
fn unescape(inner: &str) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let kind = escape.chars().next()?;
        rest = &escape[kind.len_utf8()..];
        text.push(match kind {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let first = unit(&mut rest)?;
                if let 0xD800..=0xDBFF = first {
                    rest = rest.strip_prefix("\\u")?;
                    char::decode_utf16([first, unit(&mut rest)?]).next()?.ok()?
                } else {
                    char::from_u32(first.into())?
                }
            }
            itself => itself,
        });
    }
    text.push_str(rest);
    Some(text)
}

/// Takes four hexadecimal digits.
fn unit(rest: &mut &str) -> Option<u16> {
    let (digits, behind) = rest.split_at_checked(4)?;
    *rest = behind;
    u16::from_str_radix(digits, 16).ok()
}

/// Whether a JSON value is a number without fraction and exponent.
pub(crate) fn is_whole(source: &str) -> bool {
    let digits = source.strip_prefix('-').unwrap_or(source);
    !digits.is_empty() && digits.chars().all(is_digit)
}

const fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Whether well-formed JSON nests deeper than [`DEPTH_MAX`].
///
/// Most frames have fewer brackets than would be too deep, which is cheap to see; only the others
/// are walked.
pub(crate) fn is_too_deep(json: &str) -> bool {
    let brackets = json.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    brackets > DEPTH_MAX && depth(json) > DEPTH_MAX
}

/// How deep well-formed JSON nests.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// Names the members of an object that are of interest, each [`Raw`]; of two with one name the
/// last holds, as in every reader that a consumer is likely to use on `raw`.
macro_rules! members {
    ($name:ident { $($member:ident $($wire:literal)?),* $(,)? }) => {
        #[derive(Clone, Copy, Default)]
        struct $name<'a> {
            $($member: crate::lenient::Raw<'a>,)*
        }

        impl<'a> $name<'a> {
            fn read(object: crate::lenient::Raw<'a>) -> Self {
                let mut read = Self::default();
                object.each_member(|name, value| {
                    $(if name == crate::lenient::wire_name!($member $($wire)?).as_bytes() {
                        read.$member = value;
                        return;
                    })*
                });
                read
            }
        }
    };
}

/// The name on the wire: the field's own unless another is given.
macro_rules! wire_name {
    ($member:ident) => {
        stringify!($member)
    };
    ($member:ident $wire:literal) => {
        $wire
    };
}

pub(crate) use {members, wire_name};

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn raw(json: &str) -> Raw<'_> {
        Raw(Some(serde_json::from_str(json).expect("well-formed JSON")))
    }

    #[test]
    fn an_id_is_a_text_or_the_digits_of_a_number() {
        let check = |json: &str, expected: Option<&str>| {
            assert_eq!(raw(json).id().as_deref(), expected, "{json}");
        };
        check(r#""A1""#, Some("A1"));
        check(r#""a\u0062\n""#, Some("ab\n"));
        check(r#""""#, None);
        check("46646271634786417", Some("46646271634786417"));
        check(&"9".repeat(40), Some(&"9".repeat(40)));
        check("-1", Some("-1"));
        for other in ["1.5", "1e400", "null", "true", "[]", "{}", r#"{"id":"1"}"#] {
            check(other, None);
        }
        assert_eq!(Raw::default().id(), None);
    }

    #[test]
    fn half_a_surrogate_pair_costs_its_own_place_only() {
        assert_eq!(raw(r#""a\ud800b""#).text().as_deref(), Some("a\u{fffd}\u{fffd}\u{fffd}b"));
        assert_eq!(raw(r#""\ud83d\ude00""#).text().as_deref(), Some("😀"));
        let mut seen = Vec::new();
        raw(r#"{"\udfff":"\ud800","id":1e400,"id":7}"#)
            .each_member(|name, value| seen.push((name.to_vec(), value.id())));
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[2], (b"id".to_vec(), Some("7".into())));
    }

    proptest! {
        #[test]
        fn an_escaped_text_is_what_serde_json_reads(parts in vec((any::<char>(), 0..3_u8), 0..20)) {
            let mut inner = String::new();
            for (c, how) in &parts {
                match how {
                    0 => {
                        let quoted = serde_json::to_string(c).expect("a char");
                        inner.push_str(&quoted[1..quoted.len() - 1]);
                    }
                    1 => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                        inner.push_str(&format!("\\u{unit:04X}"));
                    }),
                    _ => inner.push_str(r"\/\b\f\r"),
                }
            }
            let json = format!("\"{inner}\"");
            let expected: String = serde_json::from_str(&json).expect("well-formed");
            let text = raw(&json).text();
            prop_assert_eq!(text.as_deref(), Some(&*expected));
        }
    }

    #[test]
    fn a_value_of_another_type_is_absent() {
        assert_eq!(raw("7").text(), None);
        assert_eq!(raw(r#""7""#).whole(), Some(7));
        assert_eq!(raw("7").whole(), Some(7));
        assert_eq!(raw("7.5").whole(), None);
        assert_eq!(raw("18446744073709551616").whole(), None);
        assert_eq!(raw("true").flag(), Some(true));
        assert_eq!(raw("1").flag(), None);
        assert_eq!(raw(r#""true""#).flag(), None);
        assert_eq!(raw("1e400").number(), Some(f64::INFINITY));
        assert_eq!(raw(r#""1""#).number(), None);
        assert_eq!(raw("null").number(), None);
        assert_eq!(raw(r#"{"0":1}"#).items().len(), 0);
        assert_eq!(raw("[1,[2],{}]").items().len(), 3);
        assert!(raw("[]").items().is_empty());
    }

    #[test]
    fn of_two_members_with_one_name_the_last_holds() {
        members!(Sample { id, kind "type" });
        let sample = Sample::read(raw(r#"{"id":1,"type":"a","kind":"b","id":2}"#));
        assert_eq!(sample.id.whole(), Some(2));
        assert_eq!(sample.kind.text().as_deref(), Some("a"));
        assert!(Sample::read(raw("[]")).id.written().is_none());
    }
}
