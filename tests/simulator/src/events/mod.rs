//! Events as the platform sends them, and how a test asks for one.

mod injection;
mod intent;
mod sample;

use std::sync::Arc;

use serde_json::Value;

pub use self::injection::{EnvelopeId, Injection};
pub use self::intent::intent_of;
pub(crate) use self::sample::Maker;

/// One event, complete: what is inside an envelope but for its sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The type.
    pub t: Arc<str>,
    /// The envelope's id, which replies to anything but a message name.
    pub id: Option<Arc<str>>,
    /// The payload, as a value to look into.
    pub d: Arc<Value>,
    /// The payload, as it goes out.
    pub text: Arc<str>,
}

impl Event {
    /// An event with this payload.
    #[must_use]
    pub fn new(t: &str, id: Option<String>, d: Value) -> Self {
        let text = d.to_string().into();
        Self { t: t.into(), id: id.map(Into::into), d: Arc::new(d), text }
    }

    /// An event whose payload goes out as this very text, however odd.
    #[must_use]
    pub fn verbatim(t: &str, id: Option<String>, text: &str) -> Self {
        let d = serde_json::from_str(text).unwrap_or(Value::Null);
        Self { t: t.into(), id: id.map(Into::into), d: Arc::new(d), text: text.into() }
    }

    /// The envelope under a sequence; of a callback, under none that means anything.
    #[must_use]
    pub fn envelope(&self, seq: u64) -> String {
        let t = Value::from(&*self.t);
        match &self.id {
            Some(id) => {
                let id = Value::from(&**id);
                format!(r#"{{"op":0,"s":{seq},"t":{t},"id":{id},"d":{}}}"#, self.text)
            }
            None => format!(r#"{{"op":0,"s":{seq},"t":{t},"d":{}}}"#, self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_envelope_is_one_json_object_with_the_payload_untouched() {
        let event = Event::new("A_B", Some("A_B:\"1".into()), json!({"id": "1"}));
        let parsed: Value = serde_json::from_str(&event.envelope(7)).unwrap();
        assert_eq!(parsed, json!({"op": 0, "s": 7, "t": "A_B", "id": "A_B:\"1", "d": {"id": "1"}}));
        let odd = Event::verbatim("X", None, r#"{"a":1e400,"a":2}"#);
        assert_eq!(odd.envelope(1), r#"{"op":0,"s":1,"t":"X","d":{"a":1e400,"a":2}}"#);
    }
}
