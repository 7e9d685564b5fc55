//! An error with all its causes, on one line of the log.

use std::error::Error;
use std::fmt;

/// Shows an error and what lies under it, as `what: why: why of that`.
pub(crate) struct InFull<'a>(pub(crate) &'a (dyn Error + 'a));

impl fmt::Display for InFull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
