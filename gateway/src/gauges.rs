//! What each shard is doing, as series: made of the board when they are asked for. Kept ones would
//! take more memory than the rest of an idle session's own.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::status::{Board, Phase, ShardStatus};

/// A family of series, each with the labels `app`, `shard` and this one.
struct Family {
    name: &'static str,
    help: &'static str,
    label: &'static str,
}

const STATE: Family =
    Family { name: "qqrelay_shard_state", help: "1 for the state a shard is in.", label: "state" };
const BLOCKED: Family = Family {
    name: "qqrelay_shard_blocked",
    help: "1 for the reason why a shard is parked.",
    label: "blocked_reason",
};

/// The series of a board's shards.
#[derive(Debug)]
pub(crate) struct ShardGauges {
    board: Board,
    descriptions: [Desc; 2],
}

impl ShardGauges {
    pub(crate) fn new(board: Board) -> prometheus::Result<Self> {
        let description = |Family { name, help, label }| {
            let labels = ["app", "shard", label].map(str::to_owned).to_vec();
            Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())
        };
        Ok(Self { board, descriptions: [description(STATE)?, description(BLOCKED)?] })
    }
}

impl Collector for ShardGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let shards = self.board.shards();
        let states = shards.iter().flat_map(|shard| {
            Phase::ALL.map(|phase| gauge(shard, STATE.label, phase.label(), shard.phase == phase))
        });
        let blocked = shards.iter().filter_map(|shard| {
            shard.blocked.map(|reason| gauge(shard, BLOCKED.label, reason, true))
        });
        vec![family(&STATE, states.collect()), family(&BLOCKED, blocked.collect())]
    }
}

fn family(Family { name, help, .. }: &Family, series: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name((*name).to_owned());
    family.set_help((*help).to_owned());
    family.set_field_type(MetricType::GAUGE);
    family.set_metric(series);
    family
}

fn gauge(shard: &ShardStatus, label: &str, value: &str, is_so: bool) -> Metric {
    let pair = |name: &str, value: &str| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    // By name, as every exposition has them.
    let mut labels = vec![
        pair("app", shard.app.as_str()),
        pair("shard", &shard.shard.to_string()),
        pair(label, value),
    ];
    labels.sort_by(|a, b| a.name().cmp(b.name()));
    let mut metric = Metric::from_label(labels);
    let mut gauge = Gauge::default();
    gauge.set_value(f64::from(u8::from(is_so)));
    metric.set_gauge(gauge);
    metric
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};
    use qqrelay_proto::id::ShardId;
    use qqrelay_proto::subject::Partition;

    use super::*;

    #[test]
    fn a_shards_state_and_why_it_is_parked_are_series_while_there_is_the_shard() {
        let (registry, board) = (Registry::new(), Board::default());
        let gauges = ShardGauges::new(board.clone()).expect("the names are in order");
        registry.register(Box::new(gauges)).expect("nobody else has them");
        let shown = || TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        assert_eq!(shown(), "");
        let shard = ShardId::new(0, 1).expect("0 is below 1");
        let entry = board.add("102".into(), shard, Partition::Chain(0));
        entry.update(|status| {
            status.phase = Phase::Parked;
            status.blocked = Some("banned");
        });
        let text = shown();
        for line in [
            r#"qqrelay_shard_state{app="102",shard="1-0",state="parked"} 1"#,
            r#"qqrelay_shard_state{app="102",shard="1-0",state="live"} 0"#,
            r#"qqrelay_shard_blocked{app="102",blocked_reason="banned",shard="1-0"} 1"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
        }
        drop(entry);
        assert_eq!(shown(), "");
    }
}
