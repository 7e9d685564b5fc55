//! Dead letters: what could not be handled, parked for people.

use async_nats::jetstream::message::StreamMessage;
use qqrelay_proto::record::{Record, decode, encode, header};
use qqrelay_proto::subject::{LETTER_SUBJECTS, LETTERS};

use super::link::Link;
use super::publish::publish_once;
use super::{stored, wire};
use crate::bus::{BusError, DeadLetter, StoredLetter};

/// Parks a record.
pub(super) async fn park(link: &Link, letter: DeadLetter) -> Result<(), BusError> {
    let DeadLetter { subject, reason, detail, position, record } = letter;
    let mut headers = wire::headers(&record.headers);
    for (name, value) in [
        (header::DLQ_REASON, encode(reason)),
        (header::DLQ_DETAIL, encode(&detail)),
        (header::DLQ_STREAM, position.stream.to_string().into()),
        (header::DLQ_SEQ, position.number.to_string().into()),
        (header::DLQ_SUBJECT, encode(&record.subject)),
    ] {
        wire::insert(&mut headers, name, &value);
    }
    // One letter for one cause: the same call again parks nothing more.
    let id = format!("{}:{}:{reason}", position.stream, position.number);
    publish_once(link, &subject, &id, headers, record.payload).await?;
    Ok(())
}

/// At most `limit` parked records from number `from` on.
pub(super) async fn list(
    link: &Link,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredLetter>, BusError> {
    let found = stored::messages(link, LETTERS, LETTER_SUBJECTS, from, limit).await?;
    Ok(found.into_iter().map(read).collect())
}

fn read(message: StreamMessage) -> StoredLetter {
    let text = |name| {
        let value = message.headers.get(name).map(|value| decode(value.as_str()));
        value.unwrap_or_default()
    };
    let (reason, detail, stream) =
        (text(header::DLQ_REASON), text(header::DLQ_DETAIL), text(header::DLQ_STREAM));
    let (number, subject) = (text(header::DLQ_SEQ), text(header::DLQ_SUBJECT));
    let stored = wire::stored(message);
    StoredLetter {
        number: stored.number,
        at_ms: stored.at_ms,
        reason,
        detail,
        stream,
        stream_number: number.parse().unwrap_or(0),
        subject: stored.record.subject,
        record: Record { subject, ..stored.record },
    }
}
