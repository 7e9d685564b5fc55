//! What became of a message that the platform looked at before showing it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment::{Moment, read_time};
use super::place::Ids;
use super::{Event, Facts, Text};
use crate::lenient::{Raw, members};

/// The end of an audit; the event's kind says which end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit<'a> {
    /// The audit's id, as the answer to the sending call named it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'a>>,
    /// The message, once it is one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Text<'a>>,
    /// When the message was sent, RFC 3339.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Text<'a>>,
    /// Its place among the messages of its channel, digits.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub seq_in_channel: Option<Text<'a>>,
}

members!(Members { audit_id, message_id, audit_time, create_time, seq_in_channel });

/// Reads MESSAGE_AUDIT_PASS and MESSAGE_AUDIT_REJECT.
pub(super) fn read<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = Members::read(d);
    let id = Text::read(read.audit_id);
    event.audit = Some(Box::new(Audit {
        id: id.clone(),
        message_id: Text::read(read.message_id),
        created_at: read_time(read.create_time),
        seq_in_channel: Text::read(read.seq_in_channel),
    }));
    Facts { ids: Ids::read(d), own_id: id, time: Moment::read(read.audit_time) }
}
