//! `qqrelay config`, and how every process comes by its configuration.

use std::path::{Path, PathBuf};

use qqrelay_runtime::config::{self, Loaded};

use crate::args::{Config, Process};
use crate::exit::{Failure, Outcome};
use crate::out;

/// What a process reads when it is told nothing.
const USUAL: &str = "qqrelay.toml";

/// Reads the configuration of a process.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn load(process: &Process) -> Result<Loaded, Failure> {
    config::load(file(process).as_deref(), config::environment()).map_err(Failure::Config)
}

/// The file that a process reads, if there is one.
pub(crate) fn file(process: &Process) -> Option<PathBuf> {
    let usual = || Path::new(USUAL).exists().then(|| PathBuf::from(USUAL));
    process.config.clone().or_else(usual)
}

/// Runs the subcommand.
///
/// # Errors
///
/// The configuration is wrong.
pub(crate) fn run(command: &Config) -> Outcome {
    match command {
        Config::Check(process) => check(process),
        Config::Example => {
            out::text(config::example());
            Ok(())
        }
        Config::Schema => {
            out::line(config::schema());
            Ok(())
        }
    }
}

fn check(process: &Process) -> Outcome {
    let Loaded { config, warnings } = load(process)?;
    for warning in &warnings {
        out::line(format!("warning: {warning}"));
    }
    let name =
        file(process).map_or_else(|| "environment".to_owned(), |it| it.display().to_string());
    let bots = config.bots.len();
    let plural = if bots == 1 { "" } else { "s" };
    out::line(format!("{name}: in order, {bots} bot{plural}"));
    Ok(())
}
