//! Everything the worker counts. Call sites report facts; names, labels and units live here.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use qqrelay_proto::limits::Limit;
use qqrelay_proto::outcome::Outcome;
use qqrelay_proto::subject::Lane;
use qqrelay_proto::time::UnixMs;
use qqrelay_runtime::bus::WorkStream;

use crate::dead_letter::Reason;

/// From an answer at once to the total time-out of a call.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];

/// Waits for limits: from a part of a second in a channel to the length of a reply window.
const WAITS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// The worker's series. Cheap to clone; every clone feeds the same registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    outcomes: IntCounterVec,
    limit_wait_seconds: HistogramVec,
    consumer_lag: IntGaugeVec,
    dead_letters: IntCounterVec,
    handler_seconds: HistogramVec,
    answered_seconds: Histogram,
    waiting: IntGaugeVec,
    in_hand: IntGaugeVec,
    held: IntCounterVec,
    lanes_held: IntGauge,
    workers: IntGauge,
}

impl Metrics {
    /// Registers every series. `handler` is the name of the handler, if there is one.
    ///
    /// # Errors
    ///
    /// Two series share a name: the worker was built twice on one registry.
    pub fn register(registry: &Registry, handler: Option<&str>) -> prometheus::Result<Self> {
        let metrics = Self {
            outcomes: counters("outcomes_total", "Commands by what became of them.", &["outcome"])?,
            limit_wait_seconds: histograms(
                "ratelimit_wait_seconds",
                "How long commands waited for a rate limit.",
                &["tier"],
                &WAITS,
            )?,
            consumer_lag: gauges(
                "consumer_lag",
                "Records that a lane was given and has not acknowledged.",
                &["stream", "lane"],
            )?,
            dead_letters: counters("dlq_total", "Records parked, by their reason.", &["reason"])?,
            handler_seconds: histograms(
                "handler_duration_seconds",
                "How long handling one event took, by how it ended.",
                &["handler", "result"],
                &SECONDS,
            )?,
            answered_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "qqrelay_event_answered_seconds",
                    "From an event's arrival to the outcome of its last reply.",
                )
                .buckets(SECONDS.to_vec()),
            )?,
            waiting: gauges("lane_waiting", "Pieces of work that wait for their turn.", &["lane"])?,
            in_hand: gauges("lane_in_hand", "Pieces of work that are being done.", &["lane"])?,
            held: counters(
                "sends_held_total",
                "Sends that waited because their bot had no session.",
                &["end"],
            )?,
            lanes_held: IntGauge::new("qqrelay_lanes_held", "Lanes that this worker has.")?,
            workers: IntGauge::new(
                "qqrelay_workers",
                "Workers that this one hears, itself included.",
            )?,
        };
        let all: [Box<dyn Collector>; 11] = [
            Box::new(metrics.outcomes.clone()),
            Box::new(metrics.limit_wait_seconds.clone()),
            Box::new(metrics.consumer_lag.clone()),
            Box::new(metrics.dead_letters.clone()),
            Box::new(metrics.handler_seconds.clone()),
            Box::new(metrics.answered_seconds.clone()),
            Box::new(metrics.waiting.clone()),
            Box::new(metrics.in_hand.clone()),
            Box::new(metrics.held.clone()),
            Box::new(metrics.lanes_held.clone()),
            Box::new(metrics.workers.clone()),
        ];
        for series in all {
            registry.register(series)?;
        }
        metrics.begin_at_zero(handler);
        Ok(metrics)
    }

    /// A zero is an answer too.
    fn begin_at_zero(&self, handler: Option<&str>) {
        for outcome in one_of_each() {
            self.outcomes.with_label_values(&[outcome.label()]);
        }
        for limit in Limit::ALL {
            self.limit_wait_seconds.with_label_values(&[limit.as_str()]);
        }
        for reason in Reason::ALL {
            self.dead_letters.with_label_values(&[reason.as_str()]);
        }
        for result in ["ok", "infrastructure", "failed"] {
            if let Some(handler) = handler {
                self.handler_seconds.with_label_values(&[handler, result]);
            }
        }
        for lane in Lane::all() {
            self.lane(lane, 0, 0);
            self.consumer(lane, WorkStream::Commands, 0);
        }
        for end in [Hold::Connected, Hold::GivenUp] {
            self.held.with_label_values(&[end.label()]);
        }
    }

    /// This worker has so many lanes, and hears so many workers.
    pub fn shares(&self, lanes: usize, workers: usize) {
        self.lanes_held.set(i64::try_from(lanes).unwrap_or(i64::MAX));
        self.workers.set(i64::try_from(workers).unwrap_or(i64::MAX));
    }

    /// A command came to this, final or not.
    pub fn outcome(&self, outcome: &Outcome) {
        self.outcomes.with_label_values(&[outcome.label()]).inc();
    }

    /// A command waited this long for a limit.
    pub fn waited_for_limit(&self, limit: Limit, wait: Duration) {
        self.limit_wait_seconds.with_label_values(&[limit.as_str()]).observe(wait.as_secs_f64());
    }

    /// A send waited for its bot's sessions.
    pub fn held(&self, end: Hold) {
        self.held.with_label_values(&[end.label()]).inc();
    }

    /// A record lies in the dead letters now.
    pub fn dead_letter(&self, reason: Reason) {
        self.dead_letters.with_label_values(&[reason.as_str()]).inc();
    }

    /// A handler ended, with `ok` or an error's label, after this long.
    pub fn handled(&self, handler: &str, result: &str, took: Duration) {
        self.handler_seconds.with_label_values(&[handler, result]).observe(took.as_secs_f64());
    }

    /// All that a handler answered to an event has its outcome.
    pub fn answered(&self, received: UnixMs, now: UnixMs) {
        self.answered_seconds.observe(now.since(received).as_secs_f64());
    }

    /// How much of a lane waits, and how much is in hand.
    pub fn lane(&self, lane: Lane, waiting: usize, in_hand: usize) {
        let lane = lane.to_string();
        self.waiting.with_label_values(&[&lane]).set(count(waiting));
        self.in_hand.with_label_values(&[&lane]).set(count(in_hand));
    }

    /// How many records of a stream a lane was given and has not acknowledged.
    pub fn consumer(&self, lane: Lane, stream: WorkStream, unacknowledged: usize) {
        let stream = match stream {
            WorkStream::Events(partition) => partition.stream(),
            WorkStream::Commands => "QQ_COMMANDS".to_owned(),
        };
        let labels = [stream.as_str(), &lane.to_string()];
        self.consumer_lag.with_label_values(&labels).set(count(unacknowledged));
    }
}

