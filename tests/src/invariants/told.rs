//! I4: RESUMEs and heartbeats name sequences that were durable when they came.
//!
//! A record is stamped before it is committed, so a record that is younger than what names it was
//! not durable then. A sequence that only memory held shows itself after a kill at the latest: its
//! record is written again, by a later owner and with a later time, or never.

use std::collections::HashMap;

use qqrelay_proto::id::{Seq, SessionId};
use qqrelay_simulator::journal::{Entry, Line};

use super::log::{Log, What};
use super::report::{Report, Rule};

/// Both clocks are this machine's, read in whole milliseconds and one of them not at each time.
const CLOCKS_AGREE_MS: u64 = 20;

pub(super) fn check(journal: &[Line], log: &Log<'_>, report: &mut Report) {
    let durable = durable(log);
    for line in journal {
        let (session, seq, what) = match &line.entry {
            Entry::Resume { session, seq: Some(seq), .. } => {
                (SessionId::from(session.as_str()), *seq, "RESUME")
            }
            Entry::Heartbeat { session: Some(session), d, .. } => match d.as_u64() {
                Some(seq) => (session.clone(), seq, "heartbeat"),
                None if d.is_null() => continue,
                None => {
                    report.violated(Rule::Durable, format!("a heartbeat says {d}"));
                    continue;
                }
            },
            _ => continue,
        };
        let at = u64::try_from(line.at_ms).unwrap_or_default() + CLOCKS_AGREE_MS;
        let records = durable.get(&session).map_or(&[][..], Vec::as_slice);
        let known = records.iter().take_while(|(_, stored)| *stored <= at).last();
        let known = known.map_or(0, |(seq, _)| *seq);
        if seq > known {
            let found = format!(
                "journal {}: {what} of session {session} names {seq}; the log had {known} then",
                line.index
            );
            report.violated(Rule::Durable, found);
        }
    }
}

/// Each session's records in order: how far they reach, and when they were written.
fn durable(log: &Log<'_>) -> HashMap<SessionId, Vec<(Seq, u64)>> {
    let mut durable = HashMap::<SessionId, Vec<(Seq, u64)>>::new();
    for entry in log.sources.values().flatten() {
        let reached = match &entry.what {
            What::Gap(gap) => gap.session.as_ref().zip(gap.until),
            _ => entry.frame(),
        };
        if let Some((session, seq)) = reached {
            durable.entry(session.clone()).or_default().push((seq, entry.stored.at_ms));
        }
    }
    durable
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_sequence_that_only_memory_held_is_found() {
        fixture::check(|run| run.resume("s1", 6), Rule::Durable);
        fixture::check(|run| run.heartbeat("s1", 6), Rule::Durable);
        fixture::check(|run| run.resume("s9", 1), Rule::Durable);
    }

    #[test]
    fn a_record_that_was_written_later_is_found() {
        fixture::check(
            |run| {
                run.pushed("s1", 6, 90);
                run.heartbeat("s1", 6);
                run.later(1_000);
                run.event("s1", 6, 90);
            },
            Rule::Durable,
        );
    }
}
