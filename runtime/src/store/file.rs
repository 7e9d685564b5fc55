//! The file that the database is in.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};

/// Memory for pages. What lanes and readers of the newest records need fits in it many times.
const CACHE_BYTES: usize = 64 << 20;

/// What redb puts in front of a file, and how long a page is.
const MARK_BYTES: usize = 9;
const PAGE_BYTES: usize = 4096;

/// A file that redb has only begun to make is smaller.
const NEW_FILE_BYTES: usize = 2 << 20;

/// Opens the file, or makes it. Only its owner may read it: it holds messages.
pub(super) fn open(path: &Path) -> Result<Database, DatabaseError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    empty_if_half_made(&mut file)?;
    builder().create_with_backend(FileBackend::new(file)?)
}

pub(super) fn builder() -> Builder {
    let told = AtomicBool::new(false);
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_repair_callback(move |_| {
        if !told.swap(true, Ordering::Relaxed) {
            tracing::info!("the store was not closed the last time; checking all of it");
        }
    });
    builder
}

/// Empties a file that was killed while redb made it: it refuses one without its mark in front,
/// which it writes last, behind everything else that is not zero in the first page.
fn empty_if_half_made(file: &mut File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()), // somebody has it, or is making it
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length <= NEW_FILE_BYTES {
        let mut bytes = Vec::with_capacity(length);
        file.read_to_end(&mut bytes)?;
        let (mark, rest) = (bytes.get(..MARK_BYTES), bytes.get(PAGE_BYTES..));
        let zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        if zero(mark.unwrap_or(&bytes)) && zero(rest.unwrap_or_default()) {
            file.set_len(0)?;
        }
    }
    file.unlock()
}
