//! Every key of the shared state, by name, and how long each lives.
//!
//! The embedded state files its rows under the same names that Redis uses, so that an operator who
//! knows one reads the other. All keys of a bot carry its id as the hash tag `{<app>}`: one script
//! may touch several of them, and never those of two bots. The rule a newcomer would break: text
//! from outside goes through [`Token::escape`], or an id with a `}` in it moves to another slot.

use std::time::Duration;

use qqrelay_proto::command::ReplyTo;
use qqrelay_proto::id::AppId;
use qqrelay_proto::subject::{Lane, Partition, Source, Token};

use super::ReplyKey;

/// Garbage collection only: a lease is given up by release, or taken by observation.
///
/// Ten times the observe window, so that a lease never ends while somebody watches it.
pub const LEASE_TTL: Duration = Duration::from_secs(60);

/// How long a lease that was given away leaves its incarnation behind.
pub const LEASE_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long an event is recognised when it comes a second time by another way.
pub const SEEN_TTL: Duration = Duration::from_secs(15 * 60);

/// How long whoever saw an event first may take to store it before another may.
///
/// As long as a publish waits for a log that changes its leader.
pub const SIGHTING_HOLD: Duration = Duration::from_secs(10);

/// A resume copy outlives a long week-end without its gateway.
pub const RESUME_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The identify budget is a day's; two, so that a late `reset_after` is still met.
pub const IDENTIFY_TTL: Duration = Duration::from_secs(2 * 24 * 3600);

/// What a lease is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseKey {
    /// Who writes a partition.
    Partition(Partition),
    /// Who works on a lane.
    Lane(Lane),
}

/// `qq:lease:p:03`, `qq:lease:l:7`
#[must_use]
pub fn lease(key: LeaseKey) -> String {
    match key {
        LeaseKey::Partition(partition) => format!("qq:lease:p:{partition}"),
        LeaseKey::Lane(lane) => format!("qq:lease:l:{lane}"),
    }
}

/// `qq:resume:{102}:4-0`
#[must_use]
pub fn resume(app: &AppId, source: Source) -> String {
    format!("{}{source}", resumes(Some(app)))
}

/// What the keys of one bot's resume copies, or of all, begin with: `qq:resume:{102}:`
#[must_use]
pub fn resumes(app: Option<&AppId>) -> String {
    app.map_or_else(|| "qq:resume:".to_owned(), |app| format!("qq:resume:{}:", tag(app)))
}

/// `qq:identify:{102}`
#[must_use]
pub fn identify(app: &AppId) -> String {
    format!("qq:identify:{}", tag(app))
}

/// `qq:token:{102}`
#[must_use]
pub fn token(app: &AppId) -> String {
    format!("qq:token:{}", tag(app))
}

/// Who fetches the token now: `qq:flight:{102}`
#[must_use]
pub fn token_flight(app: &AppId) -> String {
    format!("qq:flight:{}", tag(app))
}

/// The cached answer of `/gateway/bot`: `qq:gateway:{102}`
#[must_use]
pub fn gateway(app: &AppId) -> String {
    format!("qq:gateway:{}", tag(app))
}

/// One bucket of the limiter, by the name that the platform profile gives it: `qq:rl:{102}:…`
#[must_use]
pub fn bucket(app: &AppId, name: &str) -> String {
    format!("qq:rl:{}:{name}", tag(app))
}

/// Uses of one reply right: `qq:led:{102}:group:A1:m:<msg id>`, `…:e:<event id>`
#[must_use]
pub fn ledger(key: ReplyKey<'_>) -> String {
    let ReplyKey { app, scope, to } = key;
    let (kind, id) = match to {
        ReplyTo::MsgId(id) => ('m', id.as_str()),
        ReplyTo::EventId(id) => ('e', &**id),
    };
    let (place, id) = (Token::escape(&scope.id), Token::escape(id));
    format!("qq:led:{}:{}:{place}:{kind}:{id}", tag(app), scope.scene)
}

/// Finished work: `qq:done:{102}:7:<id>`
#[must_use]
pub fn done(app: &AppId, lane: Lane, id: &str) -> String {
    format!("qq:done:{}:{lane}:{}", tag(app), Token::escape(id))
}

/// Starts and failures of one event's handler: `qq:tries:{102}:<id>`
#[must_use]
pub fn tries(app: &AppId, id: &str) -> String {
    format!("qq:tries:{}:{}", tag(app), Token::escape(id))
}

/// An event that came in: `qq:seen:{102}:<id>`
#[must_use]
pub fn seen(app: &AppId, id: &str) -> String {
    format!("qq:seen:{}:{}", tag(app), Token::escape(id))
}

/// An id as a hash tag: what Redis hashes to find a key's slot is what stands in the braces.
fn tag(app: &AppId) -> String {
    format!("{{{}}}", Token::escape(app.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use qqrelay_proto::id::{Scene, Scope, ShardId};

    #[test]
    fn keys_read_as_the_design_writes_them() {
        let app = AppId::from("102");
        let shard = ShardId::new(0, 4).expect("0 is below 4");
        let lane = Lane::new(7).expect("7 is below 16");
        let group = Scope::new(Scene::Group, "A1");
        let check = |key: String, expected: &str| assert_eq!(key, expected);
        check(lease(LeaseKey::Partition(Partition::Chain(3))), "qq:lease:p:03");
        check(lease(LeaseKey::Lane(lane)), "qq:lease:l:7");
        check(resume(&app, Source::Shard(shard)), "qq:resume:{102}:4-0");
        check(identify(&app), "qq:identify:{102}");
        check(token(&app), "qq:token:{102}");
        check(token_flight(&app), "qq:flight:{102}");
        check(gateway(&app), "qq:gateway:{102}");
        check(bucket(&app, "group:A1"), "qq:rl:{102}:group:A1");
        let replies = |to| ReplyKey { app: &app, scope: &group, to };
        let (message, event) = (ReplyTo::MsgId("m.1".into()), ReplyTo::EventId("x".into()));
        check(ledger(replies(&message)), "qq:led:{102}:group:A1:m:m=2E1");
        check(ledger(replies(&event)), "qq:led:{102}:group:A1:e:x");
        check(done(&app, lane, "102:m1"), "qq:done:{102}:7:102=3Am1");
        check(tries(&app, "102:m1"), "qq:tries:{102}:102=3Am1");
        check(seen(&app, "102:m1"), "qq:seen:{102}:102=3Am1");
    }

    proptest! {
        /// What Redis hashes is what stands between the first `{` and the next `}`.
        #[test]
        fn no_id_moves_a_key_to_another_bots_slot(app in ".*", id in ".*") {
            let app = AppId::from(app);
            let expected = Token::escape(app.as_str());
            let (scope, to) = (Scope::new(Scene::C2c, &*id), ReplyTo::MsgId(id.as_str().into()));
            let replies = ReplyKey { app: &app, scope: &scope, to: &to };
            for key in [seen(&app, &id), tries(&app, &id), ledger(replies)] {
                let (_, rest) = key.split_once('{').expect("keys of a bot have a tag");
                let (tag, _) = rest.split_once('}').expect("the tag is closed");
                prop_assert_eq!(tag, expected.as_str());
                prop_assert!(key.len() < 1024);
            }
        }
    }
}
