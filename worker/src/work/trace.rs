//! The spans of work: one for each record, continuing the trace that its sender began.

use qqrelay_runtime::bus::WorkStream;
use qqrelay_runtime::telemetry::{TraceParent, names};
use tracing::{Span, info_span};

use super::Assignment;

/// The span of handling an event.
pub(super) fn event(assignment: &Assignment) -> Span {
    let id = assignment.identity().map(|identity| &*identity.id);
    let partition = match assignment.position.stream {
        WorkStream::Events(partition) => partition.to_string(),
        WorkStream::Commands => String::new(),
    };
    let span = info_span!(
        "process qq.v1.ev",
        app = %assignment.place.app,
        scene = %assignment.place.scene,
        scope = %assignment.place.scope,
        kind = assignment.kind(),
        { names::OPERATION_NAME } = "process",
        { names::OPERATION_TYPE } = "process",
        { names::DESTINATION_TEMPLATE } = "qq.v1.ev",
        { names::DESTINATION_PARTITION } = partition,
        { names::CONSUMER_GROUP } = %assignment.place.lane(),
        { names::MESSAGE_ID } = id,
        { names::MESSAGE_BODY_SIZE } = assignment.stored.record.payload.len(),
    );
    adopt(&span, assignment.stored.record.headers.trace_parent.as_deref());
    span
}

/// The span of running a command from outside; `parent` is what the command itself names.
pub(super) fn command(assignment: &Assignment, id: &str, parent: Option<&str>) -> Span {
    let span = info_span!(
        "process qq.v1.cmd",
        app = %assignment.place.app,
        scene = %assignment.place.scene,
        scope = %assignment.place.scope,
        kind = assignment.kind(),
        { names::OPERATION_NAME } = "process",
        { names::OPERATION_TYPE } = "process",
        { names::DESTINATION_TEMPLATE } = "qq.v1.cmd",
        { names::CONSUMER_GROUP } = %assignment.place.lane(),
        { names::MESSAGE_ID } = id,
        { names::MESSAGE_BODY_SIZE } = assignment.stored.record.payload.len(),
    );
    adopt(&span, parent.or(assignment.stored.record.headers.trace_parent.as_deref()));
    span
}

/// What to hand on from here: the current span, or, while no traces are exported, what the record
/// came with.
pub(super) fn onward(assignment: &Assignment) -> Option<String> {
    let here = TraceParent::of(&Span::current()).map(|place| place.to_string());
    here.or_else(|| assignment.stored.record.headers.trace_parent.as_deref().map(Into::into))
}

fn adopt(span: &Span, parent: Option<&str>) {
    if let Some(Ok(parent)) = parent.map(str::parse::<TraceParent>) {
        parent.adopt(span);
    }
}
