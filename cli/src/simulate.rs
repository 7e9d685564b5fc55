//! `qqrelay simulate`: the simulated platform as a process.

use anyhow::{Context, anyhow};
use qqrelay_runtime::shutdown;
use qqrelay_simulator::journal::JournalConfig;
use qqrelay_simulator::scenario::Scenario;
use qqrelay_simulator::{AppConfig, Config, Simulator};

use crate::args::Simulate;
use crate::base::logging;
use crate::exit::{Failure, Outcome};
use crate::out;

/// Runs the platform until it is told to stop.
///
/// # Errors
///
/// It cannot listen, or what it was told makes no sense.
pub(crate) async fn run(args: Simulate) -> Outcome {
    let _telemetry = logging("simulate")?;
    let stop = shutdown::listen().context("signals")?;
    let platform = Simulator::start(config(&args)?).await.map_err(Failure::unavailable)?;
    out::line(platform.base_url());
    stop.cancelled().await;
    platform.shutdown().await;
    Ok(())
}

fn config(args: &Simulate) -> Result<Config, Failure> {
    let apps = args.apps.iter().map(|app| bot(app)).collect::<Result<_, _>>()?;
    let journal = JournalConfig { file: args.journal.clone(), ..JournalConfig::default() };
    let config = Config {
        listen: args.listen,
        apps,
        shards: args.shards,
        seed: args.seed,
        journal,
        scenario: args.scenario.as_deref().map(Scenario::read).transpose()?,
        ..Config::default()
    };
    let config = if args.strict { config.strict() } else { config };
    Ok(match args.flood {
        Some(rate) => config.flooded(rate.into()),
        None => config,
    })
}

fn bot(app: &str) -> Result<AppConfig, Failure> {
    let (id, secret) = app
        .split_once(':')
        .filter(|(id, secret)| !id.is_empty() && !secret.is_empty())
        .ok_or_else(|| anyhow!("--app {app:?} is not ID:SECRET"))?;
    Ok(AppConfig::new(id, secret))
}
