//! What a test asks the platform to send: as little as it cares about, or everything.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Event;
use super::sample::{self, Maker};

/// An event to send. Whatever is not said is made up as the platform would fill it in: fresh ids,
/// the time, an author.
///
/// ```
/// use qqrelay_simulator::events::Injection;
/// use serde_json::json;
///
/// let ping = Injection::group_at("G1", "U1", "/ping");
/// let old = ping.clone().with(json!({"timestamp": "2020-01-01T00:00:00+08:00"}));
/// let odd = Injection::of("CHANNEL_CREATE").with(json!({"guild_id": null}));
/// # let _ = (old, odd);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// The type; one that the platform does not know is sent just as well.
    pub t: String,
    /// Members of the payload that replace or add to what is made up; a null takes one away.
    #[serde(default)]
    pub d: Value,
    /// The envelope's id.
    #[serde(default)]
    pub id: EnvelopeId,
    /// The whole payload as this very JSON text, in place of `d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbatim: Option<String>,
}

/// The id outside of the payload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvelopeId {
    /// A new one in the platform's form, `<type>:<opaque>`.
    #[default]
    Fresh,
    /// None at all.
    Absent,
    /// This one.
    Is(String),
}

impl Injection {
    /// An event of this type, made up altogether.
    #[must_use]
    pub fn of(t: &str) -> Self {
        Self { t: t.to_owned(), d: Value::Null, id: EnvelopeId::Fresh, verbatim: None }
    }

    /// An event whose payload is this JSON text, however odd.
    #[must_use]
    pub fn verbatim(t: &str, text: &str) -> Self {
        Self { verbatim: Some(text.to_owned()), ..Self::of(t) }
    }

    /// A group message that mentions the bot.
    #[must_use]
    pub fn group_at(group: &str, member: &str, text: &str) -> Self {
        Self::of("GROUP_AT_MESSAGE_CREATE").in_group(group, member, text)
    }

    /// A group message that does not.
    #[must_use]
    pub fn group_message(group: &str, member: &str, text: &str) -> Self {
        Self::of("GROUP_MESSAGE_CREATE").in_group(group, member, text)
    }

    /// A message in a single chat.
    #[must_use]
    pub fn c2c(user: &str, text: &str) -> Self {
        let d = json!({"author": {"user_openid": user}, "content": text});
        Self::of("C2C_MESSAGE_CREATE").with(d)
    }

    /// A channel message that mentions the bot.
    #[must_use]
    pub fn at(guild: &str, channel: &str, user: &str, text: &str) -> Self {
        let t = "AT_MESSAGE_CREATE";
        Self::of(t).in_channel(guild, channel, user).with(json!({"content": text}))
    }

    /// A channel message as private-domain bots see it.
    #[must_use]
    pub fn channel_message(guild: &str, channel: &str, user: &str, text: &str) -> Self {
        let t = "MESSAGE_CREATE";
        Self::of(t).in_channel(guild, channel, user).with(json!({"content": text}))
    }

    /// A guild's direct message; `guild` is the virtual one that replies go to.
    #[must_use]
    pub fn direct(guild: &str, user: &str, text: &str) -> Self {
        let d = json!({"guild_id": guild, "author": {"id": user}, "content": text});
        Self::of("DIRECT_MESSAGE_CREATE").with(d)
    }

    /// A button pressed in a group.
    #[must_use]
    pub fn group_button(group: &str, member: &str, data: &str) -> Self {
        let place = json!({"scene": "group", "group_openid": group, "group_member_openid": member});
        Self::of("INTERACTION_CREATE").with(place).with(button(data))
    }

    /// A button pressed in a single chat.
    #[must_use]
    pub fn c2c_button(user: &str, data: &str) -> Self {
        let place = json!({"scene": "c2c", "user_openid": user});
        Self::of("INTERACTION_CREATE").with(place).with(button(data))
    }

    /// Changes the payload: objects are joined, everything else is replaced, a null takes away.
    #[must_use]
    pub fn with(mut self, members: Value) -> Self {
        if self.d.is_null() {
            self.d = members;
        } else {
            join(&mut self.d, members, Nulls::Keep);
        }
        self
    }

    /// Gives the envelope this id.
    #[must_use]
    pub fn with_id(mut self, id: EnvelopeId) -> Self {
        self.id = id;
        self
    }

