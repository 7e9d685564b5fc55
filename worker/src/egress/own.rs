//! What a worker counts by itself of its bots' limits, for when the state does not count for all.

use std::collections::HashMap;
use std::time::Duration;

use qqrelay_proto::bucket::{self, Bucket, Decision, Quota};
use qqrelay_proto::id::AppId;
use qqrelay_proto::limits::Need;
use qqrelay_proto::subject::Lane;
use qqrelay_proto::time::UnixMs;

/// Buckets that are remembered at most.
const BUCKETS_MAX: usize = 16_384;

/// The longest time for which a worker keeps to its part once the state counts again.
const ALONE_MAX: Duration = Duration::from_secs(60);

/// Buckets of one worker. A place's are exact, because one worker has all of a place's sends.
#[derive(Debug, Default)]
pub(super) struct Own {
    buckets: HashMap<(AppId, String), Bucket>,
    /// When the state last did not answer.
    alone_at: Option<UnixMs>,
}

impl Own {
    /// The state does not answer: what all workers share is counted by each for its part.
    pub(super) const fn alone(&mut self, now: UnixMs) {
        self.alone_at = Some(now);
    }

    /// Takes room for one request of a worker that has so many lanes.
    pub(super) fn take(
        &mut self,
        now: UnixMs,
        app: &AppId,
        needs: &[Need],
        lanes: usize,
    ) -> Decision {
        if self.buckets.len() + needs.len() > BUCKETS_MAX {
            self.buckets.retain(|_, bucket| bucket.stale_at() > now);
        }
        let key = |need: &Need| (app.clone(), need.bucket.clone());
        let mut taken: Vec<_> =
            needs.iter().map(|need| self.buckets.remove(&key(need)).unwrap_or_default()).collect();
        let quotas = needs.iter().map(|need| self.quota(need, now, lanes));
        let decision = bucket::take(now, quotas.zip(&mut taken));
        if self.buckets.len() + needs.len() <= BUCKETS_MAX {
            self.buckets.extend(needs.iter().map(key).zip(taken));
        }
        decision
    }

    /// Closes a bucket, because the platform refused for its rate.
    pub(super) fn cool_down(&mut self, now: UnixMs, app: &AppId, bucket: &str, wait: Duration) {
        let key = (app.clone(), bucket.to_owned());
        self.buckets.entry(key).or_default().cool_down(now, wait);
    }

    /// Its part while the state does not count for all, and for one window after that, of which the
    /// state knows nothing.
    fn quota(&self, need: &Need, now: UnixMs, lanes: usize) -> Quota {
        let window = need.quota.window().min(ALONE_MAX);
        let is_alone = self.alone_at.is_some_and(|at| now.since(at) <= window);
        if !is_alone || need.limit.is_of_place() {
            return need.quota;
        }
        let lanes = u32::try_from(lanes).unwrap_or(u32::MAX).max(1);
        need.quota.share(lanes, Lane::COUNT.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qqrelay_proto::limits::Limit;

    fn need(limit: Limit, quota: &str) -> [Need; 1] {
        let bucket = limit.as_str().to_owned();
        [Need { limit, bucket, quota: quota.parse().expect("a rate") }]
    }

    /// How many of a crowd pass at each moment, at a worker that has so many lanes.
    fn pass(own: &mut Own, needs: &[Need], lanes: usize, at_ms: u64) -> usize {
        let app = AppId::from("102");
        let mut take = || own.take(UnixMs(at_ms), &app, needs, lanes);
        std::iter::repeat_with(|| take() == Decision::Allowed).take_while(|passed| *passed).count()
    }

    #[test]
    fn workers_that_nobody_counts_together_pass_no_more_than_the_bot_may() {
        let needs = need(Limit::GroupApp, "80/s burst 20");
        let mut workers = [(Own::default(), 5), (Own::default(), 11)];
        let mut passed = Vec::new();
        for at_ms in (10_000..13_000).step_by(10) {
            for (own, lanes) in &mut workers {
                if at_ms < 12_000 {
                    own.alone(UnixMs(at_ms));
                }
                passed.extend(vec![at_ms; pass(own, &needs, *lanes, at_ms)]);
            }
        }
        let in_window =
            |from: u64| passed.iter().filter(|at| (from..from + 1_000).contains(at)).count();
        let most = (10_000..12_000).step_by(10).map(in_window).max();
        assert!(most.is_some_and(|most| (70..=100).contains(&most)), "{most:?}");
    }

    #[test]
    fn a_place_is_one_workers_and_counted_whole() {
        let needs = need(Limit::Group, "20/s burst 20");
        let mut own = Own::default();
        own.alone(UnixMs(10_000));
        assert_eq!(pass(&mut own, &needs, 1, 10_000), 20);
        let needs = need(Limit::GroupApp, "80/s burst 20");
        assert_eq!(pass(&mut own, &needs, 4, 10_000), 5, "a part of what is everybody's");
        assert_eq!(pass(&mut Own::default(), &needs, 4, 10_000), 20, "the state counts for all");
    }
}
