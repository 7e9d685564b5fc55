//! A command's name, and the number it gives its message.
//!
//! Both are functions of what was asked for, never of chance: a redelivered event gives the same
//! command again, and the platform recognises the message that it has already.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{fnv1a32, sha256_hex};

/// What names a command, for its sender, its outcome and the platform's de-duplication.
///
/// Those of handlers have the form `<event id>/<handler>/<number>`. Any other text will do that its
/// bot uses for nothing else within a day.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct CommandId(#[schemars(with = "String", length(min = 1, max = 256))] Arc<str>);

impl CommandId {
    /// The longest id that is taken, in bytes.
    pub const MAX: usize = 256;

    /// The id of a handler's command number `number`, from 0, in answer to an event.
    ///
    /// The number is written with the digits `0-9a-z`, because only the last byte of a text is
    /// certain to change its [`CommandId::msg_seq`]: the ids of up to 36 commands to one event
    /// never share one. Decimal digits can collide from the eleventh command on.
    ///
    /// Of an event id that no command id can hold, its SHA-256 stands in: whatever the platform
    /// makes its ids of, events can be answered.
    #[must_use]
    pub fn of_handler(event_id: &str, handler: &str, number: u32) -> Self {
        /// Two slashes and the digits of the largest number.
        const REST: usize = 2 + 7;
        let fits = event_id.len() + handler.len() + REST <= Self::MAX;
        let number = Base36(number);
        Self(if fits && !event_id.chars().any(char::is_control) {
            format!("{event_id}/{handler}/{number}").into()
        } else {
            format!("{}/{handler}/{number}", sha256_hex(event_id.as_bytes())).into()
        })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The `msg_seq` that the command's message takes first: `1 + fnv1a32(id) mod 65535`.
    ///
    /// Ids that differ in their last byte only never share it: FNV mixes that byte in last, so two
    /// such hashes are `d × 16777619` apart with `0 < |d| < 256`. Modulo 65535 that is `659 × d`,
    /// give or take 1 for the wrap at 2³², and no such `d` makes it zero.
    #[must_use]
    pub fn msg_seq(&self) -> MsgSeq {
        let place = fnv1a32([self.0.as_bytes()]) % u32::from(u16::MAX);
        let number = u16::try_from(place + 1).ok().and_then(NonZeroU16::new);
        MsgSeq(number.expect("1 to 65535 is within 16 bits and not zero"))
    }
}

impl<T: Into<Arc<str>>> From<T> for CommandId {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandId({:?})", &*self.0)
    }
}

struct Base36(u32);

impl fmt::Display for Base36 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        if self.0 >= 36 {
            Self(self.0 / 36).fmt(f)?;
        }
        let digit = DIGITS[self.0 as usize % 36];
        write!(f, "{}", char::from(digit))
    }
}

/// The number of a message among the replies to one message or event: 1 to 65535.
///
/// The platform shows a pair of message id and number once, in groups and single chats.
///
/// Source: PLATFORM.md, "msg_seq".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct MsgSeq(pub NonZeroU16);

impl MsgSeq {
    /// The number after this one; after the last comes 1.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(NonZeroU16::MIN))
    }

    /// As the wire has it.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_read_as_the_design_writes_them() {
        let check = |number, expected: &str| {
            assert_eq!(CommandId::of_handler("102:m1", "echo", number).as_str(), expected);
        };
        check(0, "102:m1/echo/0");
        check(9, "102:m1/echo/9");
        check(10, "102:m1/echo/a");
        check(35, "102:m1/echo/z");
        check(36, "102:m1/echo/10");
        check(u32::MAX, "102:m1/echo/1z141z3");
    }

    #[test]
    fn events_with_any_id_can_be_answered() {
        for event in ["x".repeat(243), "x".repeat(244), "a\nb".to_owned()] {
            let id = CommandId::of_handler(&event, "echo", u32::MAX);
            assert!(id.as_str().len() <= CommandId::MAX);
            assert!(!id.as_str().contains('\n'));
            assert_eq!(id, CommandId::of_handler(&event, "echo", u32::MAX));
        }
        let kept = CommandId::of_handler(&"x".repeat(243), "echo", 0);
        assert!(kept.as_str().starts_with('x'));
        assert_ne!(
            CommandId::of_handler(&"x".repeat(300), "echo", 0),
            CommandId::of_handler(&"x".repeat(301), "echo", 0)
        );
    }

    /// These values are seen by the platform: another release must give the same ones.
    #[test]
    fn numbers_never_change_between_releases() {
        let check = |id: &str, expected| {
            assert_eq!(CommandId::from(id).msg_seq().get(), expected, "{id}");
        };
        check("", 7907);
        check("a", 3386);
        check("102:m1/echo/0", 35_920);
    }

    #[test]
    fn after_the_last_number_comes_the_first() {
        assert_eq!(MsgSeq(NonZeroU16::MAX).next(), MsgSeq(NonZeroU16::MIN));
    }

    proptest! {
        #[test]
        fn the_replies_to_one_event_never_share_a_number(event in ".{0,60}", handler in ".{0,20}") {
            let number = |n| CommandId::of_handler(&event, &handler, n).msg_seq();
            let numbers: BTreeSet<_> = (0..36).map(number).collect();
            prop_assert_eq!(numbers.len(), 36);
        }

        #[test]
        fn ids_that_differ_in_the_last_byte_never_share_a_number(start in ".{0,40}") {
            let number = |last: u8| CommandId::from(format!("{start}{}", char::from(last))).msg_seq();
            let numbers: BTreeSet<_> = (0..128).map(number).collect();
            prop_assert_eq!(numbers.len(), 128);
        }
    }
}
