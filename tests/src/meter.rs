//! What a process of ours costs, by the kernel's own counters.

use std::fs;

use anyhow::Context;

/// Clock ticks in a second, of the kernel's counters: 100 on every Linux that we build for.
const TICKS: f64 = 100.0;

/// Looks at one process.
#[derive(Debug, Clone, Copy)]
pub struct Meter(u32);

impl Meter {
    /// Of the process with this id.
    #[must_use]
    pub const fn of(id: u32) -> Self {
        Self(id)
    }

    /// Processor time that it has used, in seconds.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn cpu(self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name in parentheses may hold spaces; user and system time are the 12th and 13th behind.
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
        let mut next = || times.next().context("too few fields in stat");
        Ok((next()?? + next()??) / TICKS)
    }

    /// Memory that it holds, in KiB.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn rss_kib(self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
    }
}
