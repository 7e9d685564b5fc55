//! Rules of ownership: who was deposed writes nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use qqrelay_proto::id::{OwnerId, Scene, Scope};
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::LogSubject;
use tokio::task::JoinSet;

use super::owner::{Acknowledged, Owner};
use super::stage::{PARTITION, batch, event, markers, publish, within};
use super::{Fixture, LAYOUT};
use crate::bus::{Bus, Log};

const WINDOW: u64 = LAYOUT.window as u64;

const TAKEOVERS: usize = 20;

fn group() -> Scope {
    Scope::new(Scene::Group, "A1")
}

/// A window of records that `old` has on its way, each for its own number, held back until now.
async fn held_back(old: &mut Box<dyn Log>, first: u64) -> Vec<u64> {
    let window = (1..=WINDOW).map(|seq| event(PARTITION, &group(), seq));
    publish(old, first, window).await
}

/// The fence: one record more than can be in flight outruns every number that is.
pub async fn a_stale_window_behind_a_batch_fits_nowhere(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut old = bus.log(PARTITION).await.expect("the bus is up");
    let mut new = bus.log(PARTITION).await.expect("the bus is up");
    let last = old.mark(batch(PARTITION, "old")).await.expect("the bus is up");
    let end = new.mark(batch(PARTITION, "new")).await.expect("the bus is up");
    let stored = held_back(&mut old, last + 1).await;
    assert!(stored.is_empty(), "of a stale window {stored:?} were taken");
    assert_eq!(new.extent().await.expect("the bus is up").last, end);
    let stored = publish(&mut new, end + 1, [event(PARTITION, &group(), 1)]).await;
    assert_eq!(stored, [end + 1]);
}

/// Why the batch is as long as it is; and the proof that the rule above could fail.
pub async fn behind_a_single_marker_a_stale_window_fits_again(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut old = bus.log(PARTITION).await.expect("the bus is up");
    let mut new = bus.log(PARTITION).await.expect("the bus is up");
    let last = old.mark(batch(PARTITION, "old")).await.expect("the bus is up");
    new.mark(markers(PARTITION, "new", 1)).await.expect("the bus is up");
    let stored = held_back(&mut old, last + 1).await;
    assert_eq!(stored, (last + 2..=last + WINDOW).collect::<Vec<_>>());
}

/// The newest marker names the owner, also to whoever is it no more.
pub async fn a_deposed_owner_reads_whose_the_partition_is(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut old = bus.log(PARTITION).await.expect("the bus is up");
    let mut new = bus.log(PARTITION).await.expect("the bus is up");
    assert_eq!(old.last(&PARTITION.ownership()).await, Ok(None));
    for (log, owner) in [(&mut old, "old"), (&mut new, "new")] {
        log.mark(batch(PARTITION, owner)).await.expect("the bus is up");
    }
    for log in [&mut old, &mut new] {
        let newest = log.last(&PARTITION.ownership()).await.expect("the bus is up");
        let owner = newest.and_then(|stored| stored.record.headers.owner);
        assert_eq!(owner, Some(OwnerId::from("new")));
    }
}

/// Each taker interrupts a writer with a full window in flight, and continues its session.
pub async fn twenty_takeovers_leave_one_writer_at_a_time_and_no_hole(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    takeovers(async || Arc::clone(&bus)).await;
}

/// Twenty takeovers; `bus` gives each owner the bus as its process has it.
pub async fn takeovers(bus: impl AsyncFn() -> Arc<dyn Bus>) {
    let mut owners = JoinSet::new();
    for turn in 0..=TAKEOVERS {
        let enough = if turn == TAKEOVERS { 1000 } else { u64::MAX };
        let owner = Owner::open(&*bus().await, format!("owner-{turn}"), group(), enough).await;
        let progress = owner.progress();
        owners.spawn(owner.run());
        let written = async {
            while progress.load(Ordering::SeqCst) < 500 {
                tokio::task::yield_now().await;
            }
        };
        within("an owner that writes", written).await;
    }
    let acknowledged: Vec<_> = within("all owners stand down", owners.join_all()).await.concat();

    let mut log = bus().await.log(PARTITION).await.expect("the bus is up");
    let stored = log.range(&PARTITION.all(), 1, usize::MAX >> 1).await.expect("the bus is up");
    check(&stored, &acknowledged, TAKEOVERS + 1);
}

/// One owner writes `enough` records through `trouble`, which is given how many were acknowledged.
pub async fn one_owner_through(
    bus: &dyn Bus,
    enough: u64,
    trouble: impl AsyncFnOnce(Arc<AtomicU64>),
) {
    let owner = Owner::open(bus, "owner".to_owned(), group(), enough).await;
    let progress = owner.progress();
    let owner = tokio::spawn(owner.run());
    within("the trouble", trouble(progress)).await;
    let acknowledged = within("the owner goes on", owner).await.expect("it does not panic");
    assert!(acknowledged.len() as u64 >= enough, "it stood down after {}", acknowledged.len());
    let mut log = bus.log(PARTITION).await.expect("the bus is up");
    let stored = log.range(&PARTITION.all(), 1, usize::MAX >> 1).await.expect("the bus is up");
    check(&stored, &acknowledged, 1);
}

/// The promises, read off the log: one writer between two markers, every frame once and in order,
/// and everything acknowledged where it was said to be.
fn check(stored: &[Stored], acknowledged: &[Acknowledged], takers: usize) {
    let (mut owner, mut seq, mut owners) = (None, 0, 0);
    for (stored, number) in stored.iter().zip(1..) {
        assert_eq!(stored.number, number, "the log has no hole");
        let written_by = stored.record.headers.owner.clone();
        match stored.record.subject.parse() {
            Ok(LogSubject::Ownership(_)) => {
                owners += usize::from(owner != written_by);
                owner = written_by;
            }
            _ => {
                assert_eq!(written_by, owner, "record {number} is not the owner's");
                seq += 1;
                assert_eq!(stored.record.headers.seq, Some(seq), "record {number}");
            }
        }
    }
    assert_eq!(owners, takers, "every taker has owned the partition");
    for Acknowledged { number, seq } in acknowledged {
        let index = usize::try_from(number - 1).expect("the log was read whole");
        assert_eq!(stored[index].record.headers.seq, Some(*seq), "record {number}");
    }
}
