//! What is known of commands: attempts and outcomes, in the order in which they were written.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use qqrelay_proto::record::RECORD_BYTES_MAX;
use qqrelay_proto::subject::RESULTS;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::code;
use super::follow::{Follow, From};
use super::link::Link;
use super::publish::{publish, publish_once};
use super::{stored, wire};
use crate::bus::{Appended, BusError, Only};

/// The condition that a subject has nothing yet.
const EXPECTED_LAST_OF_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence";

/// More entries has no command: attempts are few, and their number is bounded.
const ENTRIES_MAX: usize = 1000;

/// The pause after a stream could not be followed.
const PAUSE: Duration = Duration::from_millis(100);

/// Appends an entry to a command's subject.
pub(super) async fn append(
    link: &Link,
    subject: &str,
    payload: Bytes,
    only: Only,
) -> Result<Appended, BusError> {
    let size = subject.len() + payload.len();
    if size > RECORD_BYTES_MAX {
        return Err(BusError::Refused(format!(
            "the result has {size} bytes and may have {RECORD_BYTES_MAX}"
        )));
    }
    let mut headers = HeaderMap::new();
    if only == Only::Always {
        publish_once(link, subject, &entry_id(subject, &payload), headers, payload).await?;
        return Ok(Appended::Stored);
    }
    wire::insert(&mut headers, EXPECTED_LAST_OF_SUBJECT, "0");
    match publish(link, subject, headers, payload).await {
        Ok(_) => Ok(Appended::Stored),
        Err(error) if code::WRONG_LAST.contains(&error.code()) => Ok(Appended::Taken),
        Err(error) => Err(error.into()),
    }
}

/// What makes an entry the same entry: its subject, and all it says.
fn entry_id(subject: &str, payload: &Bytes) -> String {
    let mut digest = Sha256::new();
    digest.update(subject);
    digest.update([0]);
    digest.update(payload);
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All entries of a command's subject, oldest first.
pub(super) async fn all(link: &Link, subject: &str) -> Result<Vec<Bytes>, BusError> {
    let found = stored::messages(link, RESULTS, subject, 1, ENTRIES_MAX).await?;
    Ok(found.into_iter().map(|message| message.payload).collect())
}

/// Waits until there are more than `seen` entries, or the time is up.
pub(super) async fn wait(
    link: &Link,
    subject: &str,
    seen: usize,
    limit: Duration,
) -> Result<Vec<Bytes>, BusError> {
    let deadline = Instant::now() + limit;
    loop {
        // The leader is asked for the truth, whatever ended the waiting.
        let entries = all(link, subject).await?;
        if entries.len() > seen || Instant::now() >= deadline {
            return Ok(entries);
        }
        let followed = timeout_at(deadline, async {
            // From the oldest on, so that what was appended since the answer is seen, too.
            let mut follow = Follow::open(link, RESULTS, subject, From::Oldest).await?;
            for _ in 0..=seen {
                follow.next(link).await?;
            }
            Ok::<(), BusError>(())
        });
        if let Ok(Err(_)) = followed.await {
            sleep_until(deadline.min(Instant::now() + PAUSE)).await;
        }
    }
}
