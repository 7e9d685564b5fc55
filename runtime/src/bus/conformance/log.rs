//! Rules of one partition: numbers, batches, and reading back.

use qqrelay_proto::event::EventKind;
use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::record::RECORD_BYTES_MAX;
use qqrelay_proto::subject::Partition;

use super::stage::{
    PARTITION, Writer, answer, batch, event, event_of, markers, publish, session, source, within,
};
use super::{Fixture, LAYOUT};
use crate::bus::{Answer, BATCH_MAX, Refusal};

fn group() -> Scope {
    Scope::new(Scene::Group, "A1")
}

/// A whole window goes out without a wait, and each record stands where it was meant to.
pub async fn a_pipelined_window_gets_the_numbers_it_asked_for(fixture: &mut impl Fixture) {
    let mut log = fixture.bus().log(PARTITION).await.expect("the bus is up");
    let window = u64::from(LAYOUT.window);
    let records = (1..=window).map(|seq| event(PARTITION, &group(), seq));
    let stored = publish(&mut log, 1, records).await;
    assert_eq!(stored, (1..=window).collect::<Vec<_>>());
    let extent = log.extent().await.expect("the bus is up");
    assert_eq!((extent.first, extent.last), (1, window));
    let found = log.range(&PARTITION.all(), 1, usize::MAX >> 1).await.expect("the bus is up");
    assert_eq!(found.len(), usize::from(LAYOUT.window));
    for (stored, number) in found.into_iter().zip(1..) {
        assert_eq!(stored.number, number);
        assert_eq!(stored.record, event(PARTITION, &group(), number));
    }
}

/// One missing number, and all that was sent behind it is refused.
pub async fn what_does_not_fit_makes_everything_behind_it_fail(fixture: &mut impl Fixture) {
    let mut log = fixture.bus().log(PARTITION).await.expect("the bus is up");
    let records = |seqs: std::ops::Range<u64>| seqs.map(|seq| event(PARTITION, &group(), seq));
    assert_eq!(publish(&mut log, 1, records(1..3)).await, [1, 2]);
    let nothing: [u64; 0] = [];
    assert_eq!(publish(&mut log, 4, records(4..90)).await, nothing, "number 3 is missing");
    assert_eq!(publish(&mut log, 2, records(2..3)).await, nothing, "number 2 is taken");
    assert_eq!(publish(&mut log, 3, records(3..5)).await, [3, 4]);
}

/// What can never be stored is said to be that, and the next record takes its number.
pub async fn a_record_that_is_never_taken_costs_no_number(fixture: &mut impl Fixture) {
    let mut log = fixture.bus().log(PARTITION).await.expect("the bus is up");
    let mut large = event(PARTITION, &group(), 1);
    large.payload = vec![b' '; 2 * RECORD_BYTES_MAX].into();
    log.publish(1, large);
    let refused = answer(&mut log).await;
    let Answer::Refused { number: 1, refusal: Refusal::Never(_) } = refused else {
        panic!("it is too large: {refused:?}");
    };
    let stored = publish(&mut log, 1, [event(PARTITION, &group(), 1)]).await;
    assert_eq!(stored, [1]);
}

/// A batch with one record that is never taken leaves nothing, and one without leaves all.
pub async fn a_batch_is_written_wholly_or_not_at_all(fixture: &mut impl Fixture) {
    let mut log = fixture.bus().log(PARTITION).await.expect("the bus is up");
    let mut spoilt = batch(PARTITION, "a");
    let middle = spoilt.len() / 2;
    spoilt[middle].payload = vec![b' '; 2 * RECORD_BYTES_MAX].into();
    log.mark(spoilt).await.expect_err("one of them is too large");
    assert_eq!(log.extent().await.expect("the bus is up").last, 0);
    let count = u64::from(LAYOUT.window) + 1;
    assert_eq!(log.mark(batch(PARTITION, "a")).await, Ok(count));
    assert_eq!(log.mark(markers(PARTITION, "a", BATCH_MAX)).await, Ok(count + BATCH_MAX as u64));
    assert_eq!(log.extent().await.expect("the bus is up").last, count + BATCH_MAX as u64);
    log.mark(markers(PARTITION, "a", BATCH_MAX + 1)).await.expect_err("it has too many");
}

/// Whoever marks at the same time comes before or after, never between.
pub async fn batches_of_two_handles_do_not_mix(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut marks = tokio::task::JoinSet::new();
    for owner in ["a", "b", "c", "d"] {
        let mut log = bus.log(PARTITION).await.expect("the bus is up");
        marks.spawn(async move {
            let last = log.mark(batch(PARTITION, owner)).await.expect("the bus is up");
            (owner, last)
        });
    }
    let marked = within("four batches", marks.join_all()).await;
    let mut log = bus.log(PARTITION).await.expect("the bus is up");
    let count = usize::from(LAYOUT.window) + 1;
    for (owner, last) in marked {
        let from = last + 1 - count as u64;
        let own = log.range(&PARTITION.all(), from, count).await.expect("the bus is up");
        assert_eq!(own.len(), count);
        for stored in own {
            let written_by = stored.record.headers.owner.expect("a marker names its owner");
            assert_eq!(written_by.as_str(), owner);
        }
    }
}

