//! Rules of readers: they follow, filter, and take nothing from anybody.

use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::{Lane, Partition};

use super::Fixture;
use super::stage::{PARTITION, Writer, event, event_of, scope_in, take, within};
use crate::bus::{Bus, Reader, Records, Start};

const EVERYTHING: &str = "qq.v1.ev.>";

fn group() -> Scope {
    Scope::new(Scene::Group, "A1")
}

async fn read(bus: &dyn Bus, filter: &str, start: Start) -> Box<dyn Records> {
    bus.read(Reader { filter: filter.to_owned(), start }).await.expect("the bus is up")
}

async fn next(records: &mut Box<dyn Records>) -> (Partition, Stored) {
    within("a record", records.next()).await.expect("the bus is up")
}

async fn numbers(records: &mut Box<dyn Records>, count: usize) -> Vec<(Partition, u64)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let (partition, stored) = next(records).await;
        seen.push((partition, stored.number));
    }
    seen
}

/// All partitions, each from its first record on, and what comes while it reads.
pub async fn a_reader_begins_at_the_oldest_and_follows(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let partitions = [Partition::Chain(0), Partition::Chain(1)];
    for partition in partitions {
        let mut writer = Writer::open(&*bus, partition).await;
        writer.append((1..=500).map(|seq| event(partition, &group(), seq)).collect()).await;
    }
    let mut records = read(&*bus, EVERYTHING, Start::Oldest).await;
    let mut seen = numbers(&mut records, 1000).await;
    for partition in partitions {
        let mut writer = Writer::open(&*bus, partition).await;
        writer.append((501..=510).map(|seq| event(partition, &group(), seq)).collect()).await;
    }
    seen.extend(numbers(&mut records, 20).await);
    for partition in partitions {
        let of = seen.iter().filter(|(of, _)| *of == partition).map(|(_, number)| *number);
        assert_eq!(of.collect::<Vec<_>>(), (1..=510).collect::<Vec<_>>());
    }
}

/// It begins where the log ended when it was opened, not when it first asks.
pub async fn a_reader_of_what_is_new_sees_nothing_older(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut writer = Writer::open(&*bus, PARTITION).await;
    writer.append(vec![event(PARTITION, &group(), 1)]).await;
    let mut records = read(&*bus, EVERYTHING, Start::New).await;
    writer.append((2..=4).map(|seq| event(PARTITION, &group(), seq)).collect()).await;
    let seen = numbers(&mut records, 3).await;
    assert_eq!(seen, [(PARTITION, 2), (PARTITION, 3), (PARTITION, 4)]);
}

/// One bot's events, and not those of a bot whose id begins alike.
pub async fn a_filter_takes_one_bot_and_no_namesake(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut writer = Writer::open(&*bus, PARTITION).await;
    let apps = ["1020", "102", "10"];
    let records = (0..30).flat_map(|seq| apps.map(|app| event_of(app, PARTITION, &group(), seq)));
    writer.append(records.collect()).await;
    let mut records = read(&*bus, "qq.v1.ev.*.102.*.e.>", Start::Oldest).await;
    for seq in 0..30 {
        let (_, stored) = next(&mut records).await;
        assert_eq!(stored.record, event_of("102", PARTITION, &group(), seq));
    }
}

/// Reading takes no work away, and working hides nothing from readers.
pub async fn readers_and_lanes_do_not_disturb_each_other(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let lane = Lane::new(3).expect("there are 16 lanes");
    let mut readers =
        [read(&*bus, EVERYTHING, Start::Oldest).await, read(&*bus, EVERYTHING, Start::New).await];
    let mut feed = bus.lane(lane).await.expect("the bus is up");
    let mut writer = Writer::open(&*bus, PARTITION).await;
    let scope = scope_in("102", lane);
    writer.append((1..=50).map(|seq| event(PARTITION, &scope, seq)).collect()).await;
    for delivery in take(&mut feed, 50).await {
        feed.ack(delivery.position);
    }
    for reader in &mut readers {
        let expected: Vec<_> = (1..=50).map(|number| (PARTITION, number)).collect();
        assert_eq!(numbers(reader, 50).await, expected);
    }
}
