//! The fence against what is in flight on another connection, and what retention may not take: rows
//! A18 and C25 to C28 of the fault matrix.

use qqrelay_proto::record::{Record, ResumePoint, Stored, Tail};
use qqrelay_runtime::bus::Log;
use qqrelay_runtime::bus::conformance::stage::{
    PARTITION, Writer, accepted, answer, batch, event, event_of, markers, session, source,
};
use qqrelay_runtime::bus::conformance::{LAYOUT, fencing};
use qqrelay_runtime::bus::embedded::{Bound, Limits};
use qqrelay_tests::servers::proxy::{Proxy, Way};
use qqrelay_tests::wait::eventually;

use crate::nats_stage::{ANSWER_WITHIN, Pair, connect, connect_with, group, nats, servers};

const WINDOW: u64 = LAYOUT.window as u64;

/// What is taken of a full window that was on its way while another owner wrote `marker`, counted
/// from the window's first record.
async fn taken_of_a_stale_window(replicas: u8, marker: Vec<Record>) -> Vec<u64> {
    let Pair { _kept, proxy, behind: mut old, direct: mut new } = Pair::on(replicas).await;
    let last = old.mark(batch(PARTITION, "old")).await.expect("the bus is up");

    proxy.hold(Way::ToServer);
    for seq in 1..=WINDOW {
        old.publish(last + seq, event(PARTITION, &group(), seq));
    }
    let newest = format!(r#"{{"seq":{WINDOW}}}"#);
    // Who publishes many at once sends the rest of them while it waits for answers.
    tokio::select! {
        held = proxy.holds(Way::ToServer, newest.as_bytes()) => held.expect("all is held back"),
        answer = answer(&mut old) => panic!("the server has heard nothing: {answer:?}"),
    }
    let end = new.mark(marker).await.expect("the bus is up");
    proxy.release(Way::ToServer);

    let taken = accepted(&mut old, WINDOW).await;
    assert_eq!(new.extent().await.expect("the bus is up").last, end + taken.len() as u64);
    taken.into_iter().map(|number| number - last).collect()
}

/// A window that was held back is taken nowhere behind the batch; and the control, without which
/// nobody would know that the test could fail: behind a single marker all but its first fits.
async fn c25(replicas: u8) {
    let nothing: [u64; 0] = [];
    assert_eq!(taken_of_a_stale_window(replicas, batch(PARTITION, "new")).await, nothing);
    let marker = markers(PARTITION, "new", 1);
    let all_but_first: Vec<_> = (2..=WINDOW).collect();
    assert_eq!(taken_of_a_stale_window(replicas, marker).await, all_but_first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c25_of_a_stale_window_nothing_is_taken_on_one_server() {
    c25(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c25_of_a_stale_window_nothing_is_taken_on_three_replicas() {
    c25(3).await;
}

/// What the log has after a taker died over its batch and another took the partition: whose records,
/// in order.
async fn owners_after(died: impl AsyncFnOnce(&Proxy, &mut dyn Log, &mut dyn Log)) -> Vec<String> {
    let Pair { _kept, proxy, behind: mut old, direct: mut new } = Pair::on(1).await;
    died(&proxy, &mut *old, &mut *new).await;
    proxy.cut();
    let last = new.mark(batch(PARTITION, "new")).await.expect("the bus is up");
    let all = new.range(&PARTITION.all(), 1, usize::MAX).await.expect("the bus is up");
    assert_eq!(all.last().map(|stored| stored.number), Some(last), "nothing comes behind it");
    let owner = |stored: Stored| stored.record.headers.owner.map(|owner| owner.to_string());
    all.into_iter().filter_map(owner).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a18_a_batch_half_sent_is_none() {
    let owners = owners_after(async |proxy, old, _| {
        proxy.hold_behind(Way::ToServer, b"Nats-Batch-Sequence: 100\r\n");
        tokio::select! {
            held = proxy.holds(Way::ToServer, b"Nats-Batch-Sequence: 200\r\n") => {
                held.expect("half of the batch is held back");
            }
            marked = old.mark(batch(PARTITION, "old")) => panic!("half of it is stored: {marked:?}"),
        }
    });
    assert_eq!(owners.await, vec!["new"; LAYOUT.window as usize + 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a18_a_batch_sent_and_not_answered_is_whole() {
    let owners = owners_after(async |proxy, old, new| {
        proxy.hold(Way::ToClient);
        let is_stored = eventually("the batch is stored", async || {
            let extent = new.extent().await.ok()?;
            (extent.last > WINDOW).then_some(())
        });
        tokio::select! {
            stored = is_stored => stored.expect("it was sent"),
            marked = old.mark(batch(PARTITION, "old")) => panic!("nobody has said so: {marked:?}"),
        }
    });
    let batch = |owner| vec![owner; LAYOUT.window as usize + 1];
    assert_eq!(owners.await, [batch("old"), batch("new")].concat());
}

/// Each owner writes as fast as it can, over a connection of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c26_twenty_takers_depose_a_live_writer() {
    let servers = servers(1).await;
    fencing::takeovers(async || connect(servers.urls(), 1).await).await;
}

/// Floods a small partition until it was turned over three times. What `kept` makes is written once
/// its newest copy lies in the oldest quarter, as an owner does; `filter` finds it every time.
async fn flooded(filter: &str, kept: impl Fn() -> Record) -> Record {
    const MAX_BYTES: u64 = 1 << 20;
    let servers = servers(1).await;
    let defaults = Limits::default();
    let events = Bound { max_bytes: MAX_BYTES, ..defaults.events };
    let limits = Limits { events, ..defaults };
    let nats = nats(servers.urls(), 1);
    let bus = connect_with(&nats, &limits, ANSWER_WITHIN).await;
    let mut writer = Writer::open(&*bus, PARTITION).await;

    let mut newest = writer.append(vec![kept()]).await;
    let (mut turns, mut seq) = (0, 0);
    let mut turned_at = newest;
    while turns < 3 {
        let flood = (0..64).map(|_| {
            seq += 1;
            let mut record = event_of("103", PARTITION, &group(), seq);
            record.payload = vec![b' '; 1024].into();
            record
        });
        let flood = flood.collect();
        writer.append(flood).await;
        let extent = writer.log.extent().await.expect("the bus is up");
        assert!(extent.bytes <= MAX_BYTES, "{extent:?}");
        if newest < extent.first + (extent.last - extent.first) / 4 {
            newest = writer.append(vec![kept()]).await;
        }
        if extent.first > turned_at {
            (turns, turned_at) = (turns + 1, extent.last);
        }
    }
    let found = writer.log.last(filter).await.expect("the bus is up");
    let found = found.expect("what is kept is there");
    assert_eq!(found.number, newest);
    found.record
}

/// The bus's part of it: an owner sees how far eviction is, and what it said again is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c27_a_flooding_neighbour_takes_no_resume_point_that_is_said_again() {
    let filter = source(PARTITION, "102").all();
    let found = flooded(&filter, || session(PARTITION, "102", 7)).await;
    let point = ResumePoint { session: "s-1".into(), seq: 7 };
    assert_eq!(Tail::of(Some(&found)), Tail::Resume(point));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c28_an_owners_marker_that_is_said_again_is_found() {
    let marker = || markers(PARTITION, "old", 1).remove(0);
    let found = flooded(&PARTITION.ownership(), marker).await;
    assert_eq!(found.headers.owner, Some("old".into()));
}
