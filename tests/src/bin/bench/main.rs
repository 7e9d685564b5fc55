//! What the relay costs, beside the least that a relay can cost, on this machine.
//!
//! ```sh
//! cargo run --release -p qqrelay-tests --bin bench             # everything, about 15 minutes
//! cargo run --release -p qqrelay-tests --bin bench -- flood    # one part: flood, count, idle, worker, file,
//!                                                              #   takeover, roll, bots
//! ```
//!
//! `--json` prints what was measured as JSON, `--runs N` how often each is measured; the median is
//! told. The platform floods from this process; only the measured process is counted, by the kernel's
//! own counters. Nothing else should run on the machine.

mod bots;
mod count;
mod file;
mod flood;
mod idle;
mod raw;
mod roll;
mod scene;
mod table;
mod takeover;
mod worker;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value};

use self::table::Table;

/// Measures the relay.
#[derive(Debug, Parser)]
struct Asked {
    /// What to measure; everything where nothing is named.
    parts: Vec<Part>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// How often each figure is measured.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    #[command(subcommand)]
    process: Option<Process>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The gateway and the raw-limit relay by turns under a flood.
    Flood,
    /// Instructions and allocations of the gateway for one event, where there is valgrind.
    Count,
    /// Memory of idle sessions.
    Idle,
    /// Commands of a worker and of a bare HTTP loop by turns.
    Worker,
    /// One process on a file.
    File,
    /// How long shards are deaf when a gateway dies or hands over.
    Takeover,
    /// Rolling restarts under a million events.
    Roll,
    /// A gateway with 500 bots.
    Bots,
}

/// What this binary is for itself.
#[derive(Debug, Subcommand)]
enum Process {
    /// The raw-limit relay.
    #[command(hide = true)]
    Raw { task: String },
    /// The bare HTTP loop.
    #[command(hide = true)]
    Http { task: String },
}

fn main() -> anyhow::Result<()> {
    let asked = Asked::parse();
    match asked.process {
        Some(Process::Raw { task }) => raw::run(serde_json::from_str(&task)?),
        Some(Process::Http { task }) => worker::http(serde_json::from_str(&task)?),
        None => measure(&asked),
    }
}

#[tokio::main]
async fn measure(asked: &Asked) -> anyhow::Result<()> {
    let mut all = Map::new();
    for part in Part::value_variants() {
        if !asked.parts.is_empty() && !asked.parts.contains(part) {
            continue;
        }
        let table: Table = match part {
            Part::Flood => flood::measure(asked.runs).await?,
            Part::Count => count::measure().await?,
            Part::Idle => idle::measure(asked.runs).await?,
            Part::Worker => worker::measure(asked.runs).await?,
            Part::File => file::measure().await?,
            Part::Takeover => takeover::measure(asked.runs).await?,
            Part::Roll => roll::measure().await?,
            Part::Bots => bots::measure().await?,
        };
        let name = part.to_possible_value().context("a part without a name")?;
        if asked.json {
            all.insert(name.get_name().to_owned(), table.json());
        } else {
            println!("{table}");
        }
    }
    if asked.json {
        println!("{}", serde_json::to_string_pretty(&Value::Object(all))?);
    }
    Ok(())
}
