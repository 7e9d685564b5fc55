//! Commands: stored once per id; the stream files them under their lane.

use async_nats::HeaderMap;
use bytes::Bytes;
use qqrelay_proto::record::{self, RECORD_BYTES_MAX};
use qqrelay_proto::subject::CommandSubject;
use tokio::time::{Duration, Instant, sleep};

use super::error::{AskError, code};
use super::link::Link;
use super::publish::publish;
use super::wire;
use crate::bus::{Accepted, BusError};

/// Of several who publish, all but the first are told so; its outcome is known a moment later.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// The pause before asking again while another publisher is at the same id.
const PAUSE: Duration = Duration::from_millis(5);

/// Stores a command unless its id is known.
pub(super) async fn store(
    link: &Link,
    id: &str,
    subject: &str,
    payload: Bytes,
) -> Result<Accepted, BusError> {
    if CommandSubject::outside(subject).is_none() {
        return Err(BusError::Refused(format!("{subject:?} is no subject of a command")));
    }
    let size = subject.len() + id.len() + payload.len();
    if size > RECORD_BYTES_MAX {
        return Err(BusError::Refused(format!(
            "the command has {size} bytes and may have {RECORD_BYTES_MAX}"
        )));
    }
    let mut headers = HeaderMap::new();
    wire::insert(&mut headers, MESSAGE_ID, &record::encode(id));
    let end = Instant::now() + link.patience;
    loop {
        match publish(link, subject, headers.clone(), payload.clone()).await {
            Ok(taken) if taken.duplicate => return Ok(Accepted::Known),
            Ok(_) => return Ok(Accepted::New),
            Err(AskError::Api(error))
                if error.err_code == code::DUPLICATE_UNDERWAY && Instant::now() < end =>
            {
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
