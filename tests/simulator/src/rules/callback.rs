//! How patient the platform is with a callback URL. Nothing of it is documented; the defaults are
//! what was seen in the field.
//!
//! Source: spec/webhook.md §6.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::span;

/// How callbacks are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackLimits {
    /// How long an answer may take.
    #[serde(with = "span")]
    pub patience: Duration,
    /// How often an event is sent again, under the same id, when it was not taken.
    pub repeats: u32,
    /// How long the platform waits before it sends again.
    #[serde(with = "span")]
    pub pause: Duration,
    /// Callbacks under way at once, of all bots.
    pub at_once: usize,
    /// Events that may wait for their turn; what comes above is dropped and counted.
    pub waiting: usize,
}

impl Default for CallbackLimits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(3),
            repeats: 3,
            pause: Duration::from_secs(1),
            at_once: 64,
            waiting: 100_000,
        }
    }
}

/// Whether an answer means that the event was taken.
///
/// Bots in production answer with `{"op":12}` in several shapes or with nothing; only the status and
/// an explicit `d` of 1 can be what counts.
#[must_use]
pub fn acknowledged(status: u16, body: &[u8]) -> bool {
    let refused = || {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        answer["op"] == 12 && answer["d"] == 1
    };
    (200..300).contains(&status) && !refused()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_and_an_explicit_failure_count() {
        let check = |status, body: &str, expected| {
            assert_eq!(acknowledged(status, body.as_bytes()), expected, "{status} {body}");
        };
        check(200, r#"{"op":12,"d":0}"#, true);
        check(200, "", true);
        check(204, "", true);
        check(200, r#"{"op":12}"#, true);
        check(200, r#"{"op":12,"d":{}}"#, true);
        check(200, r#"{"opcode":12}"#, true);
        check(200, "<html>", true);
        check(200, r#"{"op":12,"d":1}"#, false);
        check(503, r#"{"op":12,"d":0}"#, false);
        check(302, "", false);
    }
}
