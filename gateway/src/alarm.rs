//! A wait that is set again and again, and mostly to what it is set to already.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// Registers with the timer only when its time changes: a loop that turns once for each event must not
/// pay for a timer each time.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// When it is to go off; `None` is never.
    pub(crate) fn set(&mut self, at: Option<Instant>) {
        if self.at == at {
            return;
        }
        self.at = at;
        match (&mut self.sleep, at) {
            (Some(sleep), Some(at)) => sleep.as_mut().reset(at.into()),
            (None, Some(at)) => self.sleep = Some(Box::pin(sleep_until(at.into()))),
            (_, None) => {}
        }
    }

    /// Goes off at its time, and again at once until it is set to another.
    pub(crate) async fn wait(&mut self) {
        match (&mut self.sleep, self.at) {
            (Some(sleep), Some(_)) => sleep.await,
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_at_its_time_whatever_it_was_set_to_before() {
        let now = || tokio::time::Instant::now().into_std();
        let mut alarm = Alarm::default();
        assert!(alarm.wait().now_or_never().is_none());
        let soon = now() + Duration::from_secs(1);
        alarm.set(Some(soon + Duration::from_secs(1)));
        alarm.set(Some(soon));
        assert!(alarm.wait().now_or_never().is_none());
        advance(Duration::from_secs(1)).await;
        assert!(alarm.wait().now_or_never().is_some());
        assert!(alarm.wait().now_or_never().is_some(), "nobody has set it anew");
        alarm.set(None);
        assert!(alarm.wait().now_or_never().is_none());
        alarm.set(Some(soon));
        assert!(alarm.wait().now_or_never().is_some());
    }
}
