//! The trace context that travels with an event: `traceparent`, as W3C writes it.

use std::fmt;
use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// A span's place in its trace: `00-<trace id>-<span id>-<flags>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

/// A text that is no trace context; what follows begins a trace of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a trace context")]
pub struct TraceParentError;

impl TraceParent {
    /// Where a span stands; `None` while no traces are exported.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let span = context.span();
        let place = span.span_context();
        place.is_valid().then(|| Self {
            trace: place.trace_id(),
            span: place.span_id(),
            flags: place.trace_flags(),
        })
    }

    /// Makes a span the child of this one. Call it before the span is entered or looked at: a span
    /// that has begun keeps its parent.
    pub fn adopt(&self, span: &Span) {
        // What refuses is a process without traces, and a span that nobody records.
        let _ = span.set_parent(Context::new().with_remote_span_context(self.place()));
    }

    /// Notes in a span that this one led to it, where there are several and none is the parent.
    pub fn link(&self, span: &Span) {
        span.add_link(self.place());
    }

    fn place(&self) -> SpanContext {
        SpanContext::new(self.trace, self.span, self.flags, true, TraceState::NONE)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags.to_u8() & 1)
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Reads any version but `ff`, as W3C asks for: later ones may have more behind the flags.
    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let mut parts = text.split('-');
        let mut part = |length: usize| {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let hex = |part: &&str| part.len() == length && part.bytes().all(digit);
            parts.next().filter(hex).ok_or(TraceParentError)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let more = parts.next().is_some();
        if version == "ff" || version == "00" && more {
            return Err(TraceParentError);
        }
        let flags = u8::from_str_radix(flags, 16).map_err(|_| TraceParentError)?;
        let trace = TraceId::from_hex(trace).map_err(|_| TraceParentError)?;
        let span = SpanId::from_hex(span).map_err(|_| TraceParentError)?;
        let flags = TraceFlags::new(flags & 1);
        let parent = Self { trace, span, flags };
        parent.place().is_valid().then_some(parent).ok_or(TraceParentError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt;

    /// Keeps what is exported.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    impl Kept {
        fn find(&self, name: &str) -> SpanData {
            let spans = self.0.lock().unwrap();
            spans.iter().find(|span| span.name == name).expect("it was exported").clone()
        }
    }

    fn traced(run: impl FnOnce()) -> Kept {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let subscriber = tracing_subscriber::registry().with(super::super::traces(&provider));
        tracing::subscriber::with_default(subscriber, run);
        kept
    }

    /// Event, handler and reply are one trace although a record's header is all that joins them.
    #[test]
    fn a_span_continues_the_trace_that_its_header_names() {
        let kept = traced(|| {
            let event = info_span!("event");
            let header = TraceParent::of(&event).expect("traces are on").to_string();
            drop(event); // the gateway is done with it before the worker begins

            let handler = info_span!("handler");
            header.parse::<TraceParent>().unwrap().adopt(&handler);
            let _entered = handler.enter();
            drop(info_span!("reply"));
        });
        let [event, handler, reply] = ["event", "handler", "reply"].map(|name| kept.find(name));
        assert_eq!(handler.span_context.trace_id(), event.span_context.trace_id());
        assert_eq!(handler.parent_span_id, event.span_context.span_id());
        assert_eq!(reply.span_context.trace_id(), event.span_context.trace_id());
        assert_eq!(reply.parent_span_id, handler.span_context.span_id());
    }

    #[test]
    fn spans_of_a_batch_are_linked_to_it() {
        let kept = traced(|| {
            let event = info_span!("event");
            let batch = info_span!("batch");
            TraceParent::of(&event).unwrap().link(&batch);
        });
        let (event, batch) = (kept.find("event"), kept.find("batch"));
        assert_ne!(batch.span_context.trace_id(), event.span_context.trace_id());
        assert_eq!(batch.links[0].span_context.span_id(), event.span_context.span_id());
    }

    #[test]
    fn other_crates_and_details_are_not_traced() {
        let kept = traced(|| {
            drop(info_span!(target: "hyper::client", "theirs"));
            drop(tracing::trace_span!("detail"));
            drop(tracing::debug_span!("ours while there are traces"));
            drop(info_span!("ours"));
        });
        let names: Vec<_> = kept.0.lock().unwrap().iter().map(|span| span.name.clone()).collect();
        assert_eq!(names, ["ours while there are traces", "ours"]);
    }

    #[test]
    fn without_traces_there_is_nothing_to_hand_on() {
        assert_eq!(TraceParent::of(&info_span!("event")), None);
        let parent = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
        parent.parse::<TraceParent>().unwrap().adopt(&info_span!("handler")); // and no harm
    }

    #[test]
    fn a_header_is_read_as_w3c_writes_it() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let read = |text: &str| text.parse::<TraceParent>().map(|parent| parent.to_string());
        let whole = format!("00-{trace}-{span}-01");
        assert_eq!(read(&whole), Ok(whole.clone()));
        assert_eq!(read(&format!("00-{trace}-{span}-ff")), Ok(whole.clone()), "one flag is ours");
        assert_eq!(read(&format!("01-{trace}-{span}-01-more")), Ok(whole.clone()));
        for bad in [
            String::new(),
            "00".into(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{trace}-{span}"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}-{span}x-01"),
            whole.replace('-', "–"),
        ] {
            assert_eq!(read(&bad), Err(TraceParentError), "{bad}");
        }
    }
}
