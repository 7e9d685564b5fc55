//! Access tokens: what is issued, until when it holds, whose it is.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use qqrelay_proto::id::AppId;

use crate::clock::WallMs;
use crate::dice::Dice;
use crate::lock;

/// Every access token that still holds.
///
/// A call while more than [`TokenBook::OVERLAP`] is left gives the same token; within the last of
/// it, a new one, and the old keeps its own end.
///
/// Source: spec/auth.md §2.3.
#[derive(Debug)]
pub struct TokenBook {
    life: Duration,
    dice: Dice,
    issued: Mutex<HashMap<AppId, Vec<Issued>>>,
}

/// A token as the endpoint answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// What the client presents.
    pub token: String,
    /// From when on it no longer holds.
    pub expires_at: WallMs,
}

impl TokenBook {
    /// How long an old token and its successor both hold.
    pub const OVERLAP: Duration = Duration::from_secs(60);

    /// A book whose tokens hold for `life`: 7200 s on the real platform.
    #[must_use]
    pub fn new(life: Duration, dice: Dice) -> Self {
        Self { life, dice, issued: Mutex::default() }
    }

    /// The token of an app whose credentials were right.
    pub fn issue(&self, app: &AppId, now: WallMs) -> Issued {
        let mut issued = lock(&self.issued);
        let tokens = issued.entry(app.clone()).or_default();
        tokens.retain(|token| token.expires_at > now);
        if let Some(last) = tokens.last()
            && last.expires_at - now > millis(Self::OVERLAP)
        {
            return last.clone();
        }
        let new = Issued { token: self.dice.hex(48), expires_at: now + millis(self.life) };
        tokens.push(new.clone());
        new
    }

    /// Whose token this is, while it holds.
    #[must_use]
    pub fn owner(&self, token: &str, now: WallMs) -> Option<AppId> {
        let issued = lock(&self.issued);
        let holds = |of: &Issued| of.token == token && of.expires_at > now;
        issued.iter().find(|(_, tokens)| tokens.iter().any(holds)).map(|(app, _)| app.clone())
    }

    /// Ends every token of an app at once, as a rotated secret does.
    pub fn expire(&self, app: &AppId) {
        lock(&self.issued).remove(app);
    }
}

fn millis(duration: Duration) -> WallMs {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_until_its_last_minute_and_then_two_hold() {
        let book = TokenBook::new(Duration::from_secs(7200), Dice::new(1));
        let app = AppId::from("102");
        let first = book.issue(&app, 0);
        assert_eq!(book.issue(&app, 7_139_999), first);
        let second = book.issue(&app, 7_140_000);
        assert_ne!(second, first);
        assert_eq!(book.owner(&first.token, 7_199_999), Some(app.clone()));
        assert_eq!(book.owner(&second.token, 7_199_999), Some(app.clone()));
        assert_eq!(book.owner(&first.token, 7_200_000), None);
        book.expire(&app);
        assert_eq!(book.owner(&second.token, 7_200_000), None);
    }

    #[test]
    fn apps_have_tokens_of_their_own() {
        let book = TokenBook::new(Duration::from_secs(7200), Dice::new(1));
        let (a, b) = (AppId::from("a"), AppId::from("b"));
        let (of_a, of_b) = (book.issue(&a, 0), book.issue(&b, 0));
        assert_eq!(book.owner(&of_a.token, 1), Some(a));
        assert_eq!(book.owner(&of_b.token, 1), Some(b));
    }
}
