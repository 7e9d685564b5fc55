//! A minute of chaos on one nats-server and on three. `--bin chaos` goes on for longer.

use std::time::Duration;

use qqrelay_tests::chaos::Chaos;
use qqrelay_tests::course::length;

async fn chaos(seed: u64, replicas: u8) {
    let lasts = Duration::from_secs(45) * length();
    let outcome = Chaos { seed, lasts, replicas }.run().await;
    println!("{:?}", outcome.unwrap_or_else(|error| panic!("seed {seed}: {error:#}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_on_one_server_every_promise_is_kept() {
    chaos(1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_on_three_servers_every_promise_is_kept() {
    chaos(2, 3).await;
}
