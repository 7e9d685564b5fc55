//! Messages that may call back a user who went silent: one in each of four windows.
//!
//! Source: PLATFORM.md, "wake-up".

use std::time::Duration;

use super::Refusal;
use super::meter::age;
use crate::clock::WallMs;

const DAY: Duration = Duration::from_secs(86_400);

/// The ends of the windows, counted from when the user last wrote.
const WINDOW_ENDS: [Duration; 4] =
    [DAY, DAY.saturating_mul(3), DAY.saturating_mul(7), DAY.saturating_mul(30)];

/// One user's windows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wakeup {
    wrote: Option<WallMs>,
    used: [bool; WINDOW_ENDS.len()],
}

impl Wakeup {
    /// The user wrote: all windows begin again.
    pub fn wrote(&mut self, at: WallMs) {
        *self = Self { wrote: Some(at), used: [false; WINDOW_ENDS.len()] };
    }

    /// Uses the window that `now` lies in.
    ///
    /// # Errors
    /// The window is used, or there is none: the user never wrote, or not for 30 days.
    pub fn take(&mut self, now: WallMs) -> Result<(), Refusal> {
        let silent = age(self.wrote.ok_or(Refusal::WakeupRefused)?, now);
        let window =
            WINDOW_ENDS.iter().position(|end| silent < *end).ok_or(Refusal::WakeupRefused)?;
        if std::mem::replace(&mut self.used[window], true) {
            return Err(Refusal::WakeupUsed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_takes_one_and_writing_opens_all_again() {
        const DAY_MS: WallMs = 86_400_000;
        let mut wakeup = Wakeup::default();
        assert_eq!(wakeup.take(0), Err(Refusal::WakeupRefused));
        wakeup.wrote(0);
        let mut check = |now, expected| assert_eq!(wakeup.take(now), expected, "{now}");
        check(1, Ok(()));
        check(DAY_MS - 1, Err(Refusal::WakeupUsed));
        check(DAY_MS, Ok(()));
        check(5 * DAY_MS, Ok(()));
        check(29 * DAY_MS, Ok(()));
        check(30 * DAY_MS, Err(Refusal::WakeupRefused));
        wakeup.wrote(31 * DAY_MS);
        assert_eq!(wakeup.take(31 * DAY_MS), Ok(()));
    }
}
