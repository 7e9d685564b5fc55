//! A disk for tests that can be out of room.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::database::Database;
use super::{Clock, Store, file};
use crate::bus::Layout;

/// A disk in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    bytes: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl Disk {
    /// A store on it.
    pub(crate) fn open(&self, layout: Layout, clock: Clock) -> Store {
        let disk = self.clone();
        let open = move || file::builder().create_with_backend(disk.clone());
        let store = Store::start(Database::new(open), PathBuf::from("disk"), layout, clock);
        store.expect("there is room")
    }

    /// From now on nothing can be written.
    pub(crate) fn fill(&self) {
        self.full.store(true, Ordering::SeqCst);
    }

    /// From now on it can again.
    pub(crate) fn make_room(&self) {
        self.full.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> std::io::Result<()> {
        let full = self.full.load(Ordering::SeqCst);
        if full { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check()?;
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.bytes.write(offset, data)
    }
}
