//! Buckets in memory. A restart forgets them, and the platform's own limits stand behind ours.

use std::collections::HashMap;
use std::time::Duration;

use qqrelay_proto::bucket::{self, Bucket, Decision};
use qqrelay_proto::time::UnixMs;

use crate::state::{Admission, Want, key};
use qqrelay_proto::id::AppId;

/// Below this many buckets nothing is looked through.
const SWEEP_FLOOR: usize = 1024;

/// The buckets in use, by key.
#[derive(Default)]
pub(super) struct Limiter {
    buckets: HashMap<String, Bucket>,
    /// When there are this many, those that are whole again are forgotten.
    sweep_at: usize,
}

impl Limiter {
    pub(super) fn admit(&mut self, app: &AppId, wants: &[Want<'_>], now: UnixMs) -> Admission {
        self.forget_whole(now);
        let keys: Vec<_> = wants.iter().map(|want| key::bucket(app, want.bucket)).collect();
        let mut found: Vec<_> =
            keys.iter().map(|key| self.buckets.get(key).copied().unwrap_or_default()).collect();
        let asked = wants.iter().map(|want| want.quota).zip(&mut found);
        match bucket::take(now, asked) {
            Decision::Allowed => {
                self.buckets.extend(keys.into_iter().zip(found));
                Admission::Admitted
            }
            Decision::RetryAfter(wait) => {
                let alone = wants
                    .iter()
                    .zip(&found)
                    .map(|(want, bucket)| bucket::take(now, [(want.quota, &mut bucket.clone())]));
                let want = alone.clone().position(|alone| alone == Decision::RetryAfter(wait));
                let want = want.expect("the wait is the longest that one of them asks for");
                Admission::RetryAfter { want, wait }
            }
        }
    }

    pub(super) fn cool_down(&mut self, app: &AppId, name: &str, wait: Duration, now: UnixMs) {
        self.forget_whole(now);
        self.buckets.entry(key::bucket(app, name)).or_default().cool_down(now, wait);
    }

    /// Doubling the mark makes this one step per bucket that was added.
    fn forget_whole(&mut self, now: UnixMs) {
        if self.buckets.len() >= self.sweep_at.max(SWEEP_FLOOR) {
            self.buckets.retain(|_, bucket| bucket.stale_at() > now);
            self.sweep_at = self.buckets.len() * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_buckets_that_are_whole_again_are_forgotten() {
        let (app, mut limiter) = (AppId::from("102"), Limiter::default());
        let quota = "1/min".parse().expect("a quota");
        let mut ask = |place: u32, now| {
            let bucket = format!("group:{place}");
            let answer = limiter.admit(&app, &[Want { bucket: &bucket, quota }], UnixMs(now));
            (answer, limiter.buckets.len())
        };
        let places = u32::try_from(SWEEP_FLOOR).expect("a small number");
        for place in 0..places {
            assert_eq!(ask(place, 100_000).0, Admission::Admitted);
        }
        assert_eq!(ask(places, 130_000), (Admission::Admitted, SWEEP_FLOOR + 1));
        assert!(matches!(ask(0, 159_999).0, Admission::RetryAfter { .. }));
        for place in places + 1..2 * places {
            ask(place, 160_000);
        }
        assert_eq!(
            ask(0, 160_000),
            (Admission::Admitted, SWEEP_FLOOR + 1),
            "those of before ended"
        );
        assert!(matches!(ask(places, 160_000).0, Admission::RetryAfter { .. }));
    }
}
