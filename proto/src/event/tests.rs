//! One fixture per type of event, and what holds for any payload whatever.
//!
//! `UPDATE_FIXTURES=1 cargo test -p qqrelay-proto` writes the expected events anew;
//! the difference is then for a person to read.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::frame::Frame;
use crate::id::{AppId, SessionId, UserId};
use crate::subject::{LogSubject, Partition, SourceSubject};

const GUILD: &str = "3326534247441079828";
const CHANNEL: &str = "1699792";
const FORUM: &str = "1700001";
const LIVE: &str = "1700002";
const DIRECT: &str = "9116583729411540022";
const GROUP: &str = "6B3E11A0C94D4F0D8A5B2C7E90F1D2A3";
const USER: &str = "D09A47F3E2B1405C96D7A8B9C0D1E2F3";

/// What tells an event from others: the envelope, or this.
enum Told {
    Envelope,
    By(&'static str),
}
use Told::{By, Envelope};

/// What may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    None,
    Message { seconds: u64, limit: Option<u8> },
    Event { seconds: u64, limit: Option<u8> },
}

const NEVER: Answers = Answers::None;
const IN_CHANNEL: Answers = Answers::Event { seconds: 285, limit: None };
const IN_GROUP: Answers = Answers::Event { seconds: 285, limit: Some(5) };
const WITH_USER: Answers = Answers::Event { seconds: 3585, limit: Some(4) };
const TO_CHANNEL_MESSAGE: Answers = Answers::Message { seconds: 285, limit: None };
const TO_GROUP_MESSAGE: Answers = Answers::Message { seconds: 285, limit: Some(5) };
const TO_USER_MESSAGE: Answers = Answers::Message { seconds: 3585, limit: Some(4) };