/// Also where one bot's id is the beginning of another's.
pub async fn the_newest_record_is_found_by_prefix_and_by_name(fixture: &mut impl Fixture) {
    let mut writer = Writer::open(&*fixture.bus(), PARTITION).await;
    let records = vec![
        event_of("102", PARTITION, &group(), 1),
        event_of("1020", PARTITION, &group(), 9),
        session(PARTITION, "102", 2),
        event_of("10", PARTITION, &group(), 4),
        event_of("102", PARTITION, &group(), 3),
        event_of("1020", PARTITION, &group(), 10),
    ];
    writer.append(records).await;
    writer.append(markers(PARTITION, "a", 2)).await;
    let (group, shard) = (group(), |app| source(PARTITION, app));
    let mut check = async |filter: String, expected: Option<u64>| {
        let found = writer.log.last(&filter).await.expect("the bus is up");
        assert_eq!(found.map(|stored| stored.number), expected, "{filter}");
    };
    check(shard("102").all(), Some(5)).await;
    check(shard("1020").all(), Some(6)).await;
    check(shard("10").all(), Some(4)).await;
    check(shard("1").all(), None).await;
    check(shard("1021").all(), None).await;
    check(shard("102").session(), Some(3)).await;
    check(shard("1020").session(), None).await;
    check(shard("102").event(&group, EventKind::MessageCreate), Some(5)).await;
    check(shard("102").event(&group, EventKind::MessageDelete), None).await;
    check(PARTITION.ownership(), Some(8)).await;
    check(PARTITION.all(), Some(8)).await;
    check("qq.v1.ev.00.*.*.ses".to_owned(), Some(3)).await;
    check("qq.v1.ev.00.102.>".to_owned(), Some(5)).await;
    check("qq.v1.ev.00.102.1-0.e.>".to_owned(), Some(5)).await;
    check("qq.v1.ev.*.1020.*.e.>".to_owned(), Some(6)).await;
}

/// From any number on, no more than asked for, and nothing that the filter does not take.
pub async fn a_range_has_what_the_filter_takes_in_order(fixture: &mut impl Fixture) {
    let mut writer = Writer::open(&*fixture.bus(), PARTITION).await;
    let of = |seq: u64| {
        event_of(if seq.is_multiple_of(3) { "103" } else { "102" }, PARTITION, &group(), seq)
    };
    writer.append((1..=900).map(of).collect()).await;
    let mut check = async |from: u64, limit: usize, expected: Vec<u64>| {
        let filter = source(PARTITION, "103").all();
        let found = writer.log.range(&filter, from, limit).await.expect("the bus is up");
        let found: Vec<_> = found.iter().map(|stored| stored.number).collect();
        assert_eq!(found, expected, "from {from}, at most {limit}");
    };
    check(1, 3, vec![3, 6, 9]).await;
    check(6, 2, vec![6, 9]).await;
    check(7, 2, vec![9, 12]).await;
    check(1, 1000, (1..=300).map(|third| third * 3).collect()).await;
    check(901, 10, vec![]).await;
    check(1, 0, vec![]).await;
}

/// What is written to one partition moves no number of another, the webhook's included.
pub async fn partitions_count_for_themselves(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    for (partition, count) in [(Partition::Chain(0), 5), (Partition::Chain(1), 3)] {
        let mut writer = Writer::open(&*bus, partition).await;
        writer.append((1..=count).map(|seq| event(partition, &group(), seq)).collect()).await;
    }
    let last = async |partition| {
        let mut log = bus.log(partition).await.expect("the bus is up");
        log.extent().await.expect("the bus is up").last
    };
    assert_eq!(last(Partition::Chain(0)).await, 5);
    assert_eq!(last(Partition::Chain(1)).await, 3);
    assert_eq!(last(Partition::Webhook).await, 0);
    bus.log(Partition::Chain(2)).await.err().expect("the log has two partitions");
}

/// The same records, under the same numbers, in the same log.
pub async fn what_is_acknowledged_is_there_after_a_restart(fixture: &mut impl Fixture) {
    let mut writer = Writer::open(&*fixture.bus(), PARTITION).await;
    writer.append((1..=700).map(|seq| event(PARTITION, &group(), seq)).collect()).await;
    let before = writer.log.extent().await.expect("the bus is up");
    drop(writer);
    fixture.reopen().await;
    let mut writer = Writer::open(&*fixture.bus(), PARTITION).await;
    assert_eq!(writer.log.extent().await, Ok(before));
    let found = writer.log.range(&PARTITION.all(), 1, 1000).await.expect("the bus is up");
    let found: Vec<_> = found.into_iter().map(|stored| stored.record).collect();
    assert_eq!(found, (1..=700).map(|seq| event(PARTITION, &group(), seq)).collect::<Vec<_>>());
    let newest = writer.log.last(&source(PARTITION, "102").all()).await.expect("the bus is up");
    assert_eq!(newest.map(|stored| stored.number), Some(700));
    assert_eq!(writer.append(vec![event(PARTITION, &group(), 701)]).await, 701);
}
