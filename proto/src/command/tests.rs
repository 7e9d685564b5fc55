use super::*;
use crate::event::{ReplyRight, ReplyTarget};
use serde_json::{Value, json};

fn base() -> Value {
    json!({"v":1,"id":"102:m1/echo/0","app":"102","scene":"group","scope":"A1",
        "action":{"send":{"content":{"text":"pong"}}},"reply":{"msg_id":"m1"}})
}

/// The base with one member written over, or taken out by `null`.
fn with(member: &str, value: Value) -> Value {
    let mut command = base();
    let members = command.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.into(), value);
    }
    command
}

fn content(content: Value) -> Value {
    with("action", json!({"send":{"content":content}}))
}

fn read(json: &Value) -> Result<Command, CommandError> {
    Command::read(json.to_string().as_bytes(), TEXT_CHARS_MAX)
}

#[track_caller]
fn refused(json: &Value, sentence: &str) {
    let error = read(json).expect_err("it is wrong").to_string();
    assert!(error.contains(sentence), "{error:?} does not say {sentence:?}");
}

#[test]
fn a_command_survives_the_wire() {
    let mut full = base();
    let more = json!({"guild":"7","deadline":"2026-11-25T01:47:00.000Z","at_least_once":true,
        "reply":{"event_id":"e1","expires_at":"2026-11-25T01:48:00.000Z","limit":5},
        "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"});
    full.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    for json in [base(), full] {
        let command = read(&json).expect("it is right");
        assert_eq!(serde_json::to_value(&command).unwrap(), json);
    }
}

#[test]
fn an_events_reply_can_be_copied_into_a_command() {
    let targets = [ReplyTarget::MsgId("m1".into()), ReplyTarget::EventId("e1".into())];
    for (target, scene) in targets.into_iter().zip([Scene::C2c, Scene::Channel]) {
        let right = ReplyRight::new(target, scene, UnixMs(0)).expect("it can be answered");
        let reply = read(&with("reply", serde_json::to_value(&right).unwrap())).unwrap().reply;
        let reply = reply.expect("it is there");
        assert_eq!((reply.expires_at, reply.limit), (Some(right.expires_at), right.limit));
    }
}

#[test]
fn a_trace_that_is_none_does_not_cost_the_message() {
    let check = |text: &str, kept| {
        let command = read(&with("traceparent", json!(text))).unwrap();
        assert_eq!(command.traceparent.is_some(), kept, "{text}");
    };
    check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true);
    check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false);
    check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false);
    check("00-0af7651916cd43dd8448eb211c8031\r\n-b7ad6b7169203331-01", false);
    check("", false);
}

#[test]
fn every_mistake_is_named_with_its_fix() {
    let check = refused;
    check(&with("v", json!(2)), "at v: version 2 is not known to this release; write 1");
    check(&with("id", json!("")), "id is empty: give it a value");
    check(&with("id", json!("a\r\nNats-Rollup: all")), "id is longer than 256 bytes or holds");
    check(&with("id", json!("x".repeat(257))), "id is longer than 256 bytes");
    check(&with("scope", json!("..")), "scope is a dot or two");
    check(&with("scene", json!("guild")), "scene is guild, which takes no messages: use channel");
    check(&with("scene", json!("room")), "at scene: unknown variant `room`");
    check(&with("replly", json!({"msg_id":"m1"})), "unknown field `replly`");
    check(&with("reply", json!({})), "reply names nothing; give msg_id or event_id");
    check(
        &with("reply", json!({"msg_id":"m1","event_id":"e1"})),
        "reply names msg_id and event_id; give the one that is answered",
    );
    check(&with("reply", json!({"msg_id":""})), "reply.msg_id is empty");
    check(&with("deadline", json!("soon")), "\"soon\" is not a time as RFC 3339 has it");
    check(&with("action", Value::Null), "missing field `action`");
}

