//! How many records a second the embedded log takes from one owner with a full window in flight.
//!
//! `cargo run --release -p qqrelay-runtime --example log_rate [seconds] [bytes a record] [file]`

use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use qqrelay_proto::event::EventKind;
use qqrelay_proto::id::{Scene, Scope, ShardId};
use qqrelay_proto::record::{EventHeaders, Headers, Record};
use qqrelay_proto::subject::{Partition, Source, SourceSubject};
use qqrelay_runtime::bus::embedded::{EmbeddedBus, Limits};
use qqrelay_runtime::bus::{Answer, Bus, Layout};
use qqrelay_runtime::store::{Clock, Store};

const LAYOUT: Layout = Layout { partitions: 1, window: 256 };
const PARTITION: Partition = Partition::Chain(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(Ok(5), |text| text.parse())?;
    let bytes = args.next().map_or(Ok(1024), |text| text.parse())?;
    let place = tempfile::TempDir::new()?;
    let path = args.next().map_or_else(|| place.path().join("rate.redb"), PathBuf::from);

    let opening = Instant::now();
    let bus = open(&path).await?;
    println!("opened in {:?}", opening.elapsed());
    let mut log = bus.log(PARTITION).await?;
    let mut number = log.extent().await?.last + 1;
    let (mut sent, mut waits) = (VecDeque::new(), Vec::new());
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    while Instant::now() < end || !sent.is_empty() {
        while Instant::now() < end && sent.len() < usize::from(LAYOUT.window) {
            log.publish(number, record(number, bytes));
            sent.push_back(Instant::now());
            number += 1;
        }
        match poll_fn(|cx| log.poll_answer(cx)).await {
            Answer::Stored { .. } => waits.extend(sent.pop_front().map(|sent| sent.elapsed())),
            other => anyhow::bail!("{other:?}"),
        }
    }
    let rate = waits.len() as f64 / begun.elapsed().as_secs_f64();
    waits.sort_unstable();
    println!("{} records of {bytes} bytes, {rate:.0} a second", waits.len());
    println!("acknowledged after {:?} (p50), {:?} (p99)", at(&waits, 50), at(&waits, 99));
    println!("the file has {} MiB", std::fs::metadata(&path)?.len() >> 20);
    bus.store().close().await;
    Ok(())
}

async fn open(path: &std::path::Path) -> anyhow::Result<EmbeddedBus> {
    let store = Store::open(path, LAYOUT, Clock::system())?;
    Ok(EmbeddedBus::open(store, Limits::default()).await?)
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

fn record(number: u64, bytes: usize) -> Record {
    let shard = ShardId::new(0, 1).expect("0 is below 1");
    let source = SourceSubject::new(PARTITION, &"102000001".into(), Source::Shard(shard));
    let scope = Scope::new(Scene::Group, format!("G{}", number % 50));
    let id = format!("102000001:m{number}").into();
    let event = EventHeaders { id, app: "102000001".into(), kind: EventKind::MessageCreate };
    let headers = Headers {
        session: Some("c4c40d8a-1e84-4b9a-9d0d-0d8a1e844b9a".into()),
        seq: Some(number),
        owner: Some("gateway-0".into()),
        event: Some(event),
        trace_parent: None,
    };
    let subject = source.event(&scope, EventKind::MessageCreate);
    Record { subject, headers, payload: vec![b'x'; bytes].into() }
}
