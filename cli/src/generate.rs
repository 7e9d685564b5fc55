//! What is made from the definition of the command line: completions and manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::exit::Outcome;
use crate::out;

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "qqrelay", &mut script);
    out::text(String::from_utf8_lossy(&script));
}

/// Prints the manual page of the whole, or writes a page for each command.
///
/// # Errors
///
/// A page cannot be written.
pub(crate) fn man(dir: Option<&Path>) -> Outcome {
    match dir {
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page)?;
            out::text(String::from_utf8_lossy(&page));
        }
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            write_pages(Cli::command(), dir)?;
        }
    }
    Ok(())
}

fn write_pages(command: clap::Command, dir: &Path) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_pages(inner.clone(), dir)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut file = fs::File::create(dir.join(format!("{name}.1")))?;
    Man::new(command).title(name).render(&mut file)?;
    file.flush()
}