#[test]
fn every_mistake_in_the_content_is_named_with_its_fix() {
    let check = |json: Value, sentence| refused(&content(json), sentence);
    check(json!({}), "content is empty; give one of text, markdown");
    check(json!({"text":"a","markdown":{"content":"b"}}), "content holds text and markdown; give");
    check(json!({"text":" \n"}), "content.text is empty");
    check(json!({"text":"群".repeat(4_001)}), "has 4001 characters, the most is 4000: split it");
    check(json!({"markdown":{}}), "content.markdown is empty");
    check(json!({"markdown":{"content":" "}}), "content.markdown.content is empty");
    check(
        json!({"markdown":{"content":"a","template":{"id":"t"}}}),
        "content.markdown has content and template: give one of them",
    );
    let keyboard = |keyboard: Value| json!({"markdown":{"content":"a","keyboard":keyboard}});
    let rows = |rows: usize, width: usize| {
        let row = json!({"buttons":vec![json!({"id":"1"}); width]});
        keyboard(json!({"content":{"rows":vec![row; rows]}}))
    };
    check(keyboard(json!({})), "content.markdown.keyboard is empty");
    check(rows(6, 1), "6 rows of up to 1 buttons: use at most 5 by 5");
    check(rows(1, 6), "1 rows of up to 6 buttons");
    check(rows(0, 0), "keyboard.content.rows is empty");
    check(rows(1, 0), "keyboard.content.rows is empty");
    check(
        keyboard(json!({"id":"k","content":{"rows":[]}})),
        "content.markdown.keyboard has id and content",
    );
    check(json!({"embed":{"title":"t"}}), "content is embed, which the platform does not take");
    check(json!({"image":{"url":"https://example.com/a.png"}}), "content is image, which");
    check(json!({"media":{"file_info":""}}), "content.media.file_info is empty");
    assert!(read(&content(rows(5, 5))).is_ok());
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let mut command = content(json!({"text":""}));
    command["scope"] = json!("");
    let Err(CommandError::Invalid(problems)) = read(&command) else { panic!("it is wrong") };
    let expected = [Problem::Empty { field: "scope" }, Problem::Empty { field: "content.text" }];
    assert_eq!(problems, expected);
}

#[test]
fn an_acknowledgement_shows_nothing_and_answers_nothing() {
    let mut command = with("action", json!({"acknowledge":{"interaction":"i1","code":6}}));
    refused(&command, "action.acknowledge.code is 6: use 0 to 5");
    refused(&command, "reply is given for an action that shows nothing");
    command["action"]["acknowledge"]["code"] = json!(0);
    command.as_object_mut().unwrap().remove("reply");
    command["scene"] = json!("app");
    assert_eq!(read(&command).unwrap().resend(), Resend::Idempotent);
}

#[test]
fn what_is_no_command_is_refused_and_bounded() {
    let check = |json: &[u8]| assert!(Command::read(json, TEXT_CHARS_MAX).is_err());
    check(b"");
    check(b"null");
    check(b"[]");
    check(b"\xEF\xBB\xBF{}");
    check(format!("{}x", base()).as_bytes());
    check("[".repeat(100_000).as_bytes());
    let members: Vec<_> = base().as_object().unwrap().values().cloned().collect();
    let listed = read(&Value::from(members)).expect_err("a list names no members").to_string();
    assert!(listed.contains("a command"), "{listed}");
    let huge = content(json!({"ark":{"a":"x".repeat(Command::BYTES_MAX)}}));
    refused(&huge, "the most is 65536; send less at once");
    let text = base().to_string();
    for end in 0..text.len() {
        check(&text.as_bytes()[..end]);
    }
}

#[test]
fn only_a_reply_in_a_group_or_single_chat_is_recognised_when_it_comes_twice() {
    let check = |scene: &str, reply, expected| {
        let mut command = with("reply", reply);
        command["scene"] = json!(scene);
        assert_eq!(read(&command).unwrap().resend(), expected, "{scene}");
    };
    let reply = || json!({"msg_id":"m1"});
    check("group", reply(), Resend::Deduplicated);
    check("c2c", reply(), Resend::Deduplicated);
    check("c2c", Value::Null, Resend::ShownTwice);
    check("group", Value::Null, Resend::ShownTwice);
    check("channel", reply(), Resend::ShownTwice);
    check("dm", reply(), Resend::ShownTwice);
}
