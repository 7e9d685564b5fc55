//! The full log of what the platform sent and received, for checkers.
//!
//! Entries are numbered in the order in which things happened. Memory is bounded: the oldest are
//! dropped, and counted, so that a checker can tell "did not happen" from "no longer known".

mod entry;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

pub use self::entry::{By, Entry, Line, Sent};
use crate::clock::Clock;
use crate::lock;

/// How much is kept, and where else it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Entries held in memory; of about 300 bytes each.
    pub memory: usize,
    /// A file that gets every entry as a line of JSON.
    pub file: Option<PathBuf>,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { memory: 500_000, file: None }
    }
}

/// The log itself. Recording never waits for a reader.
#[derive(Debug)]
pub struct Journal {
    clock: Arc<Clock>,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    lines: VecDeque<Line>,
    next: u64,
    bound: usize,
    counts: BTreeMap<&'static str, u64>,
    file: Option<BufWriter<File>>,
    file_errors: u64,
}

/// A piece of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The entries, in order.
    pub lines: Vec<Line>,
    /// Where to read on.
    pub next: u64,
    /// How many entries were dropped from memory so far: those below this index are gone.
    pub dropped: u64,
}

impl Journal {
    /// An empty journal.
    ///
    /// # Errors
    ///
    /// When the file cannot be created.
    pub fn open(config: &JournalConfig, clock: Arc<Clock>) -> io::Result<Self> {
        let file = config.file.as_ref().map(File::create).transpose()?.map(BufWriter::new);
        let book = Book {
            lines: VecDeque::new(),
            next: 0,
            bound: config.memory,
            counts: BTreeMap::new(),
            file,
            file_errors: 0,
        };
        Ok(Self { clock, book: Mutex::new(book) })
    }

    /// Appends an entry and tells its index.
    pub fn record(&self, entry: Entry) -> u64 {
        let mut book = lock(&self.book);
        let index = book.next;
        book.next += 1;
        *book.counts.entry(entry.label()).or_default() += 1;
        // The clock is read under the lock, so that time never runs backwards along the index.
        let line = Line { index, at_ms: self.clock.wall_ms(), entry };
        book.write(&line);
        while book.lines.len() >= book.bound.max(1) {
            book.lines.pop_front();
        }
        book.lines.push_back(line);
        index
    }

    /// Up to `limit` entries from index `from` on, or from the oldest that is left.
    #[must_use]
    pub fn page(&self, from: u64, limit: usize) -> Page {
        let book = lock(&self.book);
        let oldest = book.oldest();
        let skip = usize::try_from(from.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let lines: Vec<Line> = book.lines.iter().skip(skip).take(limit).cloned().collect();
        let nothing = || from.clamp(oldest, book.next);
        let next = lines.last().map_or_else(nothing, |line| line.index + 1);
        Page { lines, next, dropped: oldest }
    }

    /// Everything that is left in memory.
    #[must_use]
    pub fn all(&self) -> Vec<Line> {
        lock(&self.book).lines.iter().cloned().collect()
    }

    /// The messages that people see, in order, of what is left in memory.
    #[must_use]
    pub fn shown(&self) -> Vec<Sent> {
        let book = lock(&self.book);
        book.lines.iter().filter_map(|line| line.entry.shown().cloned()).collect()
    }

    /// How many entries were recorded so far, dropped ones included.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        lock(&self.book).next
    }

    /// How many entries of each kind were recorded, and how many are no longer in memory.
    #[must_use]
    pub fn counts(&self) -> (BTreeMap<String, u64>, u64) {
        let book = lock(&self.book);
        let counts = book.counts.iter().map(|(label, count)| ((*label).to_owned(), *count));
        (counts.collect(), book.oldest())
    }

    /// Hands what is buffered to the file.
    ///
    /// # Errors
    ///
    /// When this or an earlier write failed: the file is then incomplete.
    pub fn flush(&self) -> io::Result<()> {
        let mut book = lock(&self.book);
        if let Some(file) = &mut book.file {
            file.flush()?;
        }
        match book.file_errors {
            0 => Ok(()),
            lost => Err(io::Error::other(format!("{lost} journal entries were not written"))),
        }
    }
}

impl Book {
    fn oldest(&self) -> u64 {
        self.lines.front().map_or(self.next, |line| line.index)
    }

    fn write(&mut self, line: &Line) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_writer(&mut *file, line)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(b"\n"));
        if written.is_err() {
            self.file_errors += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(memory: usize, file: Option<PathBuf>) -> Journal {
        let config = JournalConfig { memory, file };
        Journal::open(&config, Arc::new(Clock::new())).unwrap()
    }

    fn ack(connection: u64) -> Entry {
        Entry::Ack { connection }
    }

    #[tokio::test]
    async fn what_no_longer_fits_is_dropped_and_counted() {
        let journal = journal(3, None);
        (0..5).for_each(|n| assert_eq!(journal.record(ack(n)), n));
        let page = journal.page(0, 10);
        let indexes: Vec<u64> = page.lines.iter().map(|line| line.index).collect();
        assert_eq!((indexes, page.next, page.dropped), (vec![2, 3, 4], 5, 2));
        assert_eq!(journal.recorded(), 5);
    }

    #[tokio::test]
    async fn pages_join_without_a_seam() {
        let journal = journal(100, None);
        (0..7).for_each(|n| assert_eq!(journal.record(ack(n)), n));
        let (mut from, mut read) = (0, Vec::new());
        loop {
            let page = journal.page(from, 3);
            if page.lines.is_empty() {
                break;
            }
            read.extend(page.lines.iter().map(|line| line.index));
            from = page.next;
        }
        assert_eq!(read, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(journal.page(99, 3).next, 7);
    }

    #[tokio::test]
    async fn the_file_holds_every_entry_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let journal = journal(1, Some(path.clone()));
        (0..3).for_each(|n| assert_eq!(journal.record(ack(n)), n));
        journal.flush().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Line> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2].entry, ack(2));
    }
}
