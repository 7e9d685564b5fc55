use super::*;

use tempfile::TempDir;

use crate::bus::conformance::{Fixture, LAYOUT};
use crate::store::Clock;

/// A bus in a file of its own.
struct File {
    place: TempDir,
    bus: EmbeddedBus,
}

impl File {
    async fn open(place: &TempDir) -> EmbeddedBus {
        let path = place.path().join("bus.redb");
        let store = Store::open(&path, LAYOUT, Clock::system()).unwrap();
        EmbeddedBus::open(store, Limits::default()).await.unwrap()
    }
}

#[async_trait]
impl Fixture for File {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(self.bus.clone())
    }

    async fn reopen(&mut self) {
        self.bus.store().close().await;
        self.bus = Self::open(&self.place).await;
    }
}

async fn file() -> File {
    let place = TempDir::new().unwrap();
    let bus = File::open(&place).await;
    File { place, bus }
}

mod conformance {
    use super::file;

    crate::bus_conformance!(file);
}
