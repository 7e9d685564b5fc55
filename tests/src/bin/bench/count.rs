//! What one event takes of the gateway, counted by valgrind: the same on a busy machine as on an idle
//! one.
//!
//! Two runs of one length differ in their rate alone, so that start, end and timers cancel.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use qqrelay_simulator::Config;
use qqrelay_tests::cluster::Servers;
use tokio::time::sleep;

use crate::scene::{Measured, platform};
use crate::table::Table;

const SESSIONS: u16 = 8;

/// What a gateway can hold that runs fifty times slower.
const RATES: [u64; 2] = [50, 450];
const LENGTH: Duration = Duration::from_secs(20);

/// For the end of a process that runs fifty times slower.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// What of valgrind's tools counts what, and how the line with the count begins.
const INSTRUCTIONS: (&str, &str) = ("callgrind", "Collected : ");
const ALLOCATIONS: (&str, &str) = ("dhat", "Total: ");

/// Counts both.
pub(crate) async fn measure() -> anyhow::Result<Table> {
    let mut table = Table::new(
        "gateway, counted for one event of 1.2 KB by valgrind",
        &[("instructions", 0), ("allocations", 1)],
    );
    table.row("8 sessions", [each(INSTRUCTIONS).await?, each(ALLOCATIONS).await?]);
    Ok(table)
}

async fn each(tool: (&str, &str)) -> anyhow::Result<f64> {
    let [few, many] = [counted(tool, RATES[0]).await?, counted(tool, RATES[1]).await?];
    ensure!(many.events > few.events, "no more events at {}/s than at {}/s", RATES[1], RATES[0]);
    Ok((many.count - few.count) / (many.events - few.events))
}

/// What a run took.
struct Counted {
    count: f64,
    events: f64,
}

async fn counted((tool, line): (&str, &str), rate: u64) -> anyhow::Result<Counted> {
    let folder = tempfile::tempdir()?;
    let [output, log] = ["out", "log"].map(|name| folder.path().join(name));
    let under = [
        "valgrind".to_owned(),
        format!("--tool={tool}"),
        format!("--{tool}-out-file={}", output.display()),
        format!("--log-file={}", log.display()),
    ];
    let platform = platform(SESSIONS, Config::default().flooded(rate)).await?;
    let servers = Servers::start(1).await?;
    let scene =
        Measured::start_under(&under, "gateway", SESSIONS, &platform, Some(&servers), "").await?;
    scene.live(SESSIONS).await.context("a gateway under valgrind")?;
    sleep(LENGTH).await;
    let events = scene.relay.series("qqrelay_events_total").await?.iter().sum();
    let ended = scene.end(ENDS_WITHIN).await?;
    ensure!(ended.success(), "the gateway ended with {ended}");
    Ok(Counted { count: total(&log, line)?, events })
}

/// The number behind these words in what valgrind says at the end.
fn total(log: &Path, line: &str) -> anyhow::Result<f64> {
    let said = fs::read_to_string(log)?;
    let behind = said.rsplit_once(line).with_context(|| format!("no {line:?} in {said}"))?.1;
    // "Total: 1,234 bytes in 56 blocks"
    let line = behind.lines().next().unwrap_or_default();
    let number = line.split_once(" in ").map_or(line, |(_, blocks)| blocks);
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("no number in {line:?}"))
}
