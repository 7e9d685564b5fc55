//! A disk for tests that can be out of room, or fail once.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::database::Database;
use super::{Clock, Store, file};
use crate::bus::Layout;

/// A disk in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    bytes: Arc<InMemoryBackend>,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// What is the matter with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing can be written until there is room.
    Full,
    /// The next write fails, and nothing after it.
    Write,
    /// The file cannot grow, once.
    Growth,
    /// The next flush fails, although everything is written.
    Flush,
}

impl Disk {
    /// A store on it.
    pub(crate) fn open(&self, layout: Layout, clock: Clock) -> Store {
        let disk = self.clone();
        let open = move || file::builder().create_with_backend(disk.clone());
        let store = Store::start(Database::new(open), PathBuf::from("disk"), layout, clock);
        store.expect("there is room")
    }

    /// From now on this is the matter with it.
    pub(crate) fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    /// From now on nothing is.
    pub(crate) fn make_room(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// Fails if that is the matter, or if the disk is full.
    fn check(&self, once: Fault) -> std::io::Result<()> {
        let mut fault = self.fault.lock().unwrap();
        match *fault {
            Some(Fault::Full) => Err(std::io::ErrorKind::StorageFull.into()),
            Some(matter) if matter == once => {
                *fault = None;
                Err(std::io::Error::other("the disk failed"))
            }
            _ => Ok(()),
        }
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
        self.check(Fault::Growth)?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check(Fault::Flush)?;
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check(Fault::Write)?;
        self.bytes.write(offset, data)
    }
}