/// Type, scene, scope, identity, right to answer.
#[rustfmt::skip]
const EXPECTED: &[(&str, Scene, &str, Told, Answers)] = &[
    ("GUILD_CREATE", Scene::Guild, GUILD, Envelope, NEVER),
    ("GUILD_UPDATE", Scene::Guild, GUILD, Envelope, NEVER),
    ("GUILD_DELETE", Scene::Guild, GUILD, Envelope, NEVER),
    ("CHANNEL_CREATE", Scene::Guild, GUILD, Envelope, NEVER),
    ("CHANNEL_UPDATE", Scene::Guild, GUILD, Envelope, NEVER),
    ("CHANNEL_DELETE", Scene::Guild, GUILD, Envelope, NEVER),
    ("GUILD_MEMBER_ADD", Scene::Guild, GUILD, Envelope, IN_CHANNEL),
    ("GUILD_MEMBER_UPDATE", Scene::Guild, GUILD, Envelope, IN_CHANNEL),
    ("GUILD_MEMBER_REMOVE", Scene::Guild, GUILD, Envelope, IN_CHANNEL),
    ("AT_MESSAGE_CREATE", Scene::Channel, CHANNEL,
        By("08e0c2a1f4b3d7a5ee2e10c0df6738d1a201480c50f8a2d4c506"), TO_CHANNEL_MESSAGE),
    ("MESSAGE_CREATE", Scene::Channel, CHANNEL,
        By("08e0c2a1f4b3d7a5ee2e10c0df6738d2a201480c50f9a2d4c506"), TO_CHANNEL_MESSAGE),
    ("DIRECT_MESSAGE_CREATE", Scene::Dm, DIRECT,
        By("08e0c2a1f4b3d7a5ee2e10c0df6738d3"), TO_CHANNEL_MESSAGE),
    ("MESSAGE_DELETE", Scene::Channel, CHANNEL, Envelope, NEVER),
    ("PUBLIC_MESSAGE_DELETE", Scene::Channel, CHANNEL,
        By("08e0c2a1f4b3d7a5ee2e10c0df6738d1a201480c50f8a2d4c506:PUBLIC_MESSAGE_DELETE"), NEVER),
    ("DIRECT_MESSAGE_DELETE", Scene::Dm, DIRECT, Envelope, NEVER),
    ("MESSAGE_REACTION_ADD", Scene::Channel, CHANNEL, Envelope, IN_CHANNEL),
    ("MESSAGE_REACTION_REMOVE", Scene::Channel, CHANNEL, Envelope, IN_CHANNEL),
    ("MESSAGE_AUDIT_PASS", Scene::Channel, CHANNEL,
        By("5f60b782-0d3c-4a57-9d0e-2f1b5c7a8e90:MESSAGE_AUDIT_PASS"), NEVER),
    ("MESSAGE_AUDIT_REJECT", Scene::Channel, CHANNEL,
        By("5f60b782-0d3c-4a57-9d0e-2f1b5c7a8e90:MESSAGE_AUDIT_REJECT"), NEVER),
    ("FORUM_THREAD_CREATE", Scene::Channel, FORUM, Envelope, IN_CHANNEL),
    ("FORUM_THREAD_UPDATE", Scene::Channel, FORUM, Envelope, IN_CHANNEL),
    ("FORUM_THREAD_DELETE", Scene::Channel, FORUM, Envelope, IN_CHANNEL),
    ("FORUM_POST_CREATE", Scene::Channel, FORUM, Envelope, IN_CHANNEL),
    ("FORUM_POST_DELETE", Scene::Channel, FORUM, Envelope, IN_CHANNEL),
    ("FORUM_REPLY_CREATE", Scene::Channel, FORUM, Envelope, IN_CHANNEL),
    ("FORUM_REPLY_DELETE", Scene::Channel, FORUM, Envelope, IN_CHANNEL),
    ("FORUM_PUBLISH_AUDIT_RESULT", Scene::Channel, FORUM, Envelope, NEVER),
    ("OPEN_FORUM_THREAD_CREATE", Scene::Channel, FORUM, Envelope, NEVER),
    ("OPEN_FORUM_THREAD_UPDATE", Scene::Channel, FORUM, Envelope, NEVER),
    ("OPEN_FORUM_THREAD_DELETE", Scene::Channel, FORUM, Envelope, NEVER),
    ("OPEN_FORUM_POST_CREATE", Scene::Channel, FORUM, Envelope, NEVER),
    ("OPEN_FORUM_POST_DELETE", Scene::Channel, FORUM, Envelope, NEVER),
    ("OPEN_FORUM_REPLY_CREATE", Scene::Channel, FORUM, Envelope, NEVER),
    ("OPEN_FORUM_REPLY_DELETE", Scene::Channel, FORUM, Envelope, NEVER),
    ("AUDIO_START", Scene::Channel, LIVE, Envelope, NEVER),
    ("AUDIO_FINISH", Scene::Channel, LIVE, Envelope, NEVER),
    ("AUDIO_ON_MIC", Scene::Channel, LIVE, Envelope, NEVER),
    ("AUDIO_OFF_MIC", Scene::Channel, LIVE, Envelope, NEVER),
    ("AUDIO_OR_LIVE_CHANNEL_MEMBER_ENTER", Scene::Channel, LIVE, Envelope, NEVER),
    ("AUDIO_OR_LIVE_CHANNEL_MEMBER_EXIT", Scene::Channel, LIVE, Envelope, NEVER),
    ("C2C_MESSAGE_CREATE", Scene::C2c, USER, By("ROBOT1.0_pQ4dV.x-9_aB!!"), TO_USER_MESSAGE),
    ("GROUP_AT_MESSAGE_CREATE", Scene::Group, GROUP, By("ROBOT1.0_xYz0.-_!"), TO_GROUP_MESSAGE),
    ("GROUP_MESSAGE_CREATE", Scene::Group, GROUP, By("ROBOT1.0_xYz1"), TO_GROUP_MESSAGE),
    ("FRIEND_ADD", Scene::C2c, USER, Envelope, WITH_USER),
    ("FRIEND_DEL", Scene::C2c, USER, Envelope, NEVER),
    ("C2C_MSG_REJECT", Scene::C2c, USER, Envelope, NEVER),
    ("C2C_MSG_RECEIVE", Scene::C2c, USER, Envelope, WITH_USER),
    ("GROUP_ADD_ROBOT", Scene::Group, GROUP, Envelope, IN_GROUP),
    ("GROUP_DEL_ROBOT", Scene::Group, GROUP, Envelope, NEVER),
    ("GROUP_MSG_REJECT", Scene::Group, GROUP, Envelope, NEVER),
    ("GROUP_MSG_RECEIVE", Scene::Group, GROUP, Envelope, IN_GROUP),
    ("GROUP_MEMBER_ADD", Scene::Group, GROUP, Envelope, NEVER),
    ("GROUP_MEMBER_REMOVE", Scene::Group, GROUP, Envelope, NEVER),
    ("GROUP_JOIN_REQUEST", Scene::Group, GROUP,
        By("jr-k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3k3"),
        NEVER),
    ("SUBSCRIBE_MESSAGE_STATUS", Scene::C2c, USER, Envelope, NEVER),
    ("INTERACTION_CREATE", Scene::Group, GROUP,
        By("e7a4d0f2-3b1c-4d5e-8f90-a1b2c3d4e5f6"), IN_GROUP),
    ("ENTER_AIO", Scene::C2c, USER, Envelope, NEVER),
];

