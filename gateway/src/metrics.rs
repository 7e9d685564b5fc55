//! Everything the gateway counts. Call sites report facts; names, labels and units live here.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use qqrelay_proto::chain::Memory;
use qqrelay_proto::event::EventKind;
use qqrelay_proto::opcode::Opcode;
use qqrelay_proto::record::{DropReason, GapReason};
use qqrelay_proto::silence::Remedy;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::Refusal;

use crate::gauges::ShardGauges;
use crate::status::Board;

/// Bounds of latency histograms, in seconds.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The gateway's series. Cheap to clone; every clone feeds the same registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    frames: IntCounterVec,
    events: IntCounterVec,
    /// Those of `events`, in the order of the kinds.
    by_kind: Arc<[IntCounter]>,
    bad_frames: IntCounterVec,
    dropped: IntCounterVec,
    replays: IntCounter,
    duplicates: IntCounter,
    event_lag: Histogram,
    publish_ack: Histogram,
    publish_inflight: IntGaugeVec,
    publish_errors: IntCounterVec,
    paused: IntGauge,
    resumes: IntCounterVec,
    identifies: IntCounterVec,
    closes: IntCounterVec,
    gaps: IntCounterVec,
    silences: IntCounterVec,
    shard_panics: IntCounter,
    heartbeat_rtt: Histogram,
    takeovers: IntCounterVec,
    partitions_lost: IntCounter,
    partitions_held: IntGauge,
    gateways: IntGauge,
    leases_taken: IntCounterVec,
    handovers: IntCounterVec,
}

/// From whom a partition's lease was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseFrom {
    /// It was free.
    Nobody,
    /// Its holder gave it.
    Given,
    /// Its holder was silent, or did not renew it.
    Dead,
}

impl LeaseFrom {
    const ALL: [Self; 3] = [Self::Nobody, Self::Given, Self::Dead];

    const fn label(self) -> &'static str {
        match self {
            Self::Nobody => "free",
            Self::Given => "given",
            Self::Dead => "dead",
        }
    }
}

/// What another gateway that asked for a partition was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// It was handed over.
    Given,
    /// Not now: it is not surplus, or another is on its way.
    Refused,
}

impl Move {
    const ALL: [Self; 2] = [Self::Given, Self::Refused];

    const fn label(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Refused => "refused",
        }
    }
}

