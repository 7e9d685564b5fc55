//! Runs schedules: `cargo run --profile suites -p qqrelay-simulation -- --seeds 100000`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use qqrelay_simulation::{Mutant, Violation, run, run_told};

/// Runs the schedules of seeds, and says which of them break a promise.
#[derive(Debug, Parser)]
struct Asked {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// A rule to break on purpose.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Tells every step of the first seed, and runs no other.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    if asked.trace {
        let outcome = run_told(asked.from, asked.mutant, |at, step| println!("{at:>7} {step}"));
        println!("{outcome:?}");
        return ExitCode::SUCCESS;
    }
    let (begun, mut broken, mut steps) = (Instant::now(), 0, 0);
    let mut rules: BTreeMap<_, u64> = BTreeMap::new();
    for seed in asked.from..asked.from + asked.seeds {
        let outcome = run(seed, asked.mutant);
        steps += outcome.steps;
        let found: BTreeSet<_> =
            outcome.violations.iter().map(|Violation(rule, _)| *rule).collect();
        for rule in found {
            *rules.entry(rule).or_default() += 1;
        }
        if !outcome.violations.is_empty() {
            broken += 1;
            if broken <= 5 {
                println!("seed {seed}:");
                for violation in outcome.violations.iter().take(5) {
                    println!("  {violation}");
                }
            }
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{} schedules, {broken} broken {rules:?}, {:.0}/s, {} steps each",
        asked.seeds,
        asked.seeds as f64 / took,
        steps / asked.seeds.max(1)
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
