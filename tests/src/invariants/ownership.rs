//! I5: every record was written by the owner whose marker stands nearest before it, and a marker
//! stands at the head of a whole batch.

use qqrelay_proto::record::Ownership;

use super::log::{Entry, Log, What};
use super::report::{Report, Rule};

pub(super) fn check(log: &Log<'_>, window: u16, report: &mut Report) {
    for entries in log.partitions.values() {
        let mut tenure = Tenure { window: usize::from(window), ..Tenure::default() };
        for entry in entries {
            tenure.step(entry, report);
        }
        tenure.over(entries.last(), report);
    }
}

/// Who writes a partition.
#[derive(Default)]
struct Tenure<'a> {
    window: usize,
    last: u64,
    marker: Option<&'a Ownership>,
    /// The fillers behind the newest marker; absent once something else stands behind them, or
    /// where the marker only says again what was known.
    fillers: Option<usize>,
}

impl<'a> Tenure<'a> {
    fn step(&mut self, entry: &'a Entry<'_>, report: &mut Report) {
        let number = entry.stored.number;
        if self.last != 0 && number != self.last + 1 {
            let found = format!("{} comes behind number {}", entry.place(), self.last);
            report.violated(Rule::Owned, found);
        }
        self.last = number;
        match &entry.what {
            What::Owner(said) => match said.filler {
                None => self.marker(entry, said, report),
                Some(filler) => self.filler(entry, said, filler, report),
            },
            _ => self.over(Some(entry), report),
        }
        let marked = self.marker.map(|marker| &marker.owner);
        if marked.is_none() || entry.stored.record.headers.owner.as_ref() != marked {
            let (by, owner) = (&entry.stored.record.headers.owner, marked);
            let found = format!("{} was written by {by:?}, while {owner:?} owned", entry.place());
            report.violated(Rule::Owned, found);
        }
    }

    fn marker(&mut self, entry: &Entry<'_>, said: &'a Ownership, report: &mut Report) {
        self.over(Some(entry), report);
        let again = self.marker.is_some_and(|marker| {
            (&marker.owner, marker.incarnation) == (&said.owner, said.incarnation)
        });
        self.marker = Some(said);
        self.fillers = (!again).then_some(0);
    }

    fn filler(&mut self, entry: &Entry<'_>, said: &Ownership, filler: usize, report: &mut Report) {
        let behind = self.marker.zip(self.fillers).is_some_and(|(marker, fillers)| {
            (&marker.owner, marker.incarnation) == (&said.owner, said.incarnation)
                && filler == fillers + 1
        });
        if behind {
            self.fillers = Some(filler);
        } else {
            report.violated(Rule::Owned, format!("{} is a filler of no batch", entry.place()));
        }
    }

    /// Something else than a filler follows, or the log ends.
    fn over(&mut self, entry: Option<&Entry<'_>>, report: &mut Report) {
        if let Some(fillers) = self.fillers.take().filter(|fillers| *fillers < self.window) {
            let place = entry.map_or_else(|| "the end".to_owned(), Entry::place);
            let found = format!("{place} follows a marker with {fillers} fillers");
            report.violated(Rule::Owned, found);
        }
    }
}

/// How often a partition was taken, or gone on with after an unknown outcome.
pub(super) fn takeovers(log: &Log<'_>) -> usize {
    let first =
        |entry: &&Entry<'_>| matches!(&entry.what, What::Owner(said) if said.filler == Some(1));
    log.partitions.values().flatten().filter(first).count()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_record_of_another_owner_than_the_marker_says_is_found() {
        fixture::check(|run| run.reowned("s1", 5, "w2"), Rule::Owned);
    }

    #[test]
    fn a_batch_that_was_cut_short_is_found() {
        fixture::check(|run| run.take("w2", fixture::WINDOW - 1), Rule::Owned);
    }

    #[test]
    fn a_record_inside_a_batch_is_found() {
        fixture::check(
            |run| {
                run.take("w2", 1);
                run.pushed("s1", 6, 90);
                run.event("s1", 6, 90);
            },
            Rule::Owned,
        );
    }

    #[test]
    fn a_number_that_is_missing_is_found() {
        fixture::check(|run| run.skip_number(), Rule::Owned);
    }

    #[test]
    fn a_marker_that_is_said_again_needs_no_batch() {
        let mut run = fixture::Scene::new();
        run.mark_again();
        super::super::check(&run.run(), &super::super::Expected::default()).assert_clean();
    }
}
