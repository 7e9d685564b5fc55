//! What tells an event from every other of its bot, in whatever envelope and by whatever way it
//! came.

use std::borrow::Cow;

use super::rule::Key;
use crate::frame::Frame;
use crate::hash::sha256_hex;
use crate::id::AppId;
use crate::lenient::Raw;

/// The longest key that is written out, in bytes; real ones have up to 200. Ids go into headers and
/// into the keys of other stores.
const KEY_BYTES_MAX: usize = 512;

/// `<app>:<key>`; the key is what the event's type says, else the envelope's id, else a hash of
/// all that the event says. A key too long to be true is hashed.
///
/// The app is part of it because two bots in one guild see the same message under one id.
pub(super) fn event_id(app: &AppId, frame: &Frame<'_>, rule: Key, own: Option<&str>) -> String {
    let wire = frame.t.as_deref().unwrap_or_default();
    let envelope = || frame.id.as_deref().map(Cow::Borrowed);
    let own_and_type = || own.map(|own| Cow::Owned(format!("{own}:{wire}")));
    let key = match rule {
        Key::Envelope => envelope(),
        Key::Own => own.map(Cow::Borrowed).or_else(envelope),
        Key::OwnAndType => own_and_type().or_else(envelope),
        Key::EnvelopeOrOwnAndType => envelope().or_else(own_and_type),
    };
    let key = match key {
        Some(key) if key.len() <= KEY_BYTES_MAX => key,
        Some(key) => Cow::Owned(sha256_hex(key.as_bytes())),
        None => Cow::Owned(digest(wire, frame.payload())),
    };
    [app.as_str(), ":", &*key].concat()
}

/// SHA-256 over the type and the payload in one spelling.
fn digest(wire: &str, d: Raw<'_>) -> String {
    let mut text = wire.to_owned();
    write_canonical(&mut text, d);
    sha256_hex(text.as_bytes())
}

/// Writes JSON without blanks, with the members of objects in the order of their names, and with
/// texts escaped no more than they must be. Numbers stay as they were written.
///
/// A frame is never deeper than [`crate::frame::DEPTH_MAX`], so neither is this recursion.
fn write_canonical(out: &mut String, value: Raw<'_>) {
    if value.is_object() {
        let mut members = Vec::new();
        value.each_member(|name, value| {
            members.push((String::from_utf8_lossy(name).into_owned(), value));
        });
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        out.push('{');
        for (place, (name, value)) in members.into_iter().enumerate() {
            out.push_str(if place == 0 { "" } else { "," });
            write_text(out, &name);
            out.push(':');
            write_canonical(out, value);
        }
        out.push('}');
    } else if value.is_array() {
        out.push('[');
        for (place, item) in value.items().into_iter().enumerate() {
            out.push_str(if place == 0 { "" } else { "," });
            write_canonical(out, item);
        }
        out.push(']');
    } else if let Some(text) = value.text() {
        write_text(out, &text);
    } else {
        out.push_str(value.written().map_or("null", |raw| raw.get()));
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a text is always JSON"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(json: &str) -> String {
        let raw: &serde_json::value::RawValue = serde_json::from_str(json).expect("JSON");
        let mut text = String::new();
        write_canonical(&mut text, raw.into());
        text
    }

    #[test]
    fn the_same_payload_in_another_spelling_is_the_same() {
        let check = |json, expected: &str| assert_eq!(canonical(json), expected);
        check(r#" {"b" : [1, 2.50 ,"\u0061"] , "a":{ } } "#, r#"{"a":{},"b":[1,2.50,"a"]}"#);
        check(r#"[null,true,-0,1e400,{"a":1,"a":2}]"#, r#"[null,true,-0,1e400,{"a":1,"a":2}]"#);
        check(r#""\/\n\u00e9""#, r#""/\né""#);
        check("[]", "[]");
    }

    #[test]
    fn an_event_is_known_by_the_best_that_it_has() {
        let check = |frame: &str, rule, own, expected: &str| {
            let frame = Frame::parse(frame).expect("a frame");
            assert_eq!(event_id(&"102".into(), &frame, rule, own), expected);
        };
        let with_id = r#"{"op":0,"t":"X","id":"X:1","d":{"a":1}}"#;
        check(with_id, Key::Envelope, Some("own"), "102:X:1");
        check(with_id, Key::Own, Some("own"), "102:own");
        check(with_id, Key::Own, None, "102:X:1");
        check(with_id, Key::OwnAndType, Some("own"), "102:own:X");
        check(with_id, Key::OwnAndType, None, "102:X:1");
        check(with_id, Key::EnvelopeOrOwnAndType, Some("own"), "102:X:1");
        let without = r#"{"op":0,"t":"X","d":{ "a" : 1 }}"#;
        check(without, Key::EnvelopeOrOwnAndType, Some("own"), "102:own:X");
        let hash = format!("102:{}", sha256_hex(br#"X{"a":1}"#));
        check(without, Key::Envelope, Some("own"), &hash);
        check(without, Key::Own, None, &hash);
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        let hash = format!("102:{}", sha256_hex(long.as_bytes()));
        check(with_id, Key::Own, Some(&long), &hash);
        check(with_id, Key::Own, Some(&long[1..]), &format!("102:{}", &long[1..]));
    }

    proptest! {
        #[test]
        fn canonical_json_is_json_and_canonical(texts in prop::collection::vec(".{0,8}", 1..6)) {
            let json = serde_json::to_string(&texts).expect("texts are JSON");
            let once = canonical(&json);
            prop_assert_eq!(&canonical(&once), &once);
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&once).expect("JSON"), texts);
        }
    }
}
