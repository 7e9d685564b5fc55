use std::io;
use std::sync::{Arc, Mutex};

use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::json;
use tracing::{Subscriber, debug, error, info, info_span, trace, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::telemetry::{heard, traces};

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `run` logs under a filter.
fn lines(form: Form, filter: &str, run: impl FnOnce()) -> Vec<String> {
    let kept = Kept::default();
    let writer = kept.clone();
    let provider = SdkTracerProvider::builder().build();
    let filter = EnvFilter::builder().parse(filter).unwrap().and(heard());
    let logs = Lines::new(form, move || writer.clone()).with_filter(filter);
    let subscriber = tracing_subscriber::registry().with(traces(&provider)).with(logs);
    tracing::subscriber::with_default(subscriber, run);
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn what_nobody_hears_is_not_even_made() {
    let filter = EnvFilter::builder().parse("warn,qqrelay=info").unwrap().and(heard());
    let logs = Lines::new(Form::Json, io::sink).with_filter(filter);
    let subscriber = tracing_subscriber::registry().with(logs);
    assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
}

fn one(form: Form, run: impl FnOnce()) -> String {
    let lines = lines(form, "info", run);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[test]
fn a_json_line_has_its_members_in_order_and_those_of_its_spans() {
    let line = one(Form::Json, || {
        let shard =
            info_span!("shard", app = "102", shard = "4-0", session = tracing::field::Empty);
        shard.record("session", "s1");
        shard.in_scope(|| info!(seq = 7_u64, shard = "4-1", "frame\n\"came\""));
    });
    let read: Json = serde_json::from_str(&line).unwrap();
    assert_eq!(read["level"], "info");
    assert_eq!(read["target"], "qqrelay_runtime::telemetry::line::tests");
    assert_eq!(read["msg"], "frame\n\"came\"");
    assert_eq!(read["app"], "102");
    assert_eq!(read["session"], "s1");
    assert_eq!(read["seq"], 7);
    assert_eq!(read["shard"], "4-1", "the nearest one counts");
    assert_eq!(read["trace_id"].as_str().map(str::len), Some(32));
    assert_eq!(read["span_id"].as_str().map(str::len), Some(16));
    assert!(read["ts"].as_str().is_some_and(|ts| ts.len() == 24 && ts.ends_with('Z')));
    let names = ["ts", "level", "target", "msg", "app", "shard", "session", "seq", "trace_id"];
    let places = names.map(|name| line.find(&format!("\"{name}\":")));
    assert!(places.is_sorted(), "{line}");
}

#[test]
fn a_line_for_people_is_one_line() {
    let line = one(Form::Pretty { color: false }, || {
        let who = "a\x1b[2Jb";
        warn!(app = "102", who, why = "two words", count = 3, "odd\r\nthing");
    });
    let rest = " WARN  odd\u{fffd}\u{fffd}thing runtime::telemetry::line::tests app=102 \
                who=a\u{fffd}[2Jb why=\"two words\" count=3";
    assert_eq!(&line[8..], rest);
    let colored = one(Form::Pretty { color: true }, || error!("bad"));
    assert!(colored.contains("\x1b[31mERROR\x1b[0m"));
}

#[test]
fn an_error_is_logged_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    let line = one(Form::Json, || {
        let error = Outer(io::Error::other("inner"));
        error!(error = &error as &dyn std::error::Error, "it failed");
    });
    assert!(line.contains(r#""error":"outer: inner""#), "{line}");
}

#[test]
fn credentials_and_what_users_wrote_are_hidden_at_every_level() {
    for form in [Form::Json, Form::Pretty { color: false }] {
        let lines = lines(form, "trace", || {
            let span = info_span!("s", token = "canary");
            span.in_scope(|| trace!(text = "canary", secret = ?"canary", content = %"canary", "m"));
            debug!(body = "canary", raw = "canary", frame = "canary", "m");
        });
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| !line.contains("canary")), "{lines:?}");
    }
}

#[test]
fn other_peoples_crates_are_not_heard_below_info() {
    let lines = lines(Form::Json, "trace", || {
        debug!(target: "tungstenite::protocol", "frame: canary");
        trace!(target: "h2::codec", "headers: canary");
        info!(target: "rustls", "heard");
        debug!("ours");
    });
    let messages: Vec<Json> = lines
        .iter()
        .map(|line| serde_json::from_str::<Json>(line).unwrap()["msg"].clone())
        .collect();
    assert_eq!(messages, [json!("heard"), json!("ours")]);
}
