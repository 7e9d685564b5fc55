//! What is wrong with a configuration: each finding with its place, its field and its fix.
//!
//! Findings are gathered, never returned one by one: who repairs a file wants to do it once. No
//! finding carries a value that could be a secret.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the file, at this line.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line, from 1; 0 where the file as a whole is meant.
        line: usize,
    },
    /// In this environment variable.
    Environment(String),
    /// Nowhere: the default holds.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("configuration"),
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the value was written.
    pub origin: Origin,
    /// The field's path, such as `bots[0].secret`; empty where the file as a whole is meant.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.what, self.fix)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// More are counted, not kept: a file that is no configuration at all should not fill a screen.
    const MAX_SHOWN: usize = 50;

    #[cfg(test)]
    pub(super) const fn of(list: Vec<Problem>) -> Self {
        Self(list)
    }

    /// The findings, at least one.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} problem{plural} in the configuration", self.0.len())?;
        for problem in self.0.iter().take(Self::MAX_SHOWN) {
            write!(f, "\n  {problem}")?;
        }
        match self.0.len().checked_sub(Self::MAX_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n  … and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

/// Gathers findings while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Problem>,
    fields: HashSet<String>,
}

impl Findings {
    /// Adds one, unless its field has one already: what follows from a problem is not another.
    pub(super) fn add(
        &mut self,
        origin: Origin,
        field: &str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        if !self.has(field) {
            let (what, fix) = (what.into(), fix.into());
            self.list.push(Problem { origin, field: field.into(), what, fix });
            self.fields.insert(field.into());
        }
    }

    /// Whether a field, or the section around it, has a finding already.
    pub(super) fn has(&self, field: &str) -> bool {
        let ends = field.match_indices(['.', '[']).map(|(end, _)| end);
        let known = |end: usize| self.fields.contains(&field[..end]);
        !field.is_empty() && (known(field.len()) || ends.into_iter().any(known))
    }

    /// Whether the file as a whole could not be read, so that nothing follows from what is in it.
    pub(super) fn has_unreadable(&self) -> bool {
        self.fields.contains("")
    }

    /// Ends reading in refusal.
    pub(super) fn into_problems(self) -> Problems {
        Problems(self.into_list())
    }

    /// The findings in the order of the file, those of the environment and of defaults last.
    pub(super) fn into_list(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| match problem.origin {
            Origin::File { line, .. } => line,
            Origin::Environment(_) => usize::MAX - 1,
            Origin::Default => usize::MAX,
        });
        self.list
    }

    /// Ends reading: `Err` if anything was found.
    pub(super) fn verdict(self) -> Result<(), Problems> {
        if self.list.is_empty() { Ok(()) } else { Err(self.into_problems()) }
    }
}

/// The known name nearest to a misspelt one; `None` when nothing is near.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + wrong.chars().count() / 4;
    known
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's: how many letters to insert, drop or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_strange_one_none() {
        let known = ["close_code", "hello_timeout", "threads"];
        let check = |wrong, expected| assert_eq!(nearest(wrong, known.into_iter()), expected);
        check("close_codes", Some("close_code"));
        check("hello_time_out", Some("hello_timeout"));
        check("thread", Some("threads"));
        check("colour", None);
        check("", None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_problem_names_its_place_its_field_and_its_fix() {
        let origin = Origin::File { path: Path::new("relay.toml").into(), line: 7 };
        let mut findings = Findings::default();
        findings.add(origin.clone(), "log.window", "is 0", "write a number from 1 to 999");
        findings.add(origin, "log.window", "is odd", "never shown: the field has a finding");
        let problems = findings.verdict().unwrap_err();
        assert_eq!(
            problems.to_string(),
            "1 problem in the configuration\n  \
             relay.toml:7: log.window: is 0; write a number from 1 to 999"
        );
    }
}
