//! The relay's one binary.

mod admin_port;
mod apart;
mod args;
mod base;
mod config;
mod copies;
mod demo;
mod exit;
mod generate;
mod local_api;
mod out;
mod process;
mod running;
mod send;
mod simulate;
mod stores;
mod tail;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::exit::{Failure, Outcome};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Config(command) => config::run(&command),
        Command::Completions { shell } => {
            generate::completions(shell);
            Ok(())
        }
        Command::Man { dir } => generate::man(dir.as_deref()),
        Command::Demo(args) => with_runtime(demo::run(args)),
        Command::Standalone(args) => process::run(&args, process::Roles::Both),
        Command::Gateway(args) => process::run(&args, process::Roles::Gateway),
        Command::Worker(args) => process::run(&args, process::Roles::Worker),
        Command::Simulate(args) => with_runtime(simulate::run(args)),
        Command::Tail(args) => with_runtime(tail::run(&args)),
        Command::Send(args) => with_runtime(send::run(*args)),
        Command::Shards(args) => with_runtime(running::shards(&args)),
    }
}

fn with_runtime(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::unavailable)?;
    runtime.block_on(work)
}
