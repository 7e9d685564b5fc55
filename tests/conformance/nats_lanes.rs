//! Lanes against what befalls their consumers. Of the rows A19 to A26 of the fault matrix the bus's
//! part is here, and in the suite under these names: A19
//! `what_is_not_acknowledged_comes_again_first_and_in_order`, A26 `one_of_two_takers_holds_the_lane`.
//! A21 to A23 and A25 are the worker's.

use std::sync::Arc;

use qqrelay_proto::subject::Lane;
use qqrelay_runtime::bus::conformance::stage::{
    PARTITION, Writer, event, next, numbers, payload, place, scope_in, take, within,
};
use qqrelay_runtime::bus::{Bus, BusError, Delivery, Feed, WorkStream};
use qqrelay_tests::servers::nats::NatsCluster;
use qqrelay_tests::servers::proxy::{Proxy, Way};
use qqrelay_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::task::coop;

use crate::nats_stage::{api, client, connect, servers};

fn lane() -> Lane {
    Lane::new(5).expect("there are 16 lanes")
}

async fn open(bus: &dyn Bus) -> Box<dyn Feed> {
    bus.lane(lane()).await.expect("the bus is up")
}

/// Appends `count` events of the lane, which get the numbers from `first` on in an empty partition.
async fn fill(bus: &dyn Bus, first: u64, count: u64) {
    let scope = scope_in("102", lane());
    let events = (first..first + count).map(|seq| event(PARTITION, &scope, seq)).collect();
    Writer::open(bus, PARTITION).await.append(events).await;
}

async fn command(bus: &dyn Bus, id: &str) {
    let subject = place(&scope_in("102", lane())).command("send");
    bus.command(id, &subject, payload(1)).await.expect("the bus is up");
}

/// The names of the lane's consumers on a stream.
async fn consumers(client: &async_nats::Client, stream: &str) -> Vec<String> {
    let names = api(client, &format!("CONSUMER.NAMES.{stream}"), "{}").await.expect("it is there");
    let names = names["consumers"].as_array().cloned().unwrap_or_default();
    let names = names.iter().filter_map(Value::as_str).map(str::to_owned);
    names.filter(|name| lane().holder_of(name).is_some()).collect()
}

/// Makes the consumer of a taker that died behind this call, and starts it where `start` says.
async fn half_taken(servers: &NatsCluster, start: impl Fn(u64) -> u64) {
    let client = client(servers).await;
    let names = consumers(&client, "QQ_EV_00").await;
    let [name] = &names[..] else { panic!("one holds the lane: {names:?}") };
    let info = api(&client, &format!("CONSUMER.INFO.QQ_EV_00.{name}"), "").await;
    let info = info.expect("it is there");
    let generation: u64 = info["config"]["metadata"]["qqrelay.generation"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a generation");
    let next = lane().consumer(generation + 1);
    let mut config = info["config"].clone();
    config["name"] = json!(next);
    config["durable_name"] = json!(next);
    config["deliver_policy"] = json!("by_start_sequence");
    config["opt_start_seq"] = json!(start(info["ack_floor"]["stream_seq"].as_u64().unwrap_or(0)));
    config["metadata"]["qqrelay.generation"] = json!((generation + 1).to_string());
    config["metadata"]["qqrelay.holder"] = json!("died");
    let filter = config["filter_subject"].as_str().expect("it has a filter").to_owned();
    let body = json!({ "stream_name": "QQ_EV_00", "config": config, "action": "create" });
    let question = format!("CONSUMER.CREATE.QQ_EV_00.{next}.{filter}");
    api(&client, &question, body.to_string()).await.expect("it is created");
}

/// Waits until the server has worked off acknowledgements up to a number.
async fn acknowledged(servers: &NatsCluster, number: u64) {
    let client = client(servers).await;
    let names = consumers(&client, "QQ_EV_00").await;
    let question = format!("CONSUMER.INFO.QQ_EV_00.{}", names[0]);
    let look = async || {
        let info = api(&client, &question, "").await?;
        (info["ack_floor"]["stream_seq"] == number).then_some(())
    };
    eventually("the acknowledgements arrive", look).await.expect("they do");
}

/// A task that has used up its turn sends all the same: nobody may look at the feed again for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_acknowledgement_leaves_at_the_end_of_a_tasks_turn() {
    let servers = servers(1).await;
    let bus = connect(servers.urls(), 1).await;
    fill(&*bus, 1, 20).await;
    let mut feed = open(&*bus).await;
    let taken = take(&mut feed, 20).await;
    while coop::has_budget_remaining() {
        coop::consume_budget().await;
    }
    for delivery in taken {
        feed.ack(delivery.position);
    }
    acknowledged(&servers, 20).await;
}

