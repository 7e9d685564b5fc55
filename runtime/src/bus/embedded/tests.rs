use super::*;

use std::future::poll_fn;

use qqrelay_proto::record::{Headers, Record};
use tempfile::TempDir;

use crate::bus::Answer;
use crate::store::Clock;

const LAYOUT: Layout = Layout { partitions: 2, window: 256 };

#[tokio::test]
async fn smoke() {
    let place = TempDir::new().unwrap();
    let store = Store::open(&place.path().join("s.redb"), LAYOUT, Clock::system()).unwrap();
    let bus = EmbeddedBus::open(store, Limits::default()).await.unwrap();
    let mut log = bus.log(Partition::Chain(1)).await.unwrap();
    let record = |n: u64| Record {
        subject: "qq.v1.ev.01.102.4-0.e.7.group.A1.message_create".into(),
        headers: Headers { seq: Some(n), ..Headers::default() },
        payload: Bytes::from_static(b"{}"),
    };
    for n in 1..=100 {
        log.publish(n, record(n));
    }
    for n in 1..=100 {
        assert_eq!(poll_fn(|cx| log.poll_answer(cx)).await, Answer::Stored { number: n });
    }
    let mut feed = bus.lane(Lane::new(7).unwrap()).await.unwrap();
    for n in 1..=100 {
        let delivery = feed.next().await.unwrap();
        assert_eq!(delivery.position.number, n);
        feed.ack(delivery.position);
    }
}
