//! Ask and wait: `qq.v1.rpc.<app>.<action>`, a NATS service.
//!
//! A request is a command, and there is no second way for it: it is stored as everybody's, and the
//! answer is the outcome that a worker writes down. So a request that is sent again is the same
//! command, and an answer that is lost stands on `qq.v1.res.…`.

use std::sync::Arc;
use std::time::Duration;

use async_nats::service::error::Error as Refusal;
use async_nats::service::{Request, ServiceExt};
use bytes::Bytes;
use futures_util::StreamExt;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use qqrelay_proto::command::{Command, TEXT_CHARS_MAX};
use qqrelay_proto::subject::{self, REQUESTS};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::NatsBus;
use crate::bus::ask::{Asked, WAIT_MAX, ask};
use crate::bus::{Bus, BusError};

/// How many seconds the asker waits; a header of the request.
pub const WAIT: &str = "Qq-Wait";

/// How long is waited for whoever does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// Requests that wait for their outcomes at once. Who comes above them is told so.
const UNDER_WAY_MAX: usize = 1024;

/// How a request can end, as metric labels.
const RESULTS: [&str; 5] = ["outcome", "pending", "refused", "busy", "unavailable"];

/// What the service counts.
#[derive(Debug, Clone)]
pub struct ServiceMetrics {
    requests: IntCounterVec,
    under_way: IntGauge,
}

impl ServiceMetrics {
    /// Registers every series.
    ///
    /// # Errors
    ///
    /// A process has one service.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = Opts::new("qqrelay_rpc_requests_total", "Requests, by their end.");
        let under_way = "Requests that wait for an outcome.";
        let metrics = Self {
            requests: IntCounterVec::new(requests, &["result"])?,
            under_way: IntGauge::new("qqrelay_rpc_requests_under_way", under_way)?,
        };
        for result in RESULTS {
            metrics.requests.with_label_values(&[result]);
        }
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.under_way.clone()))?;
        Ok(metrics)
    }
}

/// Why a request has no outcome, with the metric label.
struct Refused {
    label: &'static str,
    code: usize,
    sentence: String,
}

impl NatsBus {
    /// Answers requests until `stop`, sharing them with every other process that does.
    ///
    /// # Errors
    ///
    /// The service cannot be offered.
    pub async fn serve_requests(
        &self,
        metrics: ServiceMetrics,
        stop: CancellationToken,
    ) -> Result<(), BusError> {
        let link = self.link().await?;
        let offered = link
            .client
            .service_builder()
            .description("Commands of QQ bots, answered with their outcome")
            .queue_group("qqrelay")
            .start("qqrelay", env!("CARGO_PKG_VERSION"))
            .await
            .map_err(BusError::Unavailable)?;
        let endpoint = offered.endpoint_builder().name("command").add(REQUESTS).await;
        let mut requests = endpoint.map_err(BusError::Unavailable)?;
        let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut under_way = JoinSet::new();
        while let Some(Some(request)) = stop.run_until_cancelled(requests.next()).await {
            while under_way.try_join_next().is_some() {}
            let (bus, metrics, room) = (self.clone(), metrics.clone(), Arc::clone(&room));
            under_way.spawn(async move {
                let answer = match room.try_acquire() {
                    Ok(_here) => {
                        metrics.under_way.inc();
                        let answer = bus.answer(&request).await;
                        metrics.under_way.dec();
                        answer
                    }
                    Err(_) => Err(Refused {
                        label: "busy",
                        code: 503,
                        sentence: format!("{UNDER_WAY_MAX} requests wait already; ask again"),
                    }),
                };
                metrics.count(&answer);
                let answer = answer
                    .map(|(_, body)| body)
                    .map_err(|refused| Refusal { status: refused.sentence, code: refused.code });
                if let Err(error) = request.respond(answer).await {
                    tracing::warn!(%error, "a request's answer did not leave");
                }
            });
        }
        // Whoever still waits hears nothing, asks again, and has the same command.
        under_way.shutdown().await;
        let _ = offered.stop().await; // the connection ends with the process
        Ok(())
    }

    async fn answer(&self, request: &Request) -> Result<(&'static str, Bytes), Refused> {
        let json = request.message.payload.clone();
        let wrong = |sentence| Refused { label: "refused", code: 400, sentence };
        let command =
            Command::read(&json, TEXT_CHARS_MAX).map_err(|error| wrong(error.to_string()))?;
        let expected = subject::request(&command.app, command.action.name());
        if request.message.subject.as_str() != expected {
            return Err(wrong(format!("this command belongs on {expected}")));
        }
        let limit = wait(request).map_err(wrong)?;
        match ask(self as &dyn Bus, &command, json, limit).await {
            Ok(Asked::Outcome(record)) => {
                let body = serde_json::to_vec(&record).expect("texts and numbers are JSON");
                Ok(("outcome", body.into()))
            }
            Ok(Asked::Pending(id)) => Ok(("pending", json!({"pending": id}).to_string().into())),
            Err(error) => {
                let (label, code) = match error {
                    BusError::Refused(_) => ("refused", 400),
                    BusError::Full(_)
                    | BusError::Taken
                    | BusError::Behind { .. }
                    | BusError::Unavailable(_) => ("unavailable", 503),
                };
                Err(Refused { label, code, sentence: error.to_string() })
            }
        }
    }
}

fn wait(request: &Request) -> Result<Duration, String> {
    let headers = request.message.headers.as_ref();
    let Some(said) = headers.and_then(|headers| headers.get(WAIT)) else {
        return Ok(WAIT_DEFAULT);
    };
    let seconds = said.as_str().parse().ok().map(Duration::from_secs);
    let most = WAIT_MAX.as_secs();
    seconds
        .filter(|wait| *wait <= WAIT_MAX)
        .ok_or_else(|| format!("the header {WAIT} is no number of seconds from 0 to {most}"))
}

impl ServiceMetrics {
    fn count(&self, answer: &Result<(&'static str, Bytes), Refused>) {
        let label = match answer {
            Ok((label, _)) => label,
            Err(refused) => refused.label,
        };
        self.requests.with_label_values(&[label]).inc();
    }
}
