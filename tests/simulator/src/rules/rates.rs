//! How often a bot may call what.

use std::hash::Hash;

use qqrelay_proto::id::{Scene, Scope};

use super::Refusal;
use super::limits::RateLimits;
use super::meter::Meter;
use crate::clock::WallMs;

/// What a call counts as.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// A message into a place.
    Message(Scope),
    /// A chunk of a streamed message.
    Stream,
    /// An upload.
    Upload,
    /// A message taken back, in v2.
    Recall,
    /// An answer to an interaction.
    Interaction,
    /// A question about a group, by its path pattern.
    GroupRead(String),
    /// Anything else, by method and path pattern.
    Other(String),
}

/// One bot's calls.
#[derive(Debug)]
pub struct Rates {
    channel: Meter<String>,
    dm: Meter<String>,
    c2c: Meter<()>,
    group: Meter<()>,
    stream: Meter<()>,
    upload: Meter<()>,
    recall: Meter<()>,
    interaction: Meter<()>,
    group_read: Meter<String>,
    other: Meter<String>,
}

impl Rates {
    /// Nothing was called yet.
    #[must_use]
    pub fn new(limits: &RateLimits) -> Self {
        Self {
            channel: Meter::new(limits.channel),
            dm: Meter::new(limits.dm),
            c2c: Meter::new(limits.c2c),
            group: Meter::new(limits.group),
            stream: Meter::new(limits.stream),
            upload: Meter::new(limits.upload),
            recall: Meter::new(limits.recall),
            interaction: Meter::new(limits.interaction),
            group_read: Meter::new(limits.group_read),
            other: Meter::new(limits.other),
        }
    }

    /// Counts one call.
    ///
    /// # Errors
    /// There were as many as may be; this one is not counted.
    pub fn take(&mut self, route: &Route, now: WallMs) -> Result<(), Refusal> {
        let (allowed, refusal) = match route {
            Route::Message(scope) => match scope.scene {
                Scene::Channel => {
                    (self.channel.take(scope.id.to_string(), now), Refusal::ChannelRate)
                }
                Scene::Dm => (self.dm.take(scope.id.to_string(), now), Refusal::SendRate),
                Scene::C2c => (self.c2c.take((), now), Refusal::SendRate),
                Scene::Group => (self.group.take((), now), Refusal::SendRate),
                Scene::Guild | Scene::App => (true, Refusal::SendRate),
            },
            Route::Stream => (self.stream.take((), now), Refusal::StreamRate),
            Route::Upload => (self.upload.take((), now), Refusal::SendRate),
            Route::Recall => (self.recall.take((), now), Refusal::SendRate),
            Route::Interaction => (self.interaction.take((), now), Refusal::SendRate),
            Route::GroupRead(name) => (self.group_read.take(name.clone(), now), Refusal::SendRate),
            Route::Other(name) => (self.other.take(name.clone(), now), Refusal::SendRate),
        };
        if allowed { Ok(()) } else { Err(refusal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_limited_by_the_number_in_the_documents() {
        let check_in = |span_ms, route: Route, expected: usize, refusal| {
            let mut rates = Rates::new(&RateLimits::default());
            let taken = (0..1_000).take_while(|_| rates.take(&route, 0).is_ok()).count();
            let over = rates.take(&route, span_ms - 1);
            assert_eq!((taken, over), (expected, Err(refusal)), "{route:?}");
            assert_eq!(rates.take(&route, span_ms), Ok(()), "{route:?}");
        };
        let check = |route, expected, refusal| check_in(1_000, route, expected, refusal);
        let message = |scene| Route::Message(Scope::new(scene, "x"));
        check(message(Scene::Channel), 5, Refusal::ChannelRate);
        check(message(Scene::Dm), 2, Refusal::SendRate);
        check(message(Scene::C2c), 100, Refusal::SendRate);
        check(message(Scene::Group), 100, Refusal::SendRate);
        check(Route::Stream, 50, Refusal::StreamRate);
        check(Route::Upload, 50, Refusal::SendRate);
        check(Route::Recall, 10, Refusal::SendRate);
        check(Route::Interaction, 50, Refusal::SendRate);
        check(Route::Other("GET /users/@me".into()), 50, Refusal::SendRate);
        check_in(60_000, Route::GroupRead("/info".into()), 30, Refusal::SendRate);
    }

    #[test]
    fn channels_are_counted_one_by_one_and_groups_together() {
        let mut rates = Rates::new(&RateLimits::default());
        let mut send = |scene, id: String| rates.take(&Route::Message(Scope::new(scene, id)), 0);
        assert!((0..200).all(|n| send(Scene::Channel, n.to_string()).is_ok()));
        assert!((0..100).all(|n| send(Scene::Group, n.to_string()).is_ok()));
        assert_eq!(send(Scene::Group, "another".into()), Err(Refusal::SendRate));
    }
}
