//! Commands: stored once per id; the stream files them under their lane.

use async_nats::HeaderMap;
use bytes::Bytes;
use qqrelay_proto::record::{self, RECORD_BYTES_MAX};
use qqrelay_proto::subject::CommandSubject;

use super::link::Link;
use super::publish::publish_once;
use crate::bus::{Accepted, BusError};

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
    let id = record::encode(id);
    let taken = publish_once(link, subject, &id, HeaderMap::new(), payload).await?;
    Ok(if taken.duplicate { Accepted::Known } else { Accepted::New })
}
