//! Records as NATS messages, and back.

use std::str::FromStr;

use async_nats::header::HeaderName;
use async_nats::jetstream::message::StreamMessage;
use async_nats::{HeaderMap, HeaderValue};
use qqrelay_proto::record::{Headers, Record, Stored};

/// A record's headers. Their values are percent-encoded, so none is refused.
pub(super) fn headers(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers.pairs() {
        map.insert(HeaderName::from_static(name), value.text());
    }
    map
}

/// Adds a header whose value has no line break in it.
pub(super) fn insert(map: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("the value has no line break");
    map.insert(HeaderName::from_static(name), value);
}

/// Reads a record's headers back.
pub(super) fn read_headers(map: Option<&HeaderMap>) -> Headers {
    let pairs = map.into_iter().flat_map(HeaderMap::iter);
    Headers::read(
        pairs.filter_map(|(name, values)| Some((name.as_ref(), values.first()?.as_str()))),
    )
}

/// A message as the stream's API gives it.
pub(super) fn stored(message: StreamMessage) -> Stored {
    Stored {
        number: message.sequence,
        at_ms: u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
        record: Record {
            subject: message.subject.to_string(),
            headers: read_headers(Some(&message.headers)),
            payload: message.payload,
        },
    }
}

/// Bytes that the server counts against the largest message it takes.
pub(super) fn size(headers: &HeaderMap, payload: usize) -> usize {
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| name.len() + value.as_str().len() + 4)
    });
    12 + lines.sum::<usize>() + payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use qqrelay_proto::event::EventKind;
    use qqrelay_proto::record::EventHeaders;

    #[test]
    fn headers_read_back() {
        let event = EventHeaders {
            id: "102:a\r\nb 群".into(),
            app: "102".into(),
            kind: EventKind::Unknown,
        };
        let full = Headers {
            session: Some("s-1".into()),
            seq: Some(7),
            owner: Some("gw a".into()),
            event: Some(event),
            trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        };
        for expected in [full, Headers::default()] {
            assert_eq!(read_headers(Some(&headers(&expected))), expected);
        }
        assert_eq!(read_headers(None), Headers::default());
    }
}
