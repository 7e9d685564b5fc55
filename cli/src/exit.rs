//! How a command ends: one code for each kind of end, the same in every subcommand.

use std::fmt;
use std::process::ExitCode;

use qqrelay_runtime::config::Problems;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It did its work, and the answer is no; what there is to say has been said.
    No,
    /// It could not do its work.
    Failed(anyhow::Error),
    /// A server or file that it needs is not to be had.
    Unavailable(anyhow::Error),
    /// The configuration is wrong.
    Config(Problems),
    /// The configuration does not fit what is there: the other side refuses it.
    Setting(anyhow::Error),
}

/// What a subcommand gives back.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// As in `sysexits.h` where there is such a code; clap takes 2 for a wrong command line.
    const fn code(&self) -> u8 {
        match self {
            Self::No | Self::Failed(_) => 1,
            Self::Unavailable(_) => 69,
            Self::Config(_) | Self::Setting(_) => 78,
        }
    }

    /// Something it needs is not to be had.
    pub(crate) fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable(error.into())
    }

    /// Says on standard error what is wrong, and gives the code to end with.
    pub(crate) fn report(self) -> ExitCode {
        match &self {
            Self::No => {}
            failure => eprintln!("qqrelay: {failure}"),
        }
        ExitCode::from(self.code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::Failed(error) | Self::Unavailable(error) | Self::Setting(error) => {
                write!(f, "{error:#}")
            }
            Self::Config(problems) => problems.fmt(f),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
