//! A panic in the middle of our own code, where it says that a session lives.

use std::collections::BTreeSet;
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

static ARMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The next time that this process says of this session that it lives, whoever says so panics.
///
/// # Panics
///
/// Somebody else listens to what this process says.
pub fn panic_at_life(session: &str) {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let listener = tracing_subscriber::registry().with(FailPoint);
        tracing::subscriber::set_global_default(listener).expect("nobody else listens");
    });
    armed(|armed| armed.insert(session.to_owned()));
}

fn armed<T>(change: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
    change(&mut ARMED.lock().unwrap_or_else(PoisonError::into_inner))
}

struct FailPoint;

impl<S: Subscriber> Layer<S> for FailPoint {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        if said.message == "live" && armed(|armed| armed.remove(&said.session)) {
            panic!("a failpoint");
        }
    }
}

#[derive(Default)]
struct Said {
    message: String,
    session: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "session" {
            value.clone_into(&mut self.session);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}
