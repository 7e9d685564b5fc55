use super::*;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadableTableMetadata, TableDefinition};
use tempfile::TempDir;

use crate::bus::Layout;
use crate::state::conformance::Fixture;
use crate::state::seal::Seal;
use crate::store::{Clock, Sweep, Swept};

/// The file, and a clock that only a test moves.
struct File {
    place: TempDir,
    /// How often the process has died.
    deaths: u32,
    now: Arc<AtomicU64>,
    store: Store,
    state: Arc<Embedded>,
}

impl File {
    fn path(place: &TempDir, deaths: u32) -> PathBuf {
        place.path().join(format!("store-{deaths}.redb"))
    }

    async fn open(place: TempDir, deaths: u32, now: Arc<AtomicU64>) -> Self {
        let shown = Arc::clone(&now);
        let clock = Clock::of(move || UnixMs(shown.load(Ordering::SeqCst)));
        let layout = Layout { partitions: 1, window: 256 };
        let store = Store::open(&Self::path(&place, deaths), layout, clock).unwrap();
        let state = Arc::new(Embedded::new(store.clone()).await.unwrap());
        Self { place, deaths, now, store, state }
    }

    /// Rows in the file, swept away or not, and their filed ends.
    async fn rows(&self) -> (u64, u64) {
        let count = |tx: &redb::ReadTransaction| {
            let rows: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("state");
            let ends: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("state_ends");
            Ok((tx.open_table(rows)?.len()?, tx.open_table(ends)?.len()?))
        };
        self.store.read(count).await.unwrap()
    }

    async fn sweep(&self) -> Swept {
        let now = self.store.now();
        self.store.submit(move |tx| Ended.sweep(tx, now)).await.unwrap()
    }
}

#[async_trait]
impl Fixture for File {
    fn state(&self) -> Arc<dyn State> {
        Arc::clone(&self.state) as Arc<dyn State>
    }

    /// Goes on with the file as it is while the process lives: as if it had been killed now, so
    /// that what is answered too early is missed.
    async fn reopen(&mut self) {
        let (from, to) = (self.deaths, self.deaths + 1);
        std::fs::copy(Self::path(&self.place, from), Self::path(&self.place, to)).unwrap();
        let place = std::mem::replace(&mut self.place, TempDir::new().unwrap());
        self.store.close().await;
        *self = Self::open(place, to, Arc::clone(&self.now)).await;
    }

    async fn advance(&mut self, by: Duration) {
        self.now.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    async fn now(&self) -> UnixMs {
        self.store.now()
    }
}

async fn file() -> File {
    let now = Arc::new(AtomicU64::new(1_790_000_000_000));
    File::open(TempDir::new().unwrap(), 0, now).await
}

mod conformance {
    use super::file;

    crate::state_conformance!(file);
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

#[tokio::test]
async fn what_has_ended_is_swept_away_a_little_at_a_time() {
    let mut file = file().await;
    let lane = Lane::new(3).unwrap();
    let ids: Vec<_> = (0..300).map(|number| format!("102:m{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    file.state.mark_done(lane, &"102".into(), &ids, minute()).await.unwrap();
    file.state.mark_done(lane, &"102".into(), &ids[..10], 2 * minute()).await.unwrap();
    assert_eq!(file.rows().await, (300, 300), "a row that is filed again has one end");
    assert_eq!(file.sweep().await, Swept::Nothing);
    file.advance(minute()).await;
    assert_eq!(file.sweep().await, Swept::More);
    assert_eq!(file.sweep().await, Swept::Done);
    assert_eq!(file.rows().await, (10, 10));
    let done = file.state.done(lane, &"102".into(), &ids).await.unwrap();
    assert_eq!(done.iter().filter(|done| **done).count(), 10);
}

#[tokio::test]
async fn what_is_taken_away_leaves_nothing_in_the_file() {
    let file = file().await;
    let source = Source::Webhook;
    let place = Place { stream: "QQ_EV_wh".into(), seq: 1 };
    let (session, owner) = ("s".into(), "gw-1".into());
    let copy = ResumeCopy { session, seq: 1, place, owner, at: UnixMs(0) };
    file.state.put_resume(&"102".into(), source, &copy).await.unwrap();
    file.state.forget_resume(&"102".into(), source).await.unwrap();
    assert_eq!(file.rows().await, (0, 0));
}

#[tokio::test]
async fn a_row_of_another_release_is_an_answer_about_its_key_alone() {
    let file = file().await;
    let key = key::gateway(&"102".into());
    let foreign = |rows: &mut Rows<'_>| rows.put(&key::gateway(&"102".into()), &7, minute());
    file.state.change(foreign).await.unwrap();
    let error = file.state.gateway(&"102".into()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the state holds something else under {key}"));
    assert_eq!(file.state.gateway(&"103".into()).await.unwrap(), None);
}

#[tokio::test]
async fn a_closed_file_is_a_state_that_does_not_answer() {
    let file = file().await;
    file.store.close().await;
    let error = file.state.count_start(&"102".into(), "102:m1", minute()).await.unwrap_err();
    assert!(matches!(error, StateError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn no_token_stands_in_the_file() {
    let file = file().await;
    let token = "a-token-that-nobody-else-reads";
    let sealed = Seal::new("102".into(), "the secret").seal(token).unwrap();
    let expires_at = file.store.now().plus(minute());
    let row = SealedToken { expires_at, sealed };
    file.state.put_token(&"102".into(), &row).await.unwrap();
    file.store.close().await;
    let bytes = std::fs::read(File::path(&file.place, 0)).unwrap();
    for secret in [token, "the secret"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}
