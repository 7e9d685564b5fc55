//! Does something over and over until it is done, or the work is left.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use crate::duty::{Duty, Leave};

/// The first wait between two tries; it doubles.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(5);

/// Tries until it works. For what has to be written before work can go on, and which may be written
/// twice.
///
/// # Errors
///
/// The work is to be left first.
pub async fn persist<T, E, F>(
    duty: &Duty,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Leave>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut wait = FIRST;
    loop {
        match duty.run(attempt()).await? {
            Ok(value) => return Ok(value),
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, what, "trying again");
            }
        }
        duty.wait(wait).await?;
        wait = (wait * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duty::tests::terms;

    #[derive(Debug, thiserror::Error)]
    #[error("not yet")]
    struct NotYet;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_until_it_works() {
        let (terms, mut failures) = (terms(), 20);
        let done = persist(&terms.duty, "a test", || {
            failures -= 1;
            std::future::ready(if failures == 0 { Ok(7) } else { Err(NotYet) })
        });
        assert_eq!(done.await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_lane() {
        let terms = terms();
        terms.tenure.end();
        let done = persist::<(), _, _>(&terms.duty, "a test", || std::future::ready(Err(NotYet)));
        assert_eq!(done.await, Err(Leave::Lost));
    }
}
