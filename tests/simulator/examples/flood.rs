//! How many events a second the flood makes: one platform, many sockets, readers that only count.
//!
//! `cargo run --release -p qqrelay-simulator --example flood -- [shards] [seconds] [events/s]`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use qqrelay_simulator::{AppConfig, Config, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const APP: &str = "102000001";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let shards = u32::try_from(arguments.next().unwrap_or(Ok(64))?)?;
    let seconds = arguments.next().unwrap_or(Ok(5))?;
    let rate = arguments.next().unwrap_or(Ok(0))?;
    let config = Config { apps: vec![AppConfig::new(APP, "secret")], ..Config::default() };
    let simulator = Simulator::start(config.flooded(rate)).await?;
    let address = simulator.base_url().replace("http://", "");
    let token = token(&simulator.base_url()).await?;
    let bytes = Arc::new(AtomicU64::new(0));
    for index in 0..shards {
        let stream = connect(&address, &token, [index, shards]).await?;
        tokio::spawn(count(stream, Arc::clone(&bytes)));
    }
    let before = simulator.platform().counters().flooded;
    let bytes_before = bytes.load(Ordering::Relaxed);
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let events = simulator.platform().counters().flooded - before;
    let mebibytes = (bytes.load(Ordering::Relaxed) - bytes_before) >> 20;
    let per_second = events * 1_000 / u64::try_from(begun.elapsed().as_millis())?.max(1);
    println!("{shards} shards: {per_second} events/s, {} MiB/s", mebibytes / seconds.max(1));
    simulator.shutdown().await;
    Ok(())
}

async fn token(base: &str) -> anyhow::Result<String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let body = json!({"appId": APP, "clientSecret": "secret"});
    let call = http.post(format!("{base}/app/getAppAccessToken")).json(&body);
    let answer: Value = call.send().await?.json().await?;
    Ok(answer["access_token"].as_str().unwrap_or_default().to_owned())
}

/// Upgrades and identifies by hand, so that nothing but the platform is measured.
async fn connect(address: &str, token: &str, shard: [u32; 2]) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let upgrade = format!(
        "GET /websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await?;
    let d = json!({"token": format!("QQBot {token}"), "intents": 1_174_409_219, "shard": shard});
    let identify = json!({"op": 2, "d": d}).to_string();
    let length = u16::try_from(identify.len())?;
    // A final text frame whose mask is zero, so that the payload goes out as it is.
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(identify.as_bytes());
    stream.write_all(&frame).await?;
    Ok(stream)
}

async fn count(mut stream: TcpStream, bytes: Arc<AtomicU64>) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}
