//! What a run broke, for people: the first few violations with the run's own figures around them.

use std::collections::BTreeMap;
use std::fmt;

/// How many violations are printed; the rest is counted.
const SHOWN: usize = 10;

/// One promise, by the number that reliability notes give its check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// I1: every frame of the platform has a record, or a gap covers it; and no record is invented.
    Complete,
    /// I2: no frame has two records, and an event that came again is a `dup` of its first record.
    Unique,
    /// I3: sessions do not interleave, sequences go up by one, nothing comes before its READY.
    Ordered,
    /// I4: the platform is told of nothing that the log does not hold.
    Durable,
    /// I5: each record is its nearest marker's owner's, and marker batches are whole.
    Owned,
    /// I6: each reply is seen once, in order, in time, and known to have been.
    Replied,
    /// I9: a gap begins where the log ends, and ends where it goes on.
    Exact,
    /// Sessions are begun no oftener than the run gave reason to.
    Identifies,
}

impl Rule {
    const fn label(self) -> &'static str {
        match self {
            Self::Complete => "I1 completeness",
            Self::Unique => "I2 uniqueness",
            Self::Ordered => "I3 order",
            Self::Durable => "I4 durable before told",
            Self::Owned => "I5 ownership",
            Self::Replied => "I6 replies",
            Self::Exact => "I9 exact gaps",
            Self::Identifies => "identify count",
        }
    }
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub rule: Rule,
    /// What was found, and where.
    pub found: String,
}

/// What happened in a run. A run that never reached a state says nothing about it, so suites look
/// at these beside the violations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that the platform assigned a sequence.
    pub frames: usize,
    /// Records in the log, ownership not counted.
    pub records: usize,
    /// Events among them.
    pub events: usize,
    /// Events that were pushed again.
    pub duplicates: usize,
    /// Gaps that lost something: that of a new source does not.
    pub gaps: usize,
    /// Times that a partition was taken, or gone on with after an unknown outcome.
    pub takeovers: usize,
    /// RESUMEs that came to life.
    pub resumes: usize,
    /// IDENTIFYs sent.
    pub identifies: usize,
    /// Heartbeats sent.
    pub heartbeats: usize,
    /// Replies that people saw.
    pub replies: usize,
    /// Replies of which nobody knows whether people saw them.
    pub ambiguous: usize,
}

/// The judgement on a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was broken.
    pub violations: Vec<Violation>,
    /// What happened.
    pub tally: Tally,
}

impl Report {
    /// Notes a broken promise.
    pub(super) fn violated(&mut self, rule: Rule, found: impl Into<String>) {
        self.violations.push(Violation { rule, found: found.into() });
    }

    /// Whether every promise was kept.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Fails the test unless every promise was kept.
    ///
    /// # Panics
    ///
    /// One was not.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(f, "every promise was kept: {:?}", self.tally);
        }
        let mut counts = BTreeMap::<_, usize>::new();
        for violation in &self.violations {
            *counts.entry(violation.rule).or_default() += 1;
        }
        writeln!(f, "{} violations in {:?}", self.violations.len(), self.tally)?;
        for (rule, count) in counts {
            writeln!(f, "  {count:6} × {}", rule.label())?;
        }
        for Violation { rule, found } in self.violations.iter().take(SHOWN) {
            writeln!(f, "- {}: {found}", rule.label())?;
        }
        match self.violations.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(f, "… and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_the_first_violations_and_counts_the_rest() {
        let mut report = Report::default();
        for number in 0..12 {
            report.violated(Rule::Unique, format!("frame {number}"));
        }
        report.violated(Rule::Owned, "a record");
        let text = report.to_string();
        assert!(text.contains("12 × I2 uniqueness") && text.contains("1 × I5 ownership"), "{text}");
        assert!(text.contains("frame 9") && !text.contains("frame 10"), "{text}");
        assert!(text.contains("and 3 more"), "{text}");
    }
}