/// A minute after the fixtures' last event, so that every time in them is past.
const RECEIVED: UnixMs = UnixMs(1_788_228_720_250);

struct Bot {
    app: AppId,
    user: UserId,
    session: SessionId,
}

impl Bot {
    fn new() -> Self {
        let [app, user, session] = ["102000001", "8834102668809967837", "0b7d5a1c"];
        Self { app: app.into(), user: user.into(), session: session.into() }
    }

    fn source() -> Source {
        Source::Shard(ShardId::new(0, 4).expect("0 is below 4"))
    }

    fn arrival(&self) -> Arrival<'_> {
        Arrival {
            app: &self.app,
            bot: Some(&self.user),
            source: Self::source(),
            session: Some(&self.session),
            received: RECEIVED,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may look for its own switch")]
fn is_updating() -> bool {
    std::env::var("UPDATE_FIXTURES").is_ok()
}

#[expect(clippy::disallowed_methods, reason = "tests read their fixtures")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares with a file that is checked in, or writes it.
#[track_caller]
fn same_as_file(name: &str, text: &str) {
    let path = folder().join(name);
    if is_updating() {
        #[expect(clippy::disallowed_methods, reason = "tests write their fixtures when told to")]
        std::fs::write(&path, text).expect("the tree can be written");
    }
    assert_eq!(read(&path), text, "{name} differs; UPDATE_FIXTURES=1 writes it anew");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn fixture(wire: &str) -> String {
    read(&folder().join(format!("fixtures/{wire}.json")))
}

fn json(event: &Event<'_>) -> String {
    let mut buffer = Vec::new();
    event.write(&mut buffer);
    String::from_utf8(buffer).expect("JSON is UTF-8")
}

/// The event for people: one member a line, `raw` left out because the fixture is it.
fn shown(event: &Event<'_>) -> String {
    let mut event = event.clone();
    event.raw = None;
    serde_json::to_string_pretty(&event).expect("an event is JSON") + "\n"
}

#[test]
fn every_type_has_a_fixture_and_its_event_is_as_expected() {
    let kinds = EventKind::ALL.iter().filter(|kind| **kind != EventKind::Unknown);
    let mut known: Vec<_> = kinds.flat_map(|kind| kind.wire_types()).copied().collect();
    let mut expected: Vec<_> = EXPECTED.iter().map(|(wire, ..)| *wire).collect();
    known.sort_unstable();
    expected.sort_unstable();
    assert_eq!(known, expected);
    for wire in known {
        let text = fixture(wire);
        let frame = Frame::parse(&text).expect(wire);
        let bot = Bot::new();
        let event = normalise(&frame, bot.arrival()).expect(wire);
        assert_eq!(event.kind, EventKind::of_wire(wire));
        same_as_file(&format!("fixtures/{wire}.event.json"), &shown(&event));
    }
}

#[test]
fn every_type_has_its_place_its_identity_and_its_right_to_an_answer() {
    for (wire, scene, scope, told, answers) in EXPECTED {
        let text = fixture(wire);
        let frame = Frame::parse(&text).expect(wire);
        assert_eq!(frame.t.as_deref(), Some(*wire));
        let bot = Bot::new();
        let event = normalise(&frame, bot.arrival()).expect(wire);
        assert_eq!(event.place(), Scope::new(*scene, *scope), "{wire}");
        let key = match told {
            Envelope => frame.id.as_deref().expect("the fixture has one"),
            By(key) => key,
        };
        assert_eq!(event.id.as_str(), format!("102000001:{key}"), "{wire}");
        assert_eq!(right(&event, &frame), *answers, "{wire}");
    }
}

/// The right to answer, its end counted from the event's time or else from its arrival.
fn right(event: &Event<'_>, frame: &Frame<'_>) -> Answers {
    let Some(right) = &event.reply else { return Answers::None };
    let at = event.time.as_deref().map_or(RECEIVED, |time| UnixMs::parse(time).expect("a time"));
    let (seconds, limit) = (right.expires_at.since(at).as_secs(), right.limit);
    match &right.to {
        ReplyTarget::MsgId(id) => {
            assert_eq!(event.message.as_ref().and_then(|message| message.id.as_ref()), Some(id));
            Answers::Message { seconds, limit }
        }
        ReplyTarget::EventId(id) => {
            assert_eq!(frame.id.as_deref(), Some(id.as_str()));
            Answers::Event { seconds, limit }
        }
    }
}

#[test]
fn an_event_reads_back_as_it_was_written() {
    for (wire, ..) in EXPECTED {
        let text = fixture(wire);
        let frame = Frame::parse(&text).expect(wire);
        let bot = Bot::new();
        let event = normalise(&frame, bot.arrival()).expect(wire);
        let written = json(&event);
        let read = Event::parse(&written).expect(wire);
        assert_eq!(json(&read), written);
        assert_eq!(read.raw.map(RawValue::get), frame.d.map(RawValue::get), "{wire}");
    }
}

fn event_of(frame: &str, check: impl FnOnce(&Event<'_>)) {
    let frame = Frame::parse(frame).expect("a frame");
    let bot = Bot::new();
    check(&normalise(&frame, bot.arrival()).expect("a dispatch"));
}

#[test]
fn what_is_no_event_says_so() {
    let check = |frame: &str, expected| {
        let frame = Frame::parse(frame).expect("a frame");
        let bot = Bot::new();
        assert_eq!(normalise(&frame, bot.arrival()).err(), Some(expected));
    };
    check(r#"{"op":0,"s":1,"t":"READY","d":{}}"#, Unrelayable::Session);
    check(r#"{"op":0,"s":1,"t":"RESUMED","d":""}"#, Unrelayable::Session);
    check(r#"{"op":0,"s":1,"d":{}}"#, Unrelayable::NoType);
    check(r#"{"op":7}"#, Unrelayable::NoDispatch);
}

#[test]
fn a_type_we_have_not_met_is_relayed() {
    event_of(r#"{"op":0,"s":9,"t":"NEW.>*","id":"N:1","d":{"group_openid":"G"}}"#, |event| {
        assert_eq!((event.kind, event.wire_type.as_str()), (EventKind::Unknown, "NEW.>*"));
        assert_eq!(event.place(), Scope::new(Scene::Group, "G"));
        assert_eq!(event.id.as_str(), "102000001:N:1");
    });
    event_of(r#"{"op":0,"s":9,"t":"NEW","d":null}"#, |event| {
        assert_eq!(event.place(), Scope::new(Scene::App, "102000001"));
        assert_eq!(event.raw.map(RawValue::get), Some("null"));
        assert!(Event::parse(&json(event)).expect("an event").raw.is_some());
    });
    event_of(r#"{"op":0,"s":9,"t":""}"#, |event| assert_eq!(event.kind, EventKind::Unknown));
}

#[test]
fn members_of_another_type_are_absent_and_cost_no_other() {
    let odd = r#"{"op":0,"s":9,"t":"GROUP_AT_MESSAGE_CREATE","id":"E","d":{"id":7,"group_openid":6,
        "author":{"member_openid":5,"member_role":[],"username":{},"bot":"yes"},"content":[1],
        "timestamp":"soon","mentions":{"0":1},"attachments":[null,{"url":1},{"size":1}],
        "message_type":"103","msg_elements":"x","message_scene":[]}}"#;
    event_of(odd, |event| {
        assert_eq!(event.place(), Scope::new(Scene::Group, "6"));
        assert_eq!(event.id.as_str(), "102000001:7");
        assert_eq!(event.time, None);
        let message = event.message.as_ref().expect("a message");
        assert_eq!(message.text.as_deref(), Some(""));
        let author = message.author.as_ref().expect("an author");
        assert_eq!(author.id.as_deref(), Some("5"));
        assert_eq!((&author.role, &author.name, author.bot), (&None, &None, false));
        assert_eq!(message.attachments.len(), 0);
        let right = event.reply.as_ref().expect("a message can be answered");
        assert_eq!(right.expires_at.since(RECEIVED).as_secs(), 285, "counted from its arrival");
    });
    event_of(r#"{"op":0,"s":9,"t":"C2C_MESSAGE_CREATE","id":"E","d":7}"#, |event| {
        assert_eq!(event.place(), Scope::new(Scene::App, "102000001"));
        assert_eq!(event.id.as_str(), "102000001:E");
        assert_eq!(event.reply, None, "nothing to name in the answer");
    });
}

#[test]
fn a_group_members_id_in_single_chats_is_no_place() {
    let frame = r#"{"op":0,"s":9,"t":"GROUP_MEMBER_ADD","id":"E",
        "d":{"member_openid":"M","user_openid":"U"}}"#;
    event_of(frame, |event| assert_eq!(event.scene, Scene::App, "the group is not told"));
}

#[test]
fn the_inner_type_of_an_interaction_holds() {
    let check = |d: &str, expected: (Option<i64>, Option<&str>, bool)| {
        let frame = format!(r#"{{"op":0,"s":9,"t":"INTERACTION_CREATE","id":"E","d":{d}}}"#);
        event_of(&frame, |event| {
            let read = event.interaction.as_ref().expect("an interaction");
            let found = (read.interaction_type, read.name.as_deref(), read.needs_ack);
            assert_eq!(found, expected, "{d}");
        });
    };
    check(r#"{"type":2,"data":{"type":9}}"#, (Some(9), Some("search"), true));
    check(r#"{"type":12,"data":{}}"#, (Some(12), Some("menu"), true));
    check(r#"{"type":13}"#, (Some(13), Some("feedback"), false));
    check(r#"{"type":77}"#, (Some(77), None, false));
    check(r#"{"type":"button"}"#, (None, None, false));
}

#[test]
fn one_message_in_two_envelopes_is_one_event() {
    let frame = |wire: &str, id: &str| {
        format!(r#"{{"op":0,"s":9,"t":"{wire}","id":"{id}","d":{{"id":"M","channel_id":"2"}}}}"#)
    };
    let id = |frame: &str| {
        let mut id = String::new();
        event_of(frame, |event| id = event.id.to_string());
        id
    };
    assert_eq!(id(&frame("MESSAGE_CREATE", "A")), id(&frame("AT_MESSAGE_CREATE", "B")));
}

#[test]
fn a_platform_clock_ahead_of_ours_makes_no_window_longer() {
    let frame = r#"{"op":0,"s":9,"t":"C2C_MESSAGE_CREATE","id":"E",
        "d":{"id":"M","author":{"user_openid":"U"},"timestamp":"2027-01-01T00:00:00Z"}}"#;
    event_of(frame, |event| {
        let right = event.reply.as_ref().expect("a message can be answered");
        assert_eq!(right.expires_at.since(RECEIVED).as_secs(), 3585);
    });
}

#[test]
fn without_raw_an_event_says_so() {
    event_of(r#"{"op":0,"s":9,"t":"NEW","d":{"a":1}}"#, |event| {
        let mut event = event.clone();
        event.drop_raw();
        event.drop_raw();
        let written = json(&event);
        assert!(written.ends_with(r#""raw_dropped":true}"#), "{written}");
        assert!(Event::parse(&written).expect("an event").raw.is_none());
    });
}

#[test]
fn a_later_version_and_what_is_no_event_are_refused() {
    event_of(r#"{"op":0,"s":9,"t":"NEW","d":1}"#, |event| {
        let later = json(event).replacen(r#""v":1"#, r#""v":2"#, 1);
        assert!(matches!(Event::parse(&later), Err(EventError::Version(2))));
        let wider = json(event).replacen(r#""v":1"#, r#""v":1,"new":[{}]"#, 1);
        assert!(Event::parse(&wider).is_ok(), "members may be added");
    });
    assert!(matches!(Event::parse("{}"), Err(EventError::Unreadable(_))));
}

/// JSON of any shape, in which the names that we look for are common.
fn any_json() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "id",
        "author",
        "content",
        "guild_id",
        "channel_id",
        "group_openid",
        "openid",
        "user",
        "user_openid",
        "member_openid",
        "mentions",
        "attachments",
        "url",
        "timestamp",
        "message",
        "message_type",
        "msg_elements",
        "message_scene",
        "ext",
        "thread_info",
        "title",
        "target",
        "type",
        "emoji",
        "data",
        "resolved",
        "result",
        "roles",
        "member",
        "op_user",
        "x",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1e400".to_owned()),
        Just("-0".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        Just(r#"" /a <@1> &amp; ""#.to_owned()),
        Just(r#""103""#.to_owned()),
        Just("103".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "[0-9]{30}".prop_map(|digits| format!("1{digits}")),
        ".{0,12}".prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        let member = (names.clone(), inner.clone());
        let object = prop::collection::vec(member, 0..6).prop_map(|members| {
            let members: Vec<_> =
                members.into_iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let array =
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,")));
        prop_oneof![3 => object, 1 => array]
    })
}

fn any_type() -> impl Strategy<Value = String> {
    let known: Vec<_> = EventKind::ALL.iter().flat_map(|kind| kind.wire_types()).collect();
    prop_oneof![9 => prop::sample::select(known).prop_map(|wire| (*wire).to_owned()), 1 => ".{0,9}"]
}

proptest! {
    #[test]
    fn any_payload_of_any_type_is_relayed_with_raw_as_it_was(
        wire in any_type(),
        d in any_json(),
        envelope in prop::option::of(".{0,9}"),
    ) {
        let quoted = |text: &String| serde_json::to_string(text).expect("a text is JSON");
        let id = envelope.as_ref().map_or_else(|| "null".into(), quoted);
        let text = format!(r#"{{"op":0,"s":9,"t":{},"id":{id},"d":{d}}}"#, quoted(&wire));
        prop_assume!(wire != "READY" && wire != "RESUMED");
        let frame = Frame::parse(&text).expect("a frame");
        let bot = Bot::new();
        let event = normalise(&frame, bot.arrival()).expect("every dispatch is an event");

        let written = json(&event);
        prop_assert_eq!(&written, &json(&normalise(&frame, bot.arrival()).expect("the same")));
        let read = Event::parse(&written).expect("what is written can be read");
        prop_assert_eq!(read.raw.map(RawValue::get), Some(d.as_str()));
        prop_assert_eq!(&json(&read), &written);

        prop_assert!(event.id.starts_with("102000001:") && event.id.len() > "102000001:".len());
        let source = SourceSubject::new(Partition::Chain(3), &bot.app, Bot::source());
        let subject = source.event(&event.place(), event.kind);
        prop_assert!(subject.parse::<LogSubject>().is_ok(), "{}", subject);
    }
}
