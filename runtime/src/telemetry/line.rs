//! One log line of an event: what happened, then the fields of the event and of the spans around it.
//!
//! JSON has `ts`, `level`, `target`, `msg` first and `trace_id`, `span_id` last; the form for people
//! has the same in the same order.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::trace::TraceContextExt;
use serde_json::Value as Json;
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Fields that never show, should a call site ever have one: credentials, and what users wrote.
const HIDDEN: &[&str] = &[
    "access_token",
    "authorization",
    "body",
    "client_secret",
    "content",
    "frame",
    "raw",
    "secret",
    "text",
    "token",
];

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object.
    Json,
    /// For people.
    Pretty {
        /// With colours, on a terminal.
        color: bool,
    },
}

/// Writes a line for every event that reaches it.
pub(super) struct Lines<W> {
    form: Form,
    writer: W,
    /// Where trace ids are looked up. A weak one: the strong one holds this layer.
    dispatch: OnceLock<WeakDispatch>,
}

impl<W> Lines<W> {
    pub(super) fn new(form: Form, writer: W) -> Self {
        Self { form, writer, dispatch: OnceLock::new() }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        let _ = self.dispatch.set(dispatch.downgrade()); // a layer belongs to one subscriber
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                outer.0.iter().for_each(|(name, value)| fields.put(name, value.clone()));
            }
        }
        let mut own = Fields::default();
        event.record(&mut own);
        let message = own.take("message");
        // What came through the `log` crate says there where it is from.
        let target = own.take("log.target").or_else(|| own.take("log.module_path"));
        own.0.retain(|(name, _)| !name.starts_with("log."));
        own.0.into_iter().for_each(|(name, value)| fields.put(name, value));
        let current = context.event_span(event).map(|span| span.id());
        let line = Line {
            at: Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX),
            level: *event.metadata().level(),
            target: target
                .as_ref()
                .and_then(Json::as_str)
                .unwrap_or_else(|| event.metadata().target()),
            message: message.as_ref().and_then(Json::as_str).unwrap_or_default(),
            fields,
            trace: current.and_then(|id| self.trace(&id)),
        };
        let text = match self.form {
            Form::Json => line.json(),
            Form::Pretty { color } => line.pretty(color),
        };
        // In one piece, so that lines of two threads do not mix. Who reads the log may be gone.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(text.as_bytes());
    }
}

impl<W> Lines<W> {
    fn trace(&self, span: &Id) -> Option<[String; 2]> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        let context = get_otel_context(span, &dispatch)?;
        let span = context.span();
        let place = span.span_context();
        place.is_valid().then(|| [place.trace_id().to_string(), place.span_id().to_string()])
    }
}

/// Fields in order; a later one of the same name takes the place of the earlier.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Json)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: Json) {
        let value = if HIDDEN.contains(&name) { Json::from("hidden") } else { value };
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Json> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(place).1)
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    /// An error is logged once, where it is handled, with all that led to it.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}"); // writing to a String cannot fail
            cause = error.source();
        }
        self.put(field.name(), text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }
}

struct Line<'a> {
    at: Timestamp,
    level: Level,
    target: &'a str,
    message: &'a str,
    fields: Fields,
    trace: Option<[String; 2]>,
}

impl Line<'_> {
    fn json(&self) -> String {
        let mut text = String::from("{");
        let mut member = |name: &str, value: &Json| {
            let comma = if text.len() == 1 { "" } else { "," };
            let _ = write!(text, "{comma}{}:{value}", Json::from(name)); // a String takes all
        };
        member("ts", &format!("{:.3}", self.at).into());
        member("level", &self.level.as_str().to_ascii_lowercase().into());
        member("target", &self.target.into());
        member("msg", &self.message.into());
        self.fields.0.iter().for_each(|(name, value)| member(name, value));
        if let Some([trace, span]) = &self.trace {
            member("trace_id", &trace.as_str().into());
            member("span_id", &span.as_str().into());
        }
        text.push_str("}\n");
        text
    }

    fn pretty(&self, color: bool) -> String {
        let paint = |code: &'static str| if color { code } else { "" };
        let (dim, plain) = (paint("\x1b[2m"), paint("\x1b[0m"));
        let hue = paint(match self.level {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            _ => "\x1b[34m",
        });
        let time = self.at.to_string();
        let time = time.get(11..19).unwrap_or(&time);
        let target = self.target.strip_prefix("qqrelay_").unwrap_or(self.target);
        let (level, message) = (self.level.as_str(), printable(self.message));
        let mut text =
            format!("{dim}{time}{plain} {hue}{level:<5}{plain} {message} {dim}{target}{plain}");
        for (name, value) in &self.fields.0 {
            let value = match value {
                Json::String(value) if !value.is_empty() && !value.contains([' ', '"']) => {
                    printable(value)
                }
                value => value.to_string(),
            };
            let _ = write!(text, " {dim}{name}={plain}{value}"); // a String takes all
        }
        text.push('\n');
        text
    }
}

/// The text without what could move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
