use super::disk::{Disk, Fault};
use super::*;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use tempfile::TempDir;

const LAYOUT: Layout = Layout { partitions: 2, window: 256 };
const NOTES: TableDefinition<u64, &str> = TableDefinition::new("notes");

fn open(place: &TempDir, layout: Layout) -> Result<Store, OpenError> {
    Store::open(&place.path().join("store.redb"), layout, Clock::system())
}

async fn note(store: &Store, number: u64) -> Result<(), StoreError> {
    let add = move |tx: &WriteTransaction| {
        tx.open_table(NOTES)?.insert(number, "noted")?;
        Ok(())
    };
    store.submit(add).await
}

async fn notes(store: &Store) -> Vec<u64> {
    let all = |tx: &ReadTransaction| {
        let table = tx.open_table(NOTES)?;
        table.iter()?.map(|entry| Ok(entry?.0.value())).collect()
    };
    store.read(all).await.expect("the file is readable")
}

#[tokio::test]
async fn an_answer_means_that_it_is_on_disk() {
    let place = TempDir::new().unwrap();
    let store = open(&place, LAYOUT).unwrap();
    for number in 0..3 {
        note(&store, number).await.unwrap();
    }
    store.close().await;
    assert_eq!(notes(&open(&place, LAYOUT).unwrap()).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_change_outlives_whoever_stopped_waiting_for_it() {
    let place = TempDir::new().unwrap();
    let store = open(&place, LAYOUT).unwrap();
    {
        let mut change = Box::pin(note(&store, 7));
        let polled = futures_util::poll!(&mut change);
        assert!(polled.is_pending(), "a commit takes a thread's turn");
    }
    note(&store, 8).await.unwrap();
    assert_eq!(notes(&store).await, [7, 8]);
}

#[tokio::test]
async fn a_second_opener_is_told_so_in_a_sentence() {
    let place = TempDir::new().unwrap();
    let _first = open(&place, LAYOUT).unwrap();
    let error = open(&place, LAYOUT).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().ends_with("store.redb is open in another process"), "{error}");
}

#[tokio::test]
async fn another_layout_is_refused_with_both_values() {
    let place = TempDir::new().unwrap();
    open(&place, LAYOUT).unwrap().close().await;
    let error = open(&place, Layout { partitions: 8, window: 128 }).unwrap_err().to_string();
    assert!(error.contains("2 partitions and a window of 256"), "{error}");
    assert!(error.contains("the configuration has 8 and 128"), "{error}");
    open(&place, LAYOUT).unwrap();
}

#[tokio::test]
async fn a_file_of_another_release_or_kind_is_refused() {
    let place = TempDir::new().unwrap();
    let store = open(&place, LAYOUT).unwrap();
    let later = |tx: &WriteTransaction| {
        let fixed: TableDefinition<'_, &str, u64> = TableDefinition::new("fixed");
        tx.open_table(fixed)?.insert("format", 9)?;
        Ok(())
    };
    store.submit(later).await.unwrap();
    store.close().await;
    let error = open(&place, LAYOUT).unwrap_err();
    assert!(matches!(error, OpenError::Format { found: 9, known: 1, .. }), "{error}");

    let other = place.path().join("other.txt");
    std::fs::write(&other, "not a database, but long enough to be looked at".repeat(100)).unwrap();
    let error = Store::open(&other, LAYOUT, Clock::system()).unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_was_killed_while_it_was_made_is_made_again() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("store.redb");
    let check = |bytes: &[u8], usable: bool| {
        std::fs::write(&path, bytes).unwrap();
        let opened = Store::open(&path, LAYOUT, Clock::system());
        assert_eq!(opened.is_ok(), usable, "{:?}", opened.err());
        opened.ok()
    };
    let mut header = vec![0; 73_728];
    header[9..200].fill(7);
    for bytes in [&[0; 5][..], &[0; 73_728], &header] {
        check(bytes, true).unwrap().close().await;
    }
    header[60_000] = 1;
    check(&header, false);
    assert_eq!(std::fs::read(&path).unwrap(), header, "what is not ours is left alone");
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = TempDir::new().unwrap();
    let _store = open(&place, LAYOUT).unwrap();
    let mode = std::fs::metadata(place.path().join("store.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_closed_store_refuses_and_hangs_nobody() {
    let place = TempDir::new().unwrap();
    let store = open(&place, LAYOUT).unwrap();
    let clone = store.clone();
    store.close().await;
    store.close().await;
    assert!(matches!(note(&clone, 1).await, Err(StoreError::Closed)));
    let read = clone.read(|tx| Ok(tx.list_tables()?.count())).await;
    assert!(matches!(read, Err(StoreError::Unreadable(_))));
}

#[tokio::test]
async fn what_comes_together_shares_commits() {
    let place = TempDir::new().unwrap();
    let store = open(&place, LAYOUT).unwrap();
    let before = store.database.commits().unwrap();
    let together = (0..2000).map(|number| note(&store, number));
    for outcome in futures_util::future::join_all(together).await {
        outcome.unwrap();
    }
    let commits = store.database.commits().unwrap() - before;
    assert!((4..200).contains(&commits), "{commits} commits for 2000 changes");
}

#[tokio::test]
async fn every_change_sees_those_before_it() {
    let place = TempDir::new().unwrap();
    let store = open(&place, LAYOUT).unwrap();
    let append = || {
        store.submit(|tx| {
            let mut table = tx.open_table(NOTES)?;
            let number = table.len()?;
            table.insert(number, "noted")?;
            Ok(number)
        })
    };
    let given = futures_util::future::join_all((0..600).map(|_| append())).await;
    let given: BTreeSet<_> = given.into_iter().map(Result::unwrap).collect();
    assert_eq!(given, (0..600).collect());
}

#[tokio::test]
async fn an_error_takes_back_the_whole_change_and_the_store_goes_on() {
    let place = TempDir::new().unwrap();
    let store = open(&place, LAYOUT).unwrap();
    note(&store, 1).await.unwrap();
    let broken = |tx: &WriteTransaction| {
        tx.open_table(NOTES)?.insert(2, "half of it")?;
        let other: TableDefinition<'_, &str, u64> = TableDefinition::new("notes");
        tx.open_table(other)?;
        Ok(())
    };
    assert!(matches!(store.submit(broken).await, Err(StoreError::NotStored(_))));
    note(&store, 3).await.unwrap();
    assert_eq!(notes(&store).await, [1, 3]);
}

#[tokio::test]
async fn a_full_disk_is_said_and_once_there_is_room_the_store_goes_on() {
    let disk = Disk::default();
    let store = disk.open(LAYOUT, Clock::system());
    note(&store, 1).await.unwrap();

    disk.fail(Fault::Full);
    for _ in 0..3 {
        let refused = note(&store, 2).await.unwrap_err();
        assert!(matches!(refused, StoreError::NotStored(_) | StoreError::Unknown(_)), "{refused}");
    }

    disk.make_room();
    note_in_time(&store, 3).await;
    assert_eq!(notes(&store).await, [1, 3]);
}

/// Notes a number once the file is open again.
async fn note_in_time(store: &Store, number: u64) {
    let noted = async { while note(store, number).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), noted).await.expect("it is opened again");
}

#[tokio::test]
async fn a_commit_that_was_not_written_is_known_not_to_be_stored() {
    let disk = Disk::default();
    let store = disk.open(LAYOUT, Clock::system());
    note(&store, 1).await.unwrap();
    disk.fail(Fault::Write);
    let refused = note(&store, 2).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotStored(_)), "{refused}");
    note(&store, 3).await.unwrap();
    assert_eq!(notes(&store).await, [1, 3]);
}

