//! The trace of an event begins where it comes in, and travels in its record's headers.
//!
//! The span is of level `debug`, so that a process which exports no traces does not make any.

use qqrelay_proto::record::Record;
use qqrelay_runtime::telemetry::{TraceParent, names};
use tracing::{Span, debug_span};

/// Begins the span of an event's publishing, and writes its place into the record. It is nobody's
/// child: a shard's own span lasts for days.
pub(super) fn begin(record: &mut Record) -> Span {
    let Some(event) = &record.headers.event else { return Span::none() };
    let span = debug_span!(
        parent: None,
        "publish qq.v1.ev",
        { names::OPERATION_NAME } = "publish",
        { names::OPERATION_TYPE } = "send",
        { names::DESTINATION_TEMPLATE } = "qq.v1.ev",
        { names::MESSAGE_ID } = %event.id,
        { names::MESSAGE_BODY_SIZE } = record.payload.len(),
    );
    record.headers.trace_parent =
        TraceParent::of(&span).map(|place| place.to_string().into_boxed_str());
    span
}
