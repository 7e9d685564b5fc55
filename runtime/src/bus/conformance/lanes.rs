//! Rules of a lane: order, what comes again, and who holds it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use qqrelay_proto::subject::{Lane, Partition};

use super::Fixture;
use super::stage::{
    PARTITION, Writer, event, next, numbers, payload, place, scope_in, session, take, within,
};
use crate::bus::{Accepted, Bus, BusError, Feed, UNACKED_MAX, WorkStream};

fn lane() -> Lane {
    Lane::new(5).expect("there are 16 lanes")
}

async fn open(bus: &dyn Bus) -> Box<dyn Feed> {
    bus.lane(lane()).await.expect("the bus is up")
}

/// Appends `count` events of the lane under test, each followed by one of another lane.
async fn fill(bus: &dyn Bus, partition: Partition, count: u64) {
    let mut writer = Writer::open(bus, partition).await;
    let (ours, other) =
        (scope_in("102", lane()), scope_in("102", Lane::new(6).expect("it is one")));
    let pair = |seq| [event(partition, &ours, seq), event(partition, &other, seq)];
    writer.append((1..=count).flat_map(pair).collect()).await;
}

/// The numbers that [`fill`] gives the lane under test in an empty partition.
fn odd(from: u64, count: u64) -> Vec<u64> {
    (from..from + count).map(|nth| 2 * nth - 1).collect()
}

async fn command(bus: &dyn Bus, id: &str, number: u64) {
    let subject = place(&scope_in("102", lane())).command("send");
    let accepted = bus.command(id, &subject, payload(number)).await.expect("the bus is up");
    assert_eq!(accepted, Accepted::New);
}

/// All partitions and the commands, each from its beginning, with what is there and what comes.
pub async fn each_stream_comes_in_order_and_only_what_is_the_lanes_own(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let partitions = [Partition::Chain(0), Partition::Chain(1)];
    for partition in partitions {
        fill(&*bus, partition, 300).await;
        let mut writer = Writer::open(&*bus, partition).await;
        writer.append(vec![session(partition, "102", 999)]).await;
    }
    let mut feed = open(&*bus).await;
    for number in 0..50 {
        command(&*bus, &format!("c-{number}"), number).await;
    }
    let mut seen = BTreeMap::<WorkStream, Vec<u64>>::new();
    for round in 0..2 {
        for delivery in take(&mut feed, if round == 0 { 650 } else { 20 }).await {
            assert_eq!(delivery.delivered, 1);
            assert_eq!(delivery.stored.number, delivery.position.number);
            seen.entry(delivery.position.stream).or_default().push(delivery.position.number);
            feed.ack(delivery.position);
        }
        for partition in partitions.into_iter().filter(|_| round == 0) {
            fill(&*bus, partition, 10).await;
        }
    }
    for partition in partitions {
        let before = odd(1, 300);
        // Behind 600 events and one session record.
        let after = odd(1, 10).into_iter().map(|number| number + 601);
        let expected: Vec<_> = before.into_iter().chain(after).collect();
        assert_eq!(seen[&WorkStream::Events(partition)], expected, "{partition}");
    }
    assert_eq!(seen[&WorkStream::Commands].len(), 50);
    assert!(seen[&WorkStream::Commands].is_sorted());
}

/// After a takeover the work in flight comes first, before anything newer.
pub async fn what_is_not_acknowledged_comes_again_first_and_in_order(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    fill(&*bus, PARTITION, 100).await;
    let mut old = open(&*bus).await;
    let given = take(&mut old, 60).await;
    let (done, open_work) = given.split_at(20);
    for delivery in done {
        old.ack(delivery.position);
    }
    let expected: Vec<_> = numbers(open_work).into_iter().chain(odd(61, 40)).collect();
    let mut new = open(&*bus).await;
    // An acknowledgement that was lost may bring a finished piece again, in its place.
    let mut again = numbers(&take(&mut new, expected.len()).await);
    let repeated = again.iter().filter(|number| numbers(done).contains(number)).count();
    again.extend(numbers(&take(&mut new, repeated).await));
    assert!(again.is_sorted());
    assert_eq!(again[repeated..], expected);
}

/// Also a holder that waits for work at that moment.
pub async fn the_holder_of_before_is_told_even_while_it_waits(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut old = open(&*bus).await;
    let mut waiting = old.next();
    let waits = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "there is no work yet");
    let mut new = open(&*bus).await;
    let told = within("the old holder is told", waiting).await;
    assert!(matches!(told, Err(BusError::Taken)), "{told:?}");
    fill(&*bus, PARTITION, 1).await;
    assert_eq!(next(&mut new).await.position.number, 1);
    let told = within("the old holder is told", old.next()).await;
    assert!(matches!(told, Err(BusError::Taken)), "{told:?}");
}

