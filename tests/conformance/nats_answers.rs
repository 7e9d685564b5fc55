//! What may become of a record on its way, each against a real server: its answer is lost, or late;
//! the leader goes; the stream is another one; the record is too large.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_nats::Client;
use qqrelay_proto::subject::Lane;
use qqrelay_runtime::bus::conformance::fencing;
use qqrelay_runtime::bus::conformance::stage::{
    PARTITION, answer, batch, event, publish, scope_in, within,
};
use qqrelay_runtime::bus::embedded::Limits;
use qqrelay_runtime::bus::{Answer, BusError, Log, Refusal};
use qqrelay_tests::servers::nats::{NatsServer, Setup};
use qqrelay_tests::servers::proxy::{Proxy, Way};
use qqrelay_tests::wait::eventually;

use crate::nats_stage::{Pair, api, client, connect, connect_with, group, nats, servers};

/// Waits until the partition reaches this far.
async fn stored_up_to(log: &mut Box<dyn Log>, number: u64) {
    let look = async || {
        let extent = log.extent().await.expect("the bus is up");
        (extent.last == number).then_some(())
    };
    eventually("the record is stored", look).await.expect("it is stored");
}

/// The connection goes with the answer in it: nobody knows, and the log has the record once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c6_of_a_record_whose_answer_is_lost_nothing_is_said_but_that_the_connection_went() {
    let Pair { _kept, proxy, behind: mut log, direct: mut witness } = Pair::on(1).await;
    let last = log.mark(batch(PARTITION, "owner")).await.expect("the bus is up");

    proxy.hold(Way::ToClient);
    log.publish(last + 1, event(PARTITION, &group(), 1));
    stored_up_to(&mut witness, last + 1).await;
    proxy.cut();
    assert_eq!(answer(&mut log).await, Answer::Disconnected);
    proxy.release(Way::ToClient);

    let end = within("a batch over the new connection", async {
        loop {
            match log.mark(batch(PARTITION, "owner")).await {
                Ok(end) => return end,
                Err(Refusal::Unknown(_) | Refusal::Busy(_)) => {}
                Err(refusal) => panic!("{refusal}"),
            }
        }
    });
    let end = end.await;
    let before = log.range(&PARTITION.all(), last + 1, 1).await.expect("the bus is up");
    assert_eq!(before[0].record, event(PARTITION, &group(), 1));
    assert_eq!(publish(&mut log, end + 1, [event(PARTITION, &group(), 2)]).await, [end + 1]);
}

/// What is given up stays given up: the answer that comes after all is nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c6_an_answer_that_comes_late_is_not_heard() {
    let servers = servers(1).await;
    let proxy = Proxy::before(servers.servers[0].port).await.expect("a port is free");
    let nats = nats(vec![proxy.url()], 1);
    let bus = connect_with(&nats, &Limits::default(), Duration::from_millis(500)).await;
    let mut log = bus.log(PARTITION).await.expect("the bus is up");
    let last = log.mark(batch(PARTITION, "owner")).await.expect("the bus is up");

    proxy.hold(Way::ToClient);
    log.publish(last + 1, event(PARTITION, &group(), 1));
    let given_up = answer(&mut log).await;
    let Answer::Refused { number, refusal: Refusal::Unknown(_) } = given_up else {
        panic!("nobody knows: {given_up:?}");
    };
    assert_eq!(number, last + 1);
    proxy.release(Way::ToClient);

    let end = log.mark(batch(PARTITION, "owner")).await.expect("the bus is up");
    assert_eq!(publish(&mut log, end + 1, [event(PARTITION, &group(), 2)]).await, [end + 1]);
    // The batch's answer came over the same connection, behind the late one.
    let more = poll_fn(|cx| Poll::Ready(log.poll_answer(cx))).await;
    assert_eq!(more, Poll::Pending);
}

/// Who leads the partition's stream now.
async fn leader(client: &Client) -> String {
    let look = async || {
        let info = api(client, "STREAM.INFO.QQ_EV_00", "").await?;
        info["cluster"]["leader"].as_str().map(str::to_owned)
    };
    eventually("the stream has a leader", look).await.expect("three servers choose one")
}

async fn passes(progress: &AtomicU64, count: u64) {
    while progress.load(Ordering::SeqCst) < count {
        tokio::task::yield_now().await;
    }
}

/// The leader is killed in the middle of a pipeline, twice, and the third time steps down.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_an_owner_goes_on_through_changes_of_the_leader() {
    let mut servers = servers(3).await;
    let bus = connect(servers.urls(), 3).await;
    let client = client(&servers).await;
    let trouble = async |progress: Arc<AtomicU64>| {
        for turn in 1..=2 {
            passes(&progress, turn * 1000).await;
            let server = servers.server(&leader(&client).await);
            server.kill();
            server.restart().await.expect("it starts again");
        }
        passes(&progress, 3000).await;
        api(&client, "STREAM.LEADER.STEPDOWN.QQ_EV_00", "").await.expect("it steps down");
    };
    fencing::one_owner_through(&*bus, 5000, trouble).await;
}

/// Whoever held the old one is refused, and sees by its creation that it is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c11_a_stream_made_anew_takes_nothing_meant_for_the_old_one() {
    let servers = servers(1).await;
    let bus = connect(servers.urls(), 1).await;
    let mut log = bus.log(PARTITION).await.expect("the bus is up");
    let last = log.mark(batch(PARTITION, "owner")).await.expect("the bus is up");
    let lane = Lane::new(5).expect("there are 16 lanes");
    let mut feed = bus.lane(lane).await.expect("the bus is up");
    let before = log.extent().await.expect("the bus is up");

    let client = client(&servers).await;
    api(&client, "STREAM.DELETE.QQ_EV_00", "").await.expect("it is deleted");
    connect(servers.urls(), 1).await;

    let stored = publish(&mut log, last + 1, [event(PARTITION, &scope_in("102", lane), 1)]).await;
    assert!(stored.is_empty(), "{stored:?}");
    let after = log.extent().await.expect("the bus is up");
    assert_eq!(after.last, 0);
    assert!(after.created_ms > before.created_ms, "{after:?} after {before:?}");
    let told = within("the lane's holder is told", feed.next()).await;
    assert!(matches!(told, Err(BusError::Taken)), "{told:?}");
}

/// By one byte or by many: it is refused before it costs a number or the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_larger_than_the_server_takes_costs_no_number() {
    const MAX: usize = 64 * 1024;
    let setup = Setup { config: format!("max_payload: {MAX}"), ..Setup::default() };
    let server = NatsServer::start(&setup).await.expect("a server starts");
    let bus = connect(vec![server.url()], 1).await;
    let mut log = bus.log(PARTITION).await.expect("the bus is up");
    let of_size = |size: usize| {
        let mut record = event(PARTITION, &group(), 1);
        record.payload = vec![b' '; size].into();
        record
    };
    let mut size = MAX;
    loop {
        log.publish(1, of_size(size));
        match answer(&mut log).await {
            Answer::Stored { number: 1 } => break,
            Answer::Refused { number: 1, refusal: Refusal::Never(_) } => size -= 1,
            other => panic!("{size} bytes are taken or never taken: {other:?}"),
        }
    }
    assert!((1..2048).contains(&(MAX - size)), "headers took {} bytes", MAX - size);
}
