//! A text that must never be seen: what holds it prints nothing and serialises to nothing.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

/// A secret text, wiped from memory when dropped.
///
/// It has `Debug`, because what holds it wants one, and that prints a constant. It has neither
/// `Display` nor `Serialize`, so it cannot end in a log line or a JSON document by accident.
#[derive(Clone, Default)]
pub struct Secret(SecretString);

/// What a secret must not look like. Nothing here carries the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It starts with the mark some editors put before UTF-8 text.
    #[error("begins with a byte order mark")]
    ByteOrderMark,
    /// It has a line break or another control character in it.
    #[error("has a line break or another control character in it")]
    Control,
    /// It has a blank at one end, which a copy from a web page often leaves.
    #[error("begins or ends with a blank")]
    Blank,
    /// It has fewer characters than [`Secret::MIN_CHARS`].
    #[error("has {found} characters, fewer than {}", Secret::MIN_CHARS)]
    Short {
        /// How many it has.
        found: usize,
    },
}

impl Secret {
    /// The fewest characters a secret may have.
    ///
    /// The platform repeats a short one to 32 bytes to make a signing key of it, so that `ab` and
    /// `abab` are the same key; and the shortest real one seen has 16.
    ///
    /// Source: PLATFORM.md, "credentials".
    pub const MIN_CHARS: usize = 16;

    /// Keeps a text as a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether no text was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// Says what is wrong with the text.
    ///
    /// # Errors
    ///
    /// The text cannot be a bot's or a webhook's secret; the variant says why.
    pub fn check(&self) -> Result<(), SecretError> {
        let text = self.expose();
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        if text.starts_with('\u{feff}') {
            return Err(SecretError::ByteOrderMark);
        }
        if text.chars().any(char::is_control) {
            return Err(SecretError::Control);
        }
        if text.trim() != text {
            return Err(SecretError::Blank);
        }
        let found = text.chars().count();
        if found < Self::MIN_CHARS {
            return Err(SecretError::Short { found });
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

/// A visitor of our own, because serde's refusal of a wrong type prints the value.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                Err(E::custom("is a number, expected text in quotes"))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
                Err(E::custom("is a number, expected text in quotes"))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::custom("is a number, expected text in quotes"))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": Self::MIN_CHARS, "writeOnly": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_refused_with_its_reason_and_without_its_text() {
        let check = |text: &str, expected: Result<(), SecretError>| {
            assert_eq!(Secret::new(text.into()).check(), expected, "{text:?}");
        };
        check("0123456789abcdef", Ok(()));
        check("", Err(SecretError::Empty));
        check("\u{feff}0123456789abcdef", Err(SecretError::ByteOrderMark));
        check("0123456789abcdef\n", Err(SecretError::Control));
        check("01234567\r\n89abcdef", Err(SecretError::Control));
        check("0123456789abcdef\0", Err(SecretError::Control));
        check(" 0123456789abcdef", Err(SecretError::Blank));
        check("0123456789abcde", Err(SecretError::Short { found: 15 }));
    }

    #[test]
    fn what_holds_a_secret_prints_nothing_of_it() {
        let secret = Secret::new("canary-canary-canary".into());
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "Secret Some(\n    Secret,\n)");
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_refused_without_printing_it() {
        for json in ["123456789", "1234.5678", "[\"canary\"]"] {
            let error = serde_json::from_str::<Secret>(json).unwrap_err().to_string();
            assert!(!error.contains("1234") && !error.contains("canary"), "{error}");
        }
    }
}