/// How an IDENTIFY or RESUME went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was written to the socket.
    Sent,
    /// READY, or RESUMED or a replayed frame, came.
    Live,
    /// The socket ended before.
    Failed,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Sent, Self::Live, Self::Failed];

    const fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Live => "live",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    /// Registers every series, each at zero.
    ///
    /// # Errors
    ///
    /// Two series share a name, which is a mistake in this file.
    pub fn register(registry: &Registry, board: Board) -> prometheus::Result<Self> {
        registry.register(Box::new(ShardGauges::new(board)?))?;
        let events = counters("events_total", "Events given to the log, by kind.", "kind")?;
        let of_kind = |kind: &EventKind| events.with_label_values(&[kind.as_str()]);
        let metrics = Self {
            frames: counters("frames_total", "Frames received, by opcode.", "op")?,
            by_kind: EventKind::ALL.iter().map(of_kind).collect(),
            events,
            bad_frames: counters(
                "bad_frames_total",
                "Frames that could not be read, by what is wrong with them.",
                "reason",
            )?,
            dropped: counters(
                "dropped_total",
                "Dispatches whose place in the log says only why they are not there.",
                "reason",
            )?,
            replays: counter("replays_total", "Dispatches that the log had already.")?,
            duplicates: counter(
                "duplicates_total",
                "Events pushed again under a new sequence, stored as duplicates.",
            )?,
            event_lag: histogram(
                "event_lag_seconds",
                "From the platform's time of an event to its handing over to the log.",
            )?,
            publish_ack: histogram(
                "publish_ack_seconds",
                "From receiving a frame to the log's acknowledgement.",
            )?,
            publish_inflight: gauges(
                "publish_inflight",
                "Records published and not acknowledged.",
                &["partition"],
            )?,
            publish_errors: counters(
                "publish_errors_total",
                "Records the log did not take, by reason.",
                "reason",
            )?,
            paused: gauge(
                "shards_paused",
                "Shards that have stopped reading because the log has no room.",
            )?,
            resumes: counters("resumes_total", "RESUMEs, by what came of them.", "outcome")?,
            identifies: counters(
                "identifies_total",
                "IDENTIFYs, by what came of them.",
                "outcome",
            )?,
            closes: counters("closes_total", "Sockets closed from outside, by code.", "code")?,
            gaps: counters("gaps_total", "Gap records, by reason.", "reason")?,
            silences: counters(
                "silences_total",
                "Busy shards that said nothing for too long, by what was done.",
                "remedy",
            )?,
            shard_panics: counter(
                "shard_panics_total",
                "Tasks of shards that failed and were begun again: a fault of ours.",
            )?,
            heartbeat_rtt: histogram(
                "heartbeat_rtt_seconds",
                "From a heartbeat to its acknowledgement.",
            )?,
            takeovers: counters("takeovers_total", "Partitions taken, by cause.", "cause")?,
            partitions_lost: counter("partitions_lost_total", "Partitions given up to others.")?,
            partitions_held: gauge("partitions_held", "Partitions that this process holds.")?,
            gateways: gauge("gateways", "Gateways that this one hears, itself included.")?,
            leases_taken: counters(
                "partition_leases_total",
                "Leases of partitions taken, by whom they were had from.",
                "from",
            )?,
            handovers: counters(
                "handovers_total",
                "Partitions that other gateways asked this one for, by the answer.",
                "answer",
            )?,
        };
        metrics.start_at_zero();
        metrics.expose(registry)?;
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        for reason in GapReason::ALL {
            self.gaps.with_label_values(&[reason.as_str()]);
        }
        for reason in [DropReason::TooLarge, DropReason::Unreadable, DropReason::Refused] {
            self.dropped.with_label_values(&[drop_label(reason)]);
        }
        for remedy in [Remedy::Resume, Remedy::GiveUp] {
            self.silences.with_label_values(&[remedy_label(remedy)]);
        }
        for outcome in Outcome::ALL {
            self.resumes.with_label_values(&[outcome.label()]);
            self.identifies.with_label_values(&[outcome.label()]);
        }
        for reason in REFUSALS {
            self.publish_errors.with_label_values(&[reason]);
        }
        for memory in [Memory::Kept, Memory::Forgotten, Memory::LogLost] {
            self.takeovers.with_label_values(&[cause(memory)]);
        }
        for from in LeaseFrom::ALL {
            self.leases_taken.with_label_values(&[from.label()]);
        }
        for answer in Move::ALL {
            self.handovers.with_label_values(&[answer.label()]);
        }
    }

    fn expose(&self, registry: &Registry) -> prometheus::Result<()> {
        for counters in [
            &self.frames,
            &self.events,
            &self.bad_frames,
            &self.dropped,
            &self.publish_errors,
            &self.resumes,
            &self.identifies,
            &self.closes,
            &self.gaps,
            &self.silences,
            &self.takeovers,
            &self.leases_taken,
            &self.handovers,
        ] {
            registry.register(Box::new(counters.clone()))?;
        }
        for counter in [&self.replays, &self.duplicates, &self.partitions_lost, &self.shard_panics]
        {
            registry.register(Box::new(counter.clone()))?;
        }
        for histogram in [&self.event_lag, &self.publish_ack, &self.heartbeat_rtt] {
            registry.register(Box::new(histogram.clone()))?;
        }
        for gauge in [&self.paused, &self.partitions_held, &self.gateways] {
            registry.register(Box::new(gauge.clone()))?;
        }
        registry.register(Box::new(self.publish_inflight.clone()))
    }

    /// So many partitions are held.
    pub(crate) fn holds(&self, partitions: usize) {
        self.partitions_held.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    /// A shard's task failed.
    pub(crate) fn shard_failed(&self) {
        self.shard_panics.inc();
    }

    /// So many gateways are heard.
    pub(crate) fn gateways(&self, heard: usize) {
        self.gateways.set(i64::try_from(heard).unwrap_or(i64::MAX));
    }

    /// A partition's lease was taken.
    pub(crate) fn leased(&self, from: LeaseFrom) {
        self.leases_taken.with_label_values(&[from.label()]).inc();
    }

    /// Another gateway asked for a partition.
    pub(crate) fn moved(&self, answer: Move) {
        self.handovers.with_label_values(&[answer.label()]).inc();
    }

    /// The series of one partition's owner.
    pub(crate) fn partition(&self, partition: Partition) -> PartitionMetrics {
        PartitionMetrics {
            in_flight: self.publish_inflight.with_label_values(&[&partition.to_string()]),
            metrics: self.clone(),
        }
    }

    /// The series of one shard.
    pub(crate) fn shard(&self) -> ShardMetrics {
        let dispatches = self.frames.with_label_values(&[Opcode::Dispatch.label()]);
        ShardMetrics { dispatches, metrics: self.clone() }
    }
}

/// What a partition's owner counts.
#[derive(Debug, Clone)]
pub(crate) struct PartitionMetrics {
    in_flight: IntGauge,
    metrics: Metrics,
}

