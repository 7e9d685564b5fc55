//! `[admin]` and `[telemetry]`: what a process shows of itself.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::section::section;

section! {
    /// The admin port: metrics, probes, a status page.
    pub struct Admin {
        /// Where it listens. Beyond loopback it stays read-only. Port 0 takes a free one.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9600)),
    }
}

section! {
    /// Logs and traces.
    pub struct Telemetry {
        /// What is logged: a level, or directives such as "info,qqrelay_gateway=debug".
        log: String = "info".into(),
        /// How: "json", "pretty", or "auto", which is pretty on a terminal and JSON elsewhere.
        format: LogFormat = LogFormat::Auto,
        /// Where traces go by OTLP over gRPC. Without it, and without OTEL_EXPORTER_OTLP_ENDPOINT
        /// in the environment, none are sent.
        #[schemars(example = "http://127.0.0.1:4317")]
        otlp_endpoint: Option<String> = None,
        /// Share of events that are traced, 0.0 to 1.0, unless the trace was begun elsewhere.
        sample_ratio: f64 = 1.0,
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}
