//! What the demo has shown: the platform's journal against the stored log.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::anyhow;
use qqrelay_proto::event::Event;
use qqrelay_proto::id::AppId;
use qqrelay_proto::record::{Gap, GapReason, Stored};
use qqrelay_runtime::bus::{Bus, Reader, Start};
use qqrelay_simulator::Simulator;
use qqrelay_simulator::journal::{Entry, Line};
use tokio::time::{Instant, interval, timeout};

use super::APP;
use super::play::Said;
use crate::exit::Failure;
use crate::out::{self, Ink, ink};

/// How often it is looked whether the replies are there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A log whose end has been reached says nothing for this long.
const LOG_END: Duration = Duration::from_secs(1);

/// What became of everything that was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    events: usize,
    stored: usize,
    replies: usize,
    repeated_replies: usize,
    unstored: usize,
    unanswered: usize,
    resumed: usize,
    identified: usize,
    gaps: usize,
    duplicates: usize,
    /// Sorted, in milliseconds.
    latencies: Vec<i64>,
}

/// Waits until everything has an answer, within `limit`; says whether it has.
pub(super) async fn await_replies(platform: &Simulator, said: &[Said], limit: Duration) -> bool {
    let mut open: HashSet<&str> = said.iter().map(|said| said.text.as_str()).collect();
    let (mut look, end, mut next) = (interval(LOOK_EVERY), Instant::now() + limit, 0);
    while !open.is_empty() && Instant::now() < end {
        look.tick().await;
        let page = platform.journal().page(next, usize::MAX);
        next = page.next;
        for text in page.lines.iter().filter_map(answered) {
            open.remove(text);
        }
    }
    open.is_empty()
}

/// The text of a reply that people see.
fn answered(line: &Line) -> Option<&str> {
    match &line.entry {
        Entry::Rest { applied: true, sent: Some(sent), .. } => Some(&sent.content),
        _ => None,
    }
}

/// Makes sure that nobody's events but those of earlier demos are in the log: the demo takes its
/// partitions from whoever has them.
pub(super) async fn ensure_unused(bus: &dyn Bus) -> Result<(), Failure> {
    let log = records(bus, "qq.v1.ev.*.*.*.e.>").await?;
    let other = |stored: &&Stored| {
        stored.record.headers.event.as_ref().is_some_and(|it| !it.app.as_str().starts_with(APP))
    };
    match log.iter().find(other) {
        None => Ok(()),
        Some(_) => Err(Failure::Failed(anyhow!(
            "these servers hold the events of a relay; a demo needs servers of its own"
        ))),
    }
}

/// Everything that the log has of a bot.
pub(super) async fn read_log(bus: &dyn Bus, app: &AppId) -> Result<Vec<Stored>, Failure> {
    records(bus, &format!("qq.v1.ev.*.{app}.>")).await
}

async fn records(bus: &dyn Bus, filter: &str) -> Result<Vec<Stored>, Failure> {
    let reader = Reader { filter: filter.to_owned(), start: Start::Oldest };
    let mut records = bus.read(reader).await.map_err(Failure::unavailable)?;
    let mut log = Vec::new();
    while let Ok(next) = timeout(LOG_END, records.next()).await {
        log.push(next.map_err(Failure::unavailable)?.1);
    }
    Ok(log)
}

/// Judges a run.
pub(super) fn judge(journal: &[Line], log: &[Stored], said: &[Said]) -> Verdict {
    let mut verdict = Verdict { events: said.len(), ..Verdict::default() };
    let stored = stored_texts(log);
    let (mut asked, mut answers) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
    for line in journal {
        match &line.entry {
            Entry::Dispatch { injection, .. } => {
                asked.entry(*injection).or_insert(line.at_ms);
            }
            Entry::Resumed { .. } => verdict.resumed += 1,
            Entry::Identify { .. } => verdict.identified += 1,
            _ => {}
        }
        if let Some(text) = answered(line) {
            answers.entry(text).or_default().push(line.at_ms);
        }
    }
    for Said { injection, text } in said {
        match stored.get(text.as_str()) {
            Some(times) => verdict.stored += times,
            None => verdict.unstored += 1,
        }
        let answers = answers.get(text.as_str()).map_or(&[][..], Vec::as_slice);
        match answers {
            [] => verdict.unanswered += 1,
            [first, more @ ..] => {
                verdict.replies += answers.len();
                verdict.repeated_replies += more.len();
                let asked = asked.get(injection).copied();
                verdict.latencies.extend(asked.map(|asked| first - asked));
            }
        }
    }
    verdict.latencies.sort_unstable();
    verdict.duplicates =
        log.iter().filter(|stored| stored.record.subject.ends_with(".dup")).count();
    verdict.gaps = log.iter().filter(|stored| is_loss(stored)).count();
    verdict
}

/// How often each text is in the log.
fn stored_texts(log: &[Stored]) -> HashMap<String, usize> {
    let mut texts = HashMap::new();
    for stored in log.iter().filter(|stored| stored.record.headers.event.is_some()) {
        let event = serde_json::from_slice::<Event<'_>>(&stored.record.payload).ok();
        let text = event.and_then(|event| event.message?.text);
        if let Some(text) = text {
            *texts.entry(text.to_string()).or_default() += 1;
        }
    }
    texts
}

/// A gap that lost something: that of a new source covers only what was before it.
fn is_loss(stored: &Stored) -> bool {
    let gap = || serde_json::from_slice::<Gap>(&stored.record.payload).ok();
    stored.record.subject.ends_with(".gap")
        && gap().is_none_or(|gap| gap.reason != GapReason::First)
}

impl Verdict {
    fn lost(&self) -> usize {
        self.unstored + self.unanswered
    }

    /// Nothing lost, nothing twice.
    pub(super) fn is_clean(&self) -> bool {
        self.lost() == 0
            && self.repeated_replies == 0
            && self.stored == self.events
            && self.gaps == 0
    }

    fn latency(&self, share: f64) -> String {
        let last = self.latencies.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        self.latencies.get(place).map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"))
    }

    /// The summary, for people.
    pub(super) fn summary(&self, coloured: bool) -> String {
        let lost = self.lost();
        let verdict = if self.is_clean() { Ink::Green } else { Ink::Red };
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let rows = [
            row("events in", self.events.to_string()),
            row("events stored", self.stored.to_string()),
            row("replies out", self.replies.to_string()),
            row("event → reply, median", self.latency(0.5)),
            row("event → reply, p99", self.latency(0.99)),
            row("sessions resumed", self.resumed.to_string()),
            row("sessions begun", self.identified.to_string()),
            row("gaps", self.gaps.to_string()),
            row("events pushed twice", self.duplicates.to_string()),
            row("replies shown twice", self.repeated_replies.to_string()),
            row("lost", lost.to_string()),
        ];
        let table = out::table(&rows);
        let (all_but_last, last) = table.trim_end().rsplit_once('\n').unwrap_or(("", &table));
        format!("\n{all_but_last}\n{}\n", ink(last, verdict, coloured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_stored_or_answered_is_lost() {
        let said = [Said { injection: 1, text: "hello 0".into() }];
        let verdict = judge(&[], &[], &said);
        assert_eq!((verdict.lost(), verdict.is_clean()), (2, false));
        assert!(
            verdict.summary(false).contains("lost                   2"),
            "{}",
            verdict.summary(false)
        );
    }
}