impl PartitionMetrics {
    /// So many records are published and not acknowledged.
    pub(crate) fn in_flight(&self, records: usize) {
        self.in_flight.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// The log acknowledged a frame's record, this long after it came.
    pub(crate) fn stored(&self, took: Duration) {
        self.metrics.publish_ack.observe(took.as_secs_f64());
    }

    /// The log refused a record.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::Mismatch => REFUSALS[0],
            Refusal::Never(_) => REFUSALS[1],
            Refusal::Busy(_) => REFUSALS[2],
            Refusal::Forbidden(_) => REFUSALS[3],
            Refusal::Unknown(_) => REFUSALS[4],
        };
        self.metrics.publish_errors.with_label_values(&[reason]).inc();
    }

    /// An event came again under a new sequence.
    pub(crate) fn repeated(&self) {
        self.metrics.duplicates.inc();
    }

    /// The partition was taken.
    pub(crate) fn taken(&self, memory: Memory) {
        self.metrics.takeovers.with_label_values(&[cause(memory)]).inc();
    }

    /// The partition was given up.
    pub(crate) fn lost(&self) {
        self.metrics.partitions_lost.inc();
    }
}

/// What a shard counts; what is counted for every frame is looked up once.
#[derive(Debug, Clone)]
pub(crate) struct ShardMetrics {
    dispatches: IntCounter,
    metrics: Metrics,
}

impl ShardMetrics {
    /// A frame came.
    pub(crate) fn frame(&self, op: Opcode) {
        if op == Opcode::Dispatch {
            self.dispatches.inc();
        } else {
            self.metrics.frames.with_label_values(&[op.label()]).inc();
        }
    }

    /// A frame could not be read.
    pub(crate) fn bad_frame(&self, reason: &'static str) {
        self.metrics.bad_frames.with_label_values(&[reason]).inc();
    }

    /// An event is handed to the log, `lag` after the platform's time of it.
    pub(crate) fn event(&self, kind: EventKind, lag: Option<Duration>) {
        if let Some(counter) = self.metrics.by_kind.get(kind as usize) {
            counter.inc();
        }
        if let Some(lag) = lag {
            self.metrics.event_lag.observe(lag.as_secs_f64());
        }
    }

    /// A dispatch leaves only its reason in the log.
    pub(crate) fn dropped(&self, reason: DropReason) {
        self.metrics.dropped.with_label_values(&[drop_label(reason)]).inc();
    }

    /// A dispatch was there already.
    pub(crate) fn replayed(&self) {
        self.metrics.replays.inc();
    }

    /// A gap goes to the log.
    pub(crate) fn gap(&self, reason: GapReason) {
        self.metrics.gaps.with_label_values(&[reason.as_str()]).inc();
    }

    /// The shard was silent for too long.
    pub(crate) fn silent(&self, remedy: Remedy) {
        self.metrics.silences.with_label_values(&[remedy_label(remedy)]).inc();
    }

    /// A RESUME or IDENTIFY went this way.
    pub(crate) fn asked(&self, is_resume: bool, outcome: Outcome) {
        let counters = if is_resume { &self.metrics.resumes } else { &self.metrics.identifies };
        counters.with_label_values(&[outcome.label()]).inc();
    }

    /// The socket was closed from outside.
    pub(crate) fn closed(&self, label: &'static str) {
        self.metrics.closes.with_label_values(&[label]).inc();
    }

    /// A heartbeat was acknowledged.
    pub(crate) fn acknowledged(&self, took: Duration) {
        self.metrics.heartbeat_rtt.observe(took.as_secs_f64());
    }

    /// Counts the shard as paused for as long as the guard is held.
    pub(crate) fn paused(&self) -> Paused {
        self.metrics.paused.inc();
        Paused(self.metrics.paused.clone())
    }
}

/// Held while a shard does not read.
#[derive(Debug)]
pub(crate) struct Paused(IntGauge);

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const REFUSALS: [&str; 5] = ["mismatch", "never", "busy", "forbidden", "unknown"];

const fn drop_label(reason: DropReason) -> &'static str {
    match reason {
        DropReason::TooLarge => "too_large",
        DropReason::Unreadable => "unreadable",
        DropReason::Refused => "refused",
    }
}

const fn remedy_label(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Resume => "resume",
        Remedy::GiveUp => "give_up",
    }
}

const fn cause(memory: Memory) -> &'static str {
    match memory {
        Memory::Kept => "recovery",
        Memory::Forgotten => "takeover",
        Memory::LogLost => "log_lost",
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("qqrelay_{name}"), help)
}

fn counter(name: &str, help: &str) -> prometheus::Result<IntCounter> {
    IntCounter::with_opts(options(name, help))
}

fn counters(name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(options(name, help), &[label])
}

fn gauge(name: &str, help: &str) -> prometheus::Result<IntGauge> {
    IntGauge::with_opts(options(name, help))
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(options(name, help), labels)
}

fn histogram(name: &str, help: &str) -> prometheus::Result<Histogram> {
    Histogram::with_opts(HistogramOpts::from(options(name, help)).buckets(SECONDS.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_a_zero_and_not_a_hole() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, Board::default()).expect("names are unique");
        metrics.partition(Partition::Chain(0)).in_flight(0);
        let names: Vec<_> =
            registry.gather().iter().map(|family| family.name().to_owned()).collect();
        for name in ["events_total", "gaps_total", "resumes_total", "identifies_total"] {
            assert!(names.contains(&format!("qqrelay_{name}")), "{name} in {names:?}");
        }
    }
}
