//! The marker batch: atomic, unconditional, of up to a thousand records.
//!
//! All records but the last go out without a reply: the server answers the last for all of them,
//! and a batch of which something is missing is stored in no part.

use std::future::poll_fn;

use async_nats::message::OutboundMessage;
use futures_util::SinkExt;
use qqrelay_proto::record::Record;
use serde::Deserialize;
use tokio::time::timeout;

use super::error::ApiError;
use super::log::PartitionLog;
use super::wire;
use crate::bus::{BATCH_MAX, Refusal};
use crate::random;

const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// Writes all records or none; gives the last one's number.
pub(super) async fn mark(log: &mut PartitionLog, records: Vec<Record>) -> Result<u64, Refusal> {
    if records.is_empty() || records.len() > BATCH_MAX {
        let text = format!("a batch has 1 to {BATCH_MAX} records, not {}", records.len());
        return Err(Refusal::Never(text));
    }
    let most = log.link().client.max_payload();
    let mut messages = compose(log, records, most)?;
    let commit = messages.pop().expect("a batch has a record");
    let patience = log.link().patience;
    timeout(patience, send(log, messages)).await.map_err(|_| {
        // The connection is down, and takes no more until it is back.
        Refusal::Unknown(format!("the batch found no room within {patience:?}"))
    })??;
    let OutboundMessage { subject, headers, payload, .. } = commit;
    let request = async_nats::Request::new().headers(headers.unwrap_or_default()).payload(payload);
    let answer = log.link().request(patience, subject.to_string(), request).await?;
    if let Some(error) = ApiError::read(&answer) {
        return Err(error.refusal());
    }
    #[derive(Deserialize)]
    struct Stored {
        seq: u64,
    }
    let stored: Stored =
        serde_json::from_slice(&answer).map_err(|error| Refusal::Unknown(error.to_string()))?;
    Ok(stored.seq)
}

async fn send(log: &mut PartitionLog, messages: Vec<OutboundMessage>) -> Result<(), Refusal> {
    // What waits for room was published before.
    poll_fn(|cx| log.poll_send(cx)).await;
    let mut client = log.link().client.clone();
    for message in messages {
        client.feed(message).await.map_err(|error| Refusal::Unknown(error.to_string()))?;
    }
    Ok(())
}

/// The batch's messages, none of which is larger than the server takes.
fn compose(
    log: &PartitionLog,
    records: Vec<Record>,
    most: usize,
) -> Result<Vec<OutboundMessage>, Refusal> {
    let (batch, count) = (random::id(), records.len());
    let message = |(record, sequence): (Record, usize)| {
        let mut message = log.message(record)?;
        let headers = message.headers.get_or_insert_default();
        wire::insert(headers, BATCH_ID, &batch);
        wire::insert(headers, BATCH_SEQUENCE, &sequence.to_string());
        if sequence == count {
            wire::insert(headers, BATCH_COMMIT, "1");
        }
        let size = wire::size(headers, message.payload.len());
        if size > most {
            let text = format!("record {sequence} has {size} bytes and the server takes {most}");
            return Err(Refusal::Never(text));
        }
        Ok(message)
    };
    records.into_iter().zip(1..).map(message).collect()
}