/// Between making the new consumer and deleting the old one: nothing is skipped, and what was
/// finished does not come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a20_a_taker_that_died_half_way_costs_nothing() {
    let servers = servers(1).await;
    let bus = connect(servers.urls(), 1).await;
    fill(&*bus, 1, 100).await;
    let mut feed = open(&*bus).await;
    for delivery in take(&mut feed, 20).await {
        feed.ack(delivery.position);
    }
    acknowledged(&servers, 20).await;
    half_taken(&servers, |floor| floor + 1).await;
    drop(feed);
    // The bus of a process that knows of nothing.
    let mut feed = open(&*connect(servers.urls(), 1).await).await;
    let rest = numbers(&take(&mut feed, 80).await);
    assert_eq!(rest, (21..=100).collect::<Vec<_>>());
    assert_eq!(consumers(&client(&servers).await, "QQ_EV_00").await.len(), 1);
}

/// Between deleting the old consumer of commands and making the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a20_commands_outlive_a_taker_that_died_half_way() {
    let servers = servers(1).await;
    let bus = connect(servers.urls(), 1).await;
    command(&*bus, "c-1").await;
    let mut feed = open(&*bus).await;
    assert_eq!(next(&mut feed).await.position.stream, WorkStream::Commands);
    let client = client(&servers).await;
    let names = consumers(&client, "QQ_COMMANDS").await;
    let question = format!("CONSUMER.DELETE.QQ_COMMANDS.{}", names[0]);
    api(&client, &question, "").await.expect("it is deleted");
    let told = within("the holder is told", feed.next()).await;
    assert!(matches!(told, Err(BusError::Taken)), "{told:?}");
    let again = next(&mut open(&*bus).await).await;
    assert_eq!(again.position.stream, WorkStream::Commands);
    assert!(again.inherited);
}

/// A consumer that starts beyond the end is not moved back by the server: the lane would be deaf.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_floor_beyond_the_end_makes_no_lane_deaf() {
    let servers = servers(1).await;
    let bus = connect(servers.urls(), 1).await;
    fill(&*bus, 1, 10).await;
    drop(open(&*bus).await);
    half_taken(&servers, |_| 1000).await;
    let mut feed = open(&*bus).await;
    fill(&*bus, 11, 5).await;
    assert_eq!(numbers(&take(&mut feed, 5).await), (11..=15).collect::<Vec<_>>());
}

/// The next piece of work, over cuts.
async fn next_through(feed: &mut Box<dyn Feed>) -> Delivery {
    within("a piece of work", async {
        loop {
            match feed.next().await {
                Ok(delivery) => return delivery,
                Err(BusError::Unavailable(_)) => {}
                Err(error) => panic!("the lane is held: {error}"),
            }
        }
    })
    .await
}

/// What a connection had in it when it was cut comes again, in its place, without a takeover.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a24_cut_connections_cost_neither_order_nor_a_piece() {
    const COUNT: u64 = 4000;
    const CUT_EVERY: u64 = 250;
    let servers = servers(1).await;
    let proxy = Proxy::before(servers.servers[0].port).await.expect("a port is free");
    let direct = connect(servers.urls(), 1).await;
    let bus = connect(vec![proxy.url()], 1).await;
    let mut feed = open(&*bus).await;
    let writing = tokio::spawn({
        let direct = Arc::clone(&direct);
        async move { fill(&*direct, 1, COUNT).await }
    });
    for number in 1..=COUNT {
        let delivery = next_through(&mut feed).await;
        assert_eq!(delivery.position.number, number);
        feed.ack(delivery.position);
        if number % CUT_EVERY == 0 {
            proxy.cut();
        }
    }
    writing.await.expect("nobody else writes");
}

/// An acknowledgement that was on its way during a takeover finishes nothing of the new holder's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a26_an_acknowledgement_held_back_over_a_takeover_hits_nothing() {
    let servers = servers(1).await;
    let proxy = Proxy::before(servers.servers[0].port).await.expect("a port is free");
    let direct = connect(servers.urls(), 1).await;
    let bus = connect(vec![proxy.url()], 1).await;
    fill(&*direct, 1, 1).await;
    command(&*direct, "c-1").await;
    let mut old = open(&*bus).await;
    let given = take(&mut old, 2).await;
    proxy.hold(Way::ToServer);
    for delivery in &given {
        old.ack(delivery.position);
    }
    let last = format!(".{}.", given[1].position.stream);
    proxy.holds(Way::ToServer, last.as_bytes()).await.expect("they are held back");
    let mut second = take(&mut open(&*direct).await, 2).await;
    proxy.release(Way::ToServer);
    // A question over the same connection: the server has read what was before it.
    Writer::open(&*bus, PARTITION).await;
    let mut third = take(&mut open(&*direct).await, 2).await;
    second.sort_by_key(|delivery| delivery.position);
    third.sort_by_key(|delivery| delivery.position);
    assert_eq!(second, third, "both pieces come to each holder");
}