#[tokio::test]
async fn a_commit_whose_flush_failed_may_or_may_not_be_stored() {
    let disk = Disk::default();
    let store = disk.open(LAYOUT, Clock::system());
    note(&store, 1).await.unwrap();
    disk.fail(Fault::Flush);
    let unknown = note(&store, 2).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Unknown(_)), "{unknown}");
    note(&store, 3).await.unwrap();
    assert_eq!(notes(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_file_that_cannot_grow_is_opened_again() {
    let disk = Disk::default();
    let store = disk.open(LAYOUT, Clock::system());
    note(&store, 1).await.unwrap();
    disk.fail(Fault::Growth);
    let large = |tx: &WriteTransaction| {
        tx.open_table(NOTES)?.insert(2, "x".repeat(16 << 20).as_str())?;
        Ok(())
    };
    let refused = store.submit(large).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotStored(_)), "{refused}");
    note_in_time(&store, 3).await;
    assert_eq!(notes(&store).await, [1, 3]);
}

/// Has `left` pieces to remove, three at a time.
struct Counting {
    left: usize,
    removed: Arc<AtomicUsize>,
}

impl Sweep for Counting {
    fn sweep(&mut self, tx: &WriteTransaction, _: UnixMs) -> Result<Swept, redb::Error> {
        let step = self.left.min(3);
        self.left -= step;
        tx.open_table(NOTES)?.insert(u64::try_from(self.left).unwrap(), "swept")?;
        self.removed.fetch_add(step, Ordering::SeqCst);
        Ok(match (step, self.left) {
            (0, _) => Swept::Nothing,
            (_, 0) => Swept::Done,
            _ => Swept::More,
        })
    }
}

#[tokio::test]
async fn a_sweep_is_called_until_it_has_done_all() {
    let place = TempDir::new().unwrap();
    let store = open(&place, LAYOUT).unwrap();
    let removed = Arc::default();
    store.add_sweep(Box::new(Counting { left: 100, removed: Arc::clone(&removed) })).unwrap();
    let all = async {
        while removed.load(Ordering::SeqCst) < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("it goes on by itself");
    note(&store, 1000).await.unwrap();
    assert_eq!(notes(&store).await.len(), 35, "each step was committed, and the last not undone");
}
