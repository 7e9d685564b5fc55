//! Logs and traces of a process.
//!
//! Logs are for people first and for search second: a sentence, then fields. The rules a newcomer
//! would break: no secret, no token and no text of a message is ever a field (what is called so
//! shows as "hidden"), and other people's crates, which log frames and headers, are never heard
//! below `info`, whatever the filter says.

mod line;
pub mod names;
mod trace;

pub use trace::TraceParent;

use std::io::{self, IsTerminal};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

use self::line::{Form, Lines};
use crate::config::{self, LogFormat};

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// For processes: what collects logs reads it.
    Stdout,
    /// For commands whose output is something else.
    Stderr,
}

/// Who is speaking, in traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// What the process is: `gateway`, `worker`, `standalone`.
    pub role: &'static str,
    /// Which one, unique for each start.
    pub instance: String,
}

/// Logs and traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not written as one, which the configuration's check excludes.
    #[error("log filter cannot be read")]
    Filter(#[from] ParseError),
    /// The exporter of traces refuses its settings.
    #[error("traces cannot be exported")]
    Exporter(#[from] ExporterBuildError),
    /// Another is set up already.
    #[error("logs are set up twice")]
    Twice(#[from] TryInitError),
}

/// What was set up; end it with [`Telemetry::shutdown`], or the last spans are lost.
#[derive(Debug)]
#[must_use]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Sets up logs and, where an endpoint is given, traces for the whole process.
///
/// Must run inside a tokio runtime: the exporter of traces lives in it. `OTEL_…` variables work as
/// documented by OpenTelemetry wherever the configuration says nothing.
///
/// # Errors
///
/// Nothing is set up.
pub fn init(
    settings: &config::Telemetry,
    speaker: &Speaker,
    stream: Stream,
) -> Result<Telemetry, TelemetryError> {
    let traced = |endpoint| exporter(endpoint, settings, speaker);
    let provider = endpoint(settings).map(traced).transpose()?;
    let filter = EnvFilter::builder().parse(&settings.log)?;
    let form = form(settings.format, stream);
    let logs = match stream {
        Stream::Stdout => Lines::new(form, io::stdout).boxed(),
        Stream::Stderr => Lines::new(form, io::stderr).boxed(),
    };
    let subscriber = tracing_subscriber::registry()
        .with(provider.as_ref().map(traces))
        .with(logs.with_filter(filter.and(heard())));
    subscriber.try_init()?;
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends what is left of the traces, for `limit` at most; says whether all of it went.
    pub async fn shutdown(self, limit: Duration) -> bool {
        let Some(provider) = self.provider else { return true };
        // It blocks, and so must not hold a thread that others need.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit));
        matches!(tokio::time::timeout(limit, ended).await, Ok(Ok(Ok(()))))
    }
}

/// A filter that says how far down it reaches: without that, every line that some crate would say at
/// its finest level is made, only to be thrown away.
fn heard() -> FilterFn {
    filter_fn(is_heard as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::TRACE)
}

/// Our own crates as the filter says; all others from `info` up.
fn is_heard(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || *metadata.level() <= Level::INFO
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("qqrelay")
}

fn form(format: LogFormat, stream: Stream) -> Form {
    let terminal = match stream {
        Stream::Stdout => io::stdout().is_terminal(),
        Stream::Stderr => io::stderr().is_terminal(),
    };
    match format {
        LogFormat::Json => Form::Json,
        LogFormat::Auto if !terminal => Form::Json,
        LogFormat::Auto | LogFormat::Pretty => {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            Form::Pretty { color: terminal && !no_color }
        }
    }
}

/// OpenTelemetry's own variables for the endpoint, the one that counts first.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

fn endpoint(settings: &config::Telemetry) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    settings.otlp_endpoint.clone().or_else(|| ENDPOINTS.into_iter().find_map(variable))
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn exporter(
    endpoint: String,
    settings: &config::Telemetry,
    speaker: &Speaker,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let encrypted = !endpoint.starts_with("http://");
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    if encrypted {
        // Left alone it would trust nobody.
        exporter = exporter.with_tls_config(ClientTlsConfig::new().with_native_roots());
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter.build()?)
        .with_resource(resource(speaker));
    let provider = if is_set("OTEL_TRACES_SAMPLER") {
        provider
    } else {
        let ratio = Sampler::TraceIdRatioBased(settings.sample_ratio);
        provider.with_sampler(Sampler::ParentBased(Box::new(ratio)))
    };
    Ok(provider.build())
}

fn resource(speaker: &Speaker) -> Resource {
    let resource = Resource::builder().with_attributes([
        KeyValue::new(names::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
        KeyValue::new(names::SERVICE_INSTANCE_ID, speaker.instance.clone()),
        KeyValue::new(names::ROLE, speaker.role),
    ]);
    let resource = if is_set("OTEL_SERVICE_NAME") {
        resource
    } else {
        resource.with_service_name(names::SERVICE)
    };
    resource.build()
}

/// Makes spans of ours into traces. What is logged at which level has no say in it: a span of level
/// `debug` is one that is worth its cost only where there are traces.
fn traces<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let tracer = provider.tracer(names::SERVICE);
    let traced = |metadata: &Metadata<'_>| {
        let most = if metadata.is_span() { Level::DEBUG } else { Level::INFO };
        is_ours(metadata) && *metadata.level() <= most
    };
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_filter(filter_fn(traced).with_max_level_hint(LevelFilter::DEBUG))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::Tracer;

    /// Nothing listens there: port 1 is not ours to bind, so nobody else's test does either.
    const GONE: &str = "http://127.0.0.1:1";

    #[tokio::test]
    async fn a_collector_that_is_gone_does_not_hold_a_process_that_ends() {
        let speaker = Speaker { role: "test", instance: "1".into() };
        let settings = config::Telemetry::default();
        let provider = exporter(GONE.into(), &settings, &speaker).unwrap();
        drop(provider.tracer("test").start("span"));
        let telemetry = Telemetry { provider: Some(provider) };
        assert!(!telemetry.shutdown(Duration::from_millis(300)).await);
        assert!(Telemetry { provider: None }.shutdown(Duration::ZERO).await);
    }

    #[test]
    fn a_file_of_logs_gets_json_and_an_order_is_obeyed() {
        // A test's streams may or may not be a terminal; an order does not ask.
        assert_eq!(form(LogFormat::Json, Stream::Stderr), Form::Json);
        assert!(matches!(form(LogFormat::Pretty, Stream::Stdout), Form::Pretty { .. }));
    }
}