    fn in_group(self, group: &str, member: &str, text: &str) -> Self {
        let author = json!({"member_openid": member});
        self.with(json!({"group_openid": group, "author": author, "content": text}))
    }

    fn in_channel(self, guild: &str, channel: &str, user: &str) -> Self {
        self.with(json!({"guild_id": guild, "channel_id": channel, "author": {"id": user}}))
    }

    /// The event, complete.
    pub(crate) fn complete(&self, maker: &Maker<'_>) -> Event {
        let id = match &self.id {
            EnvelopeId::Fresh => Some(format!("{}:{}", self.t, maker.opaque())),
            EnvelopeId::Absent => None,
            EnvelopeId::Is(id) => Some(id.clone()),
        };
        if let Some(text) = &self.verbatim {
            return Event::verbatim(&self.t, id, text);
        }
        let d = match sample::of(&self.t, maker) {
            Some(mut d) if self.d.is_object() => {
                join(&mut d, self.d.clone(), Nulls::TakeAway);
                d
            }
            Some(d) if self.d.is_null() => d,
            _ => self.d.clone(),
        };
        Event::new(&self.t, id, d)
    }
}

fn button(data: &str) -> Value {
    json!({"data": {"resolved": {"button_data": data}}})
}

/// What a null in a change means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    /// It stays, for a later change.
    Keep,
    /// It takes the member away.
    TakeAway,
}

fn join(into: &mut Value, change: Value, nulls: Nulls) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (name, value) in change {
                if value.is_null() && nulls == Nulls::TakeAway {
                    into.remove(&name);
                } else {
                    join(into.entry(name).or_insert(Value::Null), value, nulls);
                }
            }
        }
        (into, change) => *into = change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{App, AppConfig};
    use crate::dice::Dice;
    use crate::events::intent::TABLE;
    use crate::shard::Place;

    fn complete(injection: &Injection) -> Event {
        let app = App::new(AppConfig::new("102", "secret"));
        let (dice, at) = (Dice::new(1), 1_788_228_000_000);
        injection.complete(&Maker::new(&dice, &app, &injection.d, at, 7))
    }

    #[test]
    fn every_subscribable_event_can_be_made_up_and_has_a_place() {
        for t in TABLE.iter().flat_map(|(_, types)| types.iter()) {
            let event = complete(&Injection::of(t));
            assert!(event.d.as_object().is_some_and(|d| d.len() > 1), "{t}: {}", event.text);
            assert_ne!(Place::of(t, &event.d), Place::Nowhere, "{t}");
            assert!(event.id.is_some_and(|id| id.starts_with(&format!("{t}:"))), "{t}");
        }
    }

    #[test]
    fn what_is_asked_for_is_what_comes_and_the_rest_agrees_with_it() {
        let event = complete(&Injection::group_at("G1", "U1", "/ping"));
        assert_eq!(event.d["group_openid"], "G1");
        assert_eq!(event.d["group_id"], "G1");
        assert_eq!(event.d["author"]["member_openid"], "U1");
        assert_eq!(event.d["author"]["id"], "U1");
        assert_eq!(event.d["content"], "/ping");
        assert_eq!(event.d["timestamp"], "2026-09-01T10:00:00+08:00");
        let event = complete(&Injection::c2c_button("U1", "again"));
        assert_eq!(event.d["chat_type"], 2);
        assert_eq!(event.d["data"]["resolved"]["button_data"], "again");
    }

    #[test]
    fn members_can_be_changed_and_taken_away() {
        let injection = Injection::c2c("U1", "hi")
            .with(json!({"author": {"username": "n"}, "id": null}))
            .with(json!({"content": 7}));
        let d = complete(&injection).d;
        assert_eq!(d["author"]["user_openid"], "U1");
        assert_eq!(d["author"]["username"], "n");
        assert_eq!((d.get("id"), &d["content"]), (None, &json!(7)));
    }

    #[test]
    fn a_type_from_the_future_is_sent_as_it_is_given() {
        let event = complete(&Injection::of("NEW_THING").with(json!({"a": null})));
        assert_eq!(event.text.as_ref(), r#"{"a":null}"#);
        let event = complete(&Injection::verbatim("NEW_THING", r#"{"a":1,"a":2}"#));
        assert_eq!(event.text.as_ref(), r#"{"a":1,"a":2}"#);
    }
}
