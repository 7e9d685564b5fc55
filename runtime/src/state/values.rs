//! What is stored, where that is not a type of the trait's own.

use std::time::Duration;

use qqrelay_proto::id::AppId;
use qqrelay_proto::identify::StartLimit;
use qqrelay_proto::record::Place;
use qqrelay_proto::subject::Source;
use qqrelay_proto::time::UnixMs;
use serde::{Deserialize, Serialize};

use crate::state::{GatewayAnswer, ResumeCopy};

/// Starts and failures of one piece of work.
#[derive(Default, Serialize, Deserialize)]
pub(in crate::state) struct Tries {
    pub(in crate::state) starts: u32,
    pub(in crate::state) failures: u32,
}

/// What is known of an event that came in.
#[derive(Serialize, Deserialize)]
pub(in crate::state) enum Seen {
    /// This source has it and did not say yet that it is stored.
    By(String),
    /// The log has it here.
    At(Place),
}

/// A resume copy, with the names that its key holds in escaped form.
#[derive(Serialize, Deserialize)]
pub(in crate::state) struct ResumeRow {
    app: AppId,
    source: String,
    copy: ResumeCopy,
}

impl ResumeRow {
    pub(in crate::state) fn new(app: &AppId, source: Source, copy: &ResumeCopy) -> Self {
        Self { app: app.clone(), source: source.to_string(), copy: copy.clone() }
    }

    /// `None` of a source that only another release knows.
    pub(in crate::state) fn read(self) -> Option<(AppId, Source, ResumeCopy)> {
        Some((self.app, self.source.parse().ok()?, self.copy))
    }
}

/// An answer of `/gateway/bot`, and when it was put here.
#[derive(Serialize, Deserialize)]
pub(in crate::state) struct GatewayRow {
    at: UnixMs,
    url: String,
    shards: u16,
    limit: Option<LimitRow>,
}

#[derive(Serialize, Deserialize)]
struct LimitRow {
    total: u32,
    remaining: u32,
    reset_after: Duration,
    max_concurrency: u32,
}

impl GatewayRow {
    pub(in crate::state) fn new(answer: &GatewayAnswer, at: UnixMs) -> Self {
        let GatewayAnswer { url, shards, limit } = answer.clone();
        let limit = limit.map(|limit| {
            let StartLimit { total, remaining, reset_after, max_concurrency } = limit;
            LimitRow { total, remaining, reset_after, max_concurrency }
        });
        Self { at, url, shards, limit }
    }

    /// The answer and its age.
    pub(in crate::state) fn read(self, now: UnixMs) -> (GatewayAnswer, Duration) {
        let limit = self.limit.map(|limit| {
            let LimitRow { total, remaining, reset_after, max_concurrency } = limit;
            StartLimit { total, remaining, reset_after, max_concurrency }
        });
        let answer = GatewayAnswer { url: self.url, shards: self.shards, limit };
        (answer, now.since(self.at))
    }
}
