//! Places and bots that the platform takes nothing for now: what is sent there ends here.
//!
//! A place is closed by the platform's word and opened by an event from it, or by time; a bot by a
//! fault that a person must mend, and every so often one send asks whether that was done. Forgetting
//! any of it costs one refused call.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use qqrelay_proto::command::{Action, Command};
use qqrelay_proto::id::AppId;
use qqrelay_proto::outcome::Outcome;
use qqrelay_proto::reply::{PUSH_WINDOW, Until};
use qqrelay_proto::subject::ScopeSubject;
use qqrelay_proto::time::UnixMs;

/// Places that are remembered as closed at most.
const PLACES_MAX: usize = 16_384;

/// How long a place is closed that only an event should open: something must ask in the end.
const UNTIL_EVENT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a bot that may not speak in a place asks again.
///
/// Source: PLATFORM.md, "error codes", 40054002.
const UNMUTED_PROBE: Duration = Duration::from_secs(10 * 60);

/// How often a parked bot's send is let through.
const PARK_PROBE: Duration = Duration::from_secs(15 * 60);

#[derive(Default)]
struct Inner {
    places: HashMap<ScopeSubject, Shut>,
    bots: HashMap<AppId, Shut>,
}

struct Shut {
    until: UnixMs,
    /// The platform's code for why.
    code: u32,
    sentence: String,
}

impl Shut {
    fn refusal(&self, what: &str) -> Outcome {
        let Self { until, code, sentence } = self;
        let sentence = format!("nothing is sent {what} before {until}: {sentence}");
        Outcome::Rejected { code: *code, sentence }
    }
}

/// What is closed, for all bots of a worker.
#[derive(Default)]
pub(super) struct Closed {
    inner: Mutex<Inner>,
}

impl Closed {
    /// The outcome of a command that goes nowhere now.
    pub(super) fn refusal(&self, command: &Command, now: UnixMs) -> Option<Outcome> {
        let mut inner = self.lock();
        if inner.places.is_empty() && inner.bots.is_empty() {
            return None;
        }
        if let Some(shut) = inner.bots.get(&command.app) {
            if shut.until > now {
                return Some(shut.refusal("for this bot"));
            }
            inner.bots.remove(&command.app);
        }
        if !matches!(command.action, Action::Send { .. }) {
            return None; // a place is closed to messages
        }
        let place = ScopeSubject::new(&command.app, &command.place());
        let shut = inner.places.get(&place)?;
        if shut.until > now {
            return Some(shut.refusal("to this place"));
        }
        inner.places.remove(&place);
        None
    }

    /// Closes a command's place, because the platform refused it so.
    pub(super) fn close(&self, command: &Command, until: Until, now: UnixMs, refusal: &Outcome) {
        let until = match until {
            Until::Event => now.plus(UNTIL_EVENT_MAX),
            Until::Unmuted => now.plus(UNMUTED_PROBE),
            Until::Midnight => now.next_platform_midnight(),
            Until::Window => now.plus(PUSH_WINDOW),
        };
        let mut inner = self.lock();
        if inner.places.len() >= PLACES_MAX {
            inner.places.retain(|_, shut| shut.until > now);
        }
        if inner.places.len() < PLACES_MAX {
            let place = ScopeSubject::new(&command.app, &command.place());
            inner.places.insert(place, shut(until, refusal));
        }
    }

    /// Stops a bot's sends, because the platform refused it as a whole.
    pub(super) fn park(&self, app: &AppId, now: UnixMs, refusal: &Outcome) {
        self.lock().bots.insert(app.clone(), shut(now.plus(PARK_PROBE), refusal));
    }

    /// An event came from a place: whatever closed it, somebody is there now.
    pub(super) fn heard_from(&self, place: &ScopeSubject) {
        let mut inner = self.lock();
        if !inner.places.is_empty() {
            inner.places.remove(place);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic elsewhere leaves whole entries behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shut(until: UnixMs, refusal: &Outcome) -> Shut {
    let (code, sentence) = match refusal {
        Outcome::Rejected { code, sentence } => (*code, sentence.clone()),
        other => (Outcome::OURS, format!("an earlier send ended as {}", other.label())),
    };
    Shut { until, code, sentence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qqrelay_proto::command::Content;
    use qqrelay_proto::id::{Scene, Scope};

    const NOW: UnixMs = UnixMs(1_000_000);

    fn to(app: &str, place: &str) -> Command {
        let scope = Scope::new(Scene::Group, place);
        Command::send("c".into(), app.into(), scope, Content::Text("hi".into()))
    }

    fn muted() -> Outcome {
        Outcome::Rejected { code: 40_054_002, sentence: "bot is muted".into() }
    }

    #[test]
    fn a_closed_place_refuses_until_an_event_comes_from_it() {
        let closed = Closed::default();
        closed.close(&to("102", "A"), Until::Event, NOW, &muted());
        let refused = |place| closed.refusal(&to("102", place), NOW).is_some();
        assert!(refused("A"));
        assert!(!refused("B"));
        let action = Action::Acknowledge { interaction: "i".into(), code: 0 };
        let pressed = Command { action, ..to("102", "A") };
        assert_eq!(closed.refusal(&pressed, NOW), None, "a spinner is no message");
        closed.heard_from(&ScopeSubject::new(&"102".into(), &Scope::new(Scene::Group, "A")));
        assert!(!refused("A"));
    }

    #[test]
    fn a_place_opens_by_time_and_says_why_it_was_closed() {
        let closed = Closed::default();
        closed.close(&to("102", "A"), Until::Window, NOW, &muted());
        let Some(Outcome::Rejected { code, sentence }) = closed.refusal(&to("102", "A"), NOW)
        else {
            panic!("a closed place refuses");
        };
        assert_eq!(code, 40_054_002);
        assert_eq!(
            sentence,
            "nothing is sent to this place before 1970-01-01T00:17:40.000Z: bot is muted"
        );
        assert!(closed.refusal(&to("102", "A"), NOW.plus(PUSH_WINDOW)).is_none());
    }

    #[test]
    fn a_parked_bot_does_not_silence_another() {
        let closed = Closed::default();
        closed.park(&"102".into(), NOW, &muted());
        assert!(closed.refusal(&to("102", "A"), NOW).is_some());
        assert!(closed.refusal(&to("103", "A"), NOW).is_none());
        assert!(closed.refusal(&to("102", "A"), NOW.plus(PARK_PROBE)).is_none());
    }
}
