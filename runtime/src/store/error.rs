//! What can go wrong with the file: when it is opened, and for one operation.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::bus::Layout;

/// What the file said, shared by everybody whose change was in the same commit.
pub type Cause = Arc<redb::Error>;

/// Why an operation has no good answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It is certain that nothing was stored: the disk is full, or fails.
    #[error("nothing was stored, the file cannot be written now")]
    NotStored(#[source] Cause),
    /// The commit may or may not be on disk.
    #[error("nobody knows whether it was stored")]
    Unknown(#[source] Cause),
    /// The file failed a read.
    #[error("the file cannot be read now")]
    Unreadable(#[source] Cause),
    /// The file was closed before this was done. What was handed to the writer and has this for
    /// an answer may be stored.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether it was for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::NotStored(cause) = self else { return false };
        matches!(&**cause, redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull)
    }

    /// The error and what led to it, in one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Why the file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// One process at a time.
    #[error("{} is open in another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// What is in it was not written by a release that this one knows.
    #[error(
        "{} has file format {found} and this release reads {known}: use the release that made it, \
         or start with a new file",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: u64,
        /// The one format we read.
        known: u64,
    },
    /// Partitions and window are fixed when the file is made.
    #[error(
        "{} was made with {} partitions and a window of {}, the configuration has {} and {}: these \
         are fixed once the log exists, so set them back or start with a new file",
        path.display(), found.partitions, found.window, wanted.partitions, wanted.window
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// What it was made with.
        found: Layout,
        /// What is configured.
        wanted: Layout,
    },
    /// There is something else in it, or it is damaged.
    #[error("{} cannot be opened as a store", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the file said.
        #[source]
        source: Box<redb::Error>,
    },
    /// The system has no thread for the writer.
    #[error("the store's writer cannot be started")]
    Thread(#[source] io::Error),
}