/// How a send's wait for a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A session is up again.
    Connected,
    /// None came up in time, and the send went on.
    GivenUp,
}

impl Hold {
    const fn label(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::GivenUp => "given_up",
        }
    }
}

/// An outcome of each kind, for the kinds' names.
const fn one_of_each() -> [Outcome; 9] {
    [
        Outcome::Sent { message_id: None },
        Outcome::Deduped,
        Outcome::PendingAudit { audit_id: None },
        Outcome::AuditPass { message_id: None },
        Outcome::AuditReject,
        Outcome::AuditUnknown,
        Outcome::Rejected { code: Outcome::OURS, sentence: String::new() },
        Outcome::Expired,
        Outcome::Ambiguous,
    ]
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("qqrelay_{name}"), help)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(opts(name, help), labels)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(opts(name, help), labels)
}

fn histograms(
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
    HistogramVec::new(opts, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_visible_before_anything_happens() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, Some("echo")).expect("the names differ");
        let before: Vec<_> =
            registry.gather().iter().map(|family| family.get_metric().len()).collect();
        assert_eq!(before.len(), 11);
        metrics.outcome(&Outcome::Expired);
        metrics.waited_for_limit(Limit::Channel, Duration::from_millis(250));
        metrics.dead_letter(Reason::Overflow);
        metrics.handled("echo", "ok", Duration::from_millis(1));
        metrics.held(Hold::GivenUp);
        let after: Vec<_> =
            registry.gather().iter().map(|family| family.get_metric().len()).collect();
        assert_eq!(before, after, "no fact brings a series of its own");
    }
}
