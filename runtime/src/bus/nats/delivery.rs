//! What the reply subject of a consumer's message says: `$JS.ACK.…`.

use async_nats::Subject;

/// Acknowledges a message.
pub(super) const ACK: &[u8] = b"+ACK";

/// A message's place in a consumer's deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) stream: &'a str,
    pub(super) consumer: &'a str,
    /// How often the consumer has delivered it, from 1.
    pub(super) delivered: u64,
    /// Its number in the stream.
    pub(super) number: u64,
    /// The number of this delivery, from 1, without holes.
    pub(super) delivery: u64,
    /// When the stream took it.
    pub(super) at_ms: u64,
    /// How many the consumer has still to deliver.
    pub(super) pending: u64,
}

impl<'a> Place<'a> {
    /// Reads it; `None` of what is no message of a consumer.
    ///
    /// `$JS.ACK.<stream>.<consumer>.<delivered>.<number>.<delivery>.<nanoseconds>.<pending>`; later
    /// servers put domain and account before the stream, and may put more behind.
    pub(super) fn read(reply: &'a Subject) -> Option<Self> {
        let tokens: Vec<&str> = reply.as_str().strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = match tokens.len() {
            7 => &tokens[..],
            9.. => &tokens[2..9],
            _ => return None,
        };
        let [stream, consumer, delivered, number, delivery, nanos, pending] = *tokens else {
            return None;
        };
        Some(Self {
            stream,
            consumer,
            delivered: delivered.parse().ok()?,
            number: number.parse().ok()?,
            delivery: delivery.parse().ok()?,
            at_ms: nanos.parse::<u64>().ok()? / 1_000_000,
            pending: pending.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let expected = Place {
            stream: "QQ_EV_00",
            consumer: "7-12",
            delivered: 1,
            number: 41,
            delivery: 9,
            at_ms: 1_790_000_000_123,
            pending: 3,
        };
        let check = |reply: &str, expected: Option<Place<'_>>| {
            assert_eq!(Place::read(&reply.into()), expected, "{reply}");
        };
        let tail = "QQ_EV_00.7-12.1.41.9.1790000000123456789.3";
        check(&format!("$JS.ACK.{tail}"), Some(expected.clone()));
        check(&format!("$JS.ACK._.AB12.{tail}"), Some(expected.clone()));
        check(&format!("$JS.ACK.hub.AB12.{tail}.x7"), Some(expected));
        check("$JS.ACK.QQ_EV_00.7-12.1.41", None);
        check("_INBOX.abc.1", None);
    }
}