/// Otherwise a slow worker could make a piece vanish that another is working on.
pub async fn a_late_acknowledgement_of_a_former_holder_hits_nothing(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    fill(&*bus, PARTITION, 1).await;
    command(&*bus, "c-1", 1).await;
    let mut old = open(&*bus).await;
    let given = take(&mut old, 2).await;
    let mut new = open(&*bus).await;
    for delivery in &given {
        old.ack(delivery.position);
    }
    let mut second = take(&mut new, 2).await;
    let mut third = take(&mut open(&*bus).await, 2).await;
    second.sort_by_key(|delivery| delivery.position);
    third.sort_by_key(|delivery| delivery.position);
    assert_eq!(second, third, "both pieces come to each holder");
}

/// At the bound a stream waits, and only that stream.
pub async fn no_more_than_the_bound_is_out_at_once(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let count = UNACKED_MAX as u64 + 3;
    let mut writer = Writer::open(&*bus, PARTITION).await;
    let scope = scope_in("102", lane());
    writer.append((1..=count).map(|seq| event(PARTITION, &scope, seq)).collect()).await;
    let mut feed = open(&*bus).await;
    let given = take(&mut feed, UNACKED_MAX).await;
    assert_eq!(numbers(&given), (1..=UNACKED_MAX as u64).collect::<Vec<_>>());
    command(&*bus, "c-1", 1).await;
    assert_eq!(next(&mut feed).await.position.stream, WorkStream::Commands);
    feed.ack(given[7].position);
    assert_eq!(next(&mut feed).await.position.number, UNACKED_MAX as u64 + 1);
    command(&*bus, "c-2", 2).await;
    assert_eq!(next(&mut feed).await.position.stream, WorkStream::Commands);
    feed.ack(given[0].position);
    feed.ack(given[1].position);
    assert_eq!(numbers(&take(&mut feed, 2).await), [count - 1, count]);
}

/// A piece that an earlier holder may have begun says so; one that came later does not.
pub async fn what_was_there_at_the_taking_is_inherited(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    fill(&*bus, PARTITION, 1).await;
    command(&*bus, "c-1", 1).await;
    let mut feed = open(&*bus).await;
    for delivery in take(&mut feed, 2).await {
        assert!(delivery.inherited, "{:?}", delivery.position);
    }
    fill(&*bus, PARTITION, 1).await;
    command(&*bus, "c-2", 2).await;
    for delivery in take(&mut feed, 2).await {
        assert!(!delivery.inherited, "{:?}", delivery.position);
    }
    for delivery in take(&mut open(&*bus).await, 4).await {
        assert!(delivery.inherited, "{:?}", delivery.position);
    }
}

/// What is finished does not come again for ever, and what is not does.
pub async fn a_lane_goes_on_behind_what_it_finished_after_a_restart(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    fill(&*bus, PARTITION, 100).await;
    let mut feed = open(&*bus).await;
    for delivery in take(&mut feed, 70).await {
        feed.ack(delivery.position);
    }
    drop((feed, bus));
    fixture.reopen().await;
    let mut feed = open(&*fixture.bus()).await;
    // Nobody answers an acknowledgement, so some may be lost; the order holds all the same.
    let first = next(&mut feed).await.position.number;
    assert!(first <= 141, "71 is not finished, but {first} comes first");
    let unfinished = (141 - first) / 2 + 29;
    let rest = numbers(&take(&mut feed, usize::try_from(unfinished).expect("it is small")).await);
    assert_eq!(rest, odd(first.div_ceil(2) + 1, unfinished));
    assert_eq!(rest.last(), Some(&199));
}

/// Of takers at once the last one holds the lane, and all others are told.
pub async fn one_of_two_takers_holds_the_lane(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    fill(&*bus, PARTITION, 1).await;
    let takers = (0..8).map(|_| async {
        let mut feed = bus.lane(lane()).await?;
        feed.next().await?;
        Ok::<_, BusError>(feed)
    });
    let takers = within("eight takers", futures_util::future::join_all(takers)).await;
    // More than one may have been given the piece, one after the other; one is left.
    let mut holders = 0;
    fill(&*bus, PARTITION, 1).await;
    for taker in takers {
        let goes_on = match taker {
            Ok(mut feed) => within("work or a word", feed.next()).await.map(|_| ()),
            Err(error) => Err(error),
        };
        match goes_on {
            Ok(()) => holders += 1,
            Err(BusError::Taken) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(holders, 1);
}
