//! Faults under load for as long as you like.
//!
//! ```sh
//! cargo run --profile suites -p qqrelay-tests --bin chaos -- --minutes 10 --seed 7
//! cargo run --profile suites -p qqrelay-tests --bin chaos -- --replicas 3
//! ```
//!
//! Three gateways, two workers, nats-server, redis-server and the simulated platform are started here
//! and have all ended when it ends. A seed brings the same faults in the same order; what they meet
//! depends on the machine.

use std::time::Duration;

use clap::Parser;
use qqrelay_tests::chaos::{Chaos, Outcome};

/// Brings faults upon a relay and judges what is left.
#[derive(Debug, Parser)]
struct Asked {
    /// How long faults come.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// What decides which faults come.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One nats-server, or three.
    #[arg(long, default_value_t = 1)]
    replicas: u8,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Asked { minutes, seed, replicas } = Asked::parse();
    let lasts = Duration::from_secs(60 * minutes);
    let Outcome { faults, tally } = Chaos { seed, lasts, replicas }.run().await?;
    println!("seed {seed}: every promise was kept\n{faults:?}\n{tally:?}");
    Ok(())
}
