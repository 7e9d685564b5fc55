//! Real servers for tests: each on a free port, with its own directory, stopped by its id.
//!
//! `tests/servers/install` puts the programs where they are looked for here.

pub mod nats;
pub mod proxy;
pub mod redis;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, interval};

/// Where `tests/servers/install` puts what it fetches; what is not there is looked for on PATH.
pub fn program(name: &str) -> PathBuf {
    let installed =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/servers")).join(name);
    if installed.exists() { installed } else { name.into() }
}

/// A port that was free a moment ago, for what must be known before a process says it.
///
/// # Errors
///
/// There is none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Looks until there is something to see. As [`crate::wait::within`], for what needs no waiting to
/// look, and whose future has to be `Send`.
async fn seen_within<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + limit;
    let mut turns = interval(Duration::from_millis(10));
    loop {
        turns.tick().await;
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if Instant::now() >= end {
            bail!("{what}: not within {limit:?}");
        }
    }
}
