//! What the pool counts. Call sites report facts; names, labels and units live here.

use std::time::Duration;

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use qqrelay_proto::id::AppId;
use qqrelay_proto::time::UnixMs;

use super::error::RestError;

/// The pool's series. Cheap to clone; every clone feeds the same registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    token_expires: GaugeVec,
    waiting: IntGauge,
}

/// Held while a call waits for its turn.
#[derive(Debug)]
pub struct Waiting(IntGauge);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// From a fast answer to the total time-out, with the slow tail in detail.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];

impl Metrics {
    /// Registers every series.
    ///
    /// # Errors
    ///
    /// Two series share a name: the pool was built twice on one registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests =
            Opts::new("qqrelay_rest_requests_total", "Calls of the platform, by their end.");
        let seconds = HistogramOpts::new(
            "qqrelay_rest_request_duration_seconds",
            "From sending a call to the end of its answer.",
        );
        let expires = Opts::new(
            "qqrelay_token_expires_timestamp_seconds",
            "When the access token in use stops to work.",
        );
        let metrics = Self {
            requests: IntCounterVec::new(requests, &["route", "code"])?,
            request_seconds: HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["route"])?,
            token_expires: GaugeVec::new(expires, &["app"])?,
            waiting: IntGauge::new(
                "qqrelay_rest_requests_waiting",
                "Calls that wait because their bot has as many under way as it may.",
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.request_seconds.clone()))?;
        registry.register(Box::new(metrics.token_expires.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        Ok(metrics)
    }

    /// A call waits for its turn, for as long as what this gives lives.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.waiting.inc();
        Waiting(self.waiting.clone())
    }

    /// A call ended, this long after it was sent.
    pub fn called(&self, route: &'static str, end: Result<u16, &RestError>, took: Duration) {
        let status;
        let code = match end {
            Ok(number) => {
                status = number.to_string(); // three digits, so the label's values are bounded
                &status
            }
            Err(error) => error.label(),
        };
        self.requests.with_label_values(&[route, code]).inc();
        self.request_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// A bot's access token holds until then.
    pub fn token_holds_until(&self, app: &AppId, until: UnixMs) {
        let seconds = Duration::from_millis(until.0).as_secs_f64();
        self.token_expires.with_label_values(&[app.as_str()]).set(seconds);
    }

    /// There are no calls of this bot any more.
    pub fn forget(&self, app: &AppId) {
        let _ = self.token_expires.remove_label_values(&[app.as_str()]); // it never had a token
    }
}
