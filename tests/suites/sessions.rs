//! What the platform or the network can do to a session's socket, a fault each.
//!
//! Every stage is judged against the platform's journal when its test is over: nothing lost, nothing
//! twice, nothing out of order, and no sequence named that was not durable.

use std::time::Duration;

use qqrelay_gateway::Phase;
use qqrelay_proto::record::{Gap, GapReason, Stored};
use qqrelay_simulator::config::Refusal;
use qqrelay_simulator::control::{Arming, Lapse, RawBytes};
use qqrelay_simulator::faults::Armed;
use qqrelay_simulator::gateway::fault::SocketFault;
use qqrelay_simulator::gateway::session::Silence;
use qqrelay_simulator::journal::{By, Entry};
use qqrelay_simulator::{Action, Config as PlatformConfig, Injection, Target};
use qqrelay_tests::failpoint::panic_at_life;
use qqrelay_tests::invariants::Owed;
use qqrelay_tests::stage::{APP, Stage};
use qqrelay_tests::wait::within;
use serde_json::json;

/// Longer than the minute for which a shard is left alone that has failed three times in a row.
const BEYOND_THE_LADDER: Duration = Duration::from_secs(100);

fn everybody() -> Target {
    Target::default()
}

fn close(code: u16) -> Action {
    Action::Close { target: everybody(), code: Some(code), reason: String::new() }
}

fn cut() -> Action {
    Action::Cut { target: everybody() }
}

fn reconnect(after: Option<Duration>) -> Action {
    Action::Reconnect { target: everybody(), code: 4009, after }
}

fn invalid(resumable: bool) -> Action {
    Action::InvalidSession { target: everybody(), resumable, code: 4006 }
}

fn raw(text: &str) -> Action {
    Action::Raw { target: everybody(), bytes: RawBytes::Text(text.to_owned()) }
}

fn next(fault: SocketFault) -> Action {
    Action::Arm(Arming::Socket(Armed::next(1, fault)))
}

fn gap_of(stored: &Stored) -> Gap {
    serde_json::from_slice(&stored.record.payload).expect("a gap")
}

fn is_heartbeat(entry: &Entry) -> bool {
    matches!(entry, Entry::Heartbeat { .. })
}

fn is_resume(entry: &Entry) -> bool {
    matches!(entry, Entry::Resume { .. })
}

/// A platform whose heartbeats come as quickly as we ever send them.
fn quick() -> PlatformConfig {
    PlatformConfig { heartbeat_interval: Duration::from_secs(5), ..PlatformConfig::default() }
}

/// A platform that lets a bot begin sessions as fast as it likes.
fn lavish() -> PlatformConfig {
    let mut platform = PlatformConfig::default();
    platform.gateway.max_concurrency = 100;
    platform
}

/// Says something, and lets the stage judge that the session went on as it was.
async fn goes_on(mut stage: Stage) {
    stage.say("afterwards");
    stage.expected.identifies = Some(1);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_a_connection_that_is_reset_or_hung_up_is_resumed() {
    let stage = Stage::live().await;
    stage.say("before");
    for (number, end) in [cut(), Action::HangUp { target: everybody() }].iter().enumerate() {
        stage.perform(end);
        stage.say("while away");
        stage.resumed(number + 1).await;
    }
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_heartbeats_that_nobody_answers_end_nothing_while_events_come() {
    let mut stage = Stage::of(quick(), 1, |_| {}).await;
    stage.start().await;
    stage.all_live().await;
    let silence = Silence { acks: true, dispatches: false };
    stage.perform(&Action::Silence { target: everybody(), silence });
    within(BEYOND_THE_LADDER, "three heartbeats", async || {
        stage.say("I am here");
        (stage.count(is_heartbeat) >= 3).then_some(())
    })
    .await
    .expect("heartbeats go on");
    assert_eq!(stage.count(is_resume), 0);
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d2_d5_a_socket_on_which_nothing_comes_any_more_is_left_and_the_session_resumed() {
    let mut stage = Stage::of(quick(), 1, |_| {}).await;
    stage.start().await;
    stage.all_live().await;
    let silent = Silence { acks: true, dispatches: true };
    stage.perform(&Action::Silence { target: everybody(), silence: silent });
    stage.seen("a resume", 1, is_resume).await;
    stage.perform(&Action::Silence { target: everybody(), silence: Silence::default() });
    let codes = stage.journal().into_iter().filter_map(|line| match line.entry {
        Entry::Close { by: By::Client, code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(codes.collect::<Vec<_>>(), [Some(4000)], "a code that keeps the session");
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d7_a_heartbeat_is_sent_when_the_platform_asks_for_one() {
    let stage = Stage::live().await;
    let before = stage.count(is_heartbeat);
    stage.perform(&raw(r#"{"op":1}"#));
    stage.seen("a heartbeat", before + 1, is_heartbeat).await;
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_op_7_is_answered_by_a_resume_of_the_same_session() {
    let stage = Stage::live().await;
    stage.perform(&reconnect(None));
    stage.resumed(1).await;
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d9_op_7_again_and_again_is_answered_each_time_without_a_break() {
    let stage = Stage::live().await;
    for number in 1..=12 {
        stage.perform(&reconnect(None));
        stage.resumed(number).await;
        stage.all_live().await;
    }
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_op_7_with_a_close_right_behind_it_is_one_reconnect() {
    let stage = Stage::live().await;
    stage.perform(&reconnect(Some(Duration::ZERO)));
    stage.resumed(1).await;
    stage.all_live().await;
    assert_eq!(stage.count(is_resume), 1);
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_a_session_that_may_be_resumed_after_op_9_is_resumed() {
    let stage = Stage::live().await;
    stage.perform(&invalid(true));
    stage.resumed(1).await;
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_session_that_is_refused_leaves_a_gap_and_a_new_one_begins() {
    const REFUSALS: [&str; 4] =
        [r#"{"op":9,"d":false}"#, r#"{"op":9}"#, r#"{"op":9,"d":"true"}"#, r#"{"op":9,"d":1}"#];
    let count = u16::try_from(REFUSALS.len()).expect("a few");
    let mut stage = Stage::of(lavish(), count, |_| {}).await;
    stage.start().await;
    stage.all_live().await;
    stage.settle().await;
    let before = stage.shards();
    for (index, refusal) in (0..).zip(REFUSALS) {
        let target = Target::shard(APP, index, u32::from(count));
        let bytes = RawBytes::Text(refusal.to_owned());
        stage.perform(&Action::Raw { target, bytes });
    }
    stage.identified(2 * REFUSALS.len()).await;
    let log = stage.log().await;
    for shard in before {
        let gaps = log.iter().map(|(_, stored)| stored);
        let gaps = gaps.filter(|stored| stored.record.subject.ends_with(".gap")).map(gap_of);
        let gaps: Vec<_> = gaps.filter(|gap| gap.session == shard.session).collect();
        let [gap] = &gaps[..] else { panic!("{shard:?} has {gaps:?}") };
        assert_eq!(Some(gap.after), shard.durable);
        assert_eq!((gap.until, gap.reason), (None, GapReason::SessionInvalid));
    }
    stage.say("afterwards");
    stage.expected.identifies = Some(2 * REFUSALS.len());
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_a_refused_identify_is_tried_again_at_the_platforms_pace() {
    let mut stage = Stage::of(PlatformConfig::default(), 1, |_| {}).await;
    let refusal = SocketFault::RefuseIdentify(Refusal::InvalidSession(4903));
    stage.arm(&Action::Arm(Arming::Socket(Armed::next(2, refusal))));
    stage.start().await;
    stage.identified(3).await;
    stage.expected.identifies = Some(3);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_whose_identify_is_refused_every_time_is_parked_with_the_reason() {
    let mut stage = Stage::of(lavish(), 1, |_| {}).await;
    let refusal = SocketFault::RefuseIdentify(Refusal::InvalidSession(4903));
    stage.arm(&Action::Arm(Arming::Socket(Armed::always(refusal))));
    stage.start().await;
    assert_eq!(stage.parked().await, "identify_refused");
    assert_eq!(stage.identifies(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_a_socket_without_hello_is_left_and_another_tried() {
    let second = Duration::from_secs(1);
    let adapt =
        |config: &mut qqrelay_runtime::config::Config| config.gateway.hello_timeout = second;
    let mut stage = Stage::of(PlatformConfig::default(), 1, adapt).await;
    stage.arm(&next(SocketFault::NoHello));
    stage.start().await;
    stage.all_live().await;
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d15_an_impossible_heartbeat_interval_is_put_right() {
    let stage = Stage::live().await;
    let intervals = [json!(0), json!(1), json!(-1), json!(1e12), json!("soon"), json!(null)];
    for (number, interval) in intervals.iter().enumerate() {
        stage.arm(&next(SocketFault::HelloInterval(interval.clone())));
        stage.perform(&reconnect(None));
        stage.resumed(number + 1).await;
        stage.all_live().await;
        stage.say("how are you");
        stage.settle().await;
    }
    // A millisecond taken by its word would be thousands.
    assert!(stage.count(is_heartbeat) < 100, "{} heartbeats", stage.count(is_heartbeat));
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d16_an_identify_without_ready_is_tried_again_and_counted() {
    let second = Duration::from_secs(1);
    let adapt =
        |config: &mut qqrelay_runtime::config::Config| config.gateway.ready_timeout = second;
    let mut stage = Stage::of(lavish(), 1, adapt).await;
    stage.arm(&next(SocketFault::NoReady));
    stage.start().await;
    stage.identified(2).await;
    stage.expected.identifies = Some(2);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d17_a_ready_of_another_bot_parks_the_shard_and_stores_nothing_of_it() {
    let mut stage = Stage::of(lavish(), 1, |_| {}).await;
    stage.start().await;
    stage.all_live().await;
    stage.arm(&next(SocketFault::ReadyAs(json!({"user": {"id": "4711"}}))));
    stage.perform(&invalid(false));
    assert_eq!(stage.parked().await, "other_bot");
}

#[tokio::test(flavor = "multi_thread")]
async fn d17_a_ready_that_names_another_shard_is_taken_all_the_same() {
    let mut stage = Stage::of(PlatformConfig::default(), 1, |_| {}).await;
    stage.arm(&next(SocketFault::ReadyAs(json!({"shard": [7, 8]}))));
    stage.start().await;
    stage.all_live().await;
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_without_a_usable_session_is_none() {
    let mut stage = Stage::of(lavish(), 1, |_| {}).await;
    for session in [json!(null), json!(""), json!(7)] {
        stage.arm(&next(SocketFault::ReadyAs(json!({"session_id": session}))));
        stage.start().await;
        stage.all_live().await;
        stage.stop().await;
    }
    stage.start().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d18_a_replay_without_resumed_is_a_live_session_from_its_first_frame() {
    let stage = Stage::live().await;
    stage.arm(&next(SocketFault::NoResumed));
    stage.perform(&cut());
    stage.say("while away");
    stage.seen("a resume", 1, is_resume).await;
    stage.all_live().await;
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d19_frames_that_come_twice_are_stored_once() {
    let stage = Stage::live().await;
    for number in 0..5 {
        stage.say(&number.to_string());
    }
    stage.settle().await;
    stage.perform(&Action::Again { target: everybody(), lapse: Lapse::Last(2) });
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d20_a_hole_is_asked_for_twice_and_then_recorded_with_its_exact_range() {
    let stage = Stage::live().await;
    stage.settle().await;
    let before = stage.shard().durable.expect("a session");
    stage.perform(&Action::Skip { target: everybody(), count: 3 });
    stage.say("behind the hole");
    let gap = gap_of(&stage.recorded(".gap").await);
    if gap.session.is_none() {
        stage.seen("two resumes", 2, is_resume).await;
    }
    let gap = within(BEYOND_THE_LADDER, "the gap", async || {
        Some(gap_of(&stage.recorded(".gap").await)).filter(|gap| gap.session.is_some())
    });
    let gap = gap.await.expect("a hole that no resume mends is written down");
    assert_eq!((gap.after, gap.until), (before, Some(before + 3)));
    assert_eq!((gap.session, gap.reason), (stage.shard().session, GapReason::Hole));
    assert!(stage.count(is_resume) >= 2);
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d21_a_session_that_runs_backwards_three_times_is_resumed() {
    let stage = Stage::live().await;
    for number in 0..9 {
        stage.say(&number.to_string());
    }
    stage.settle().await;
    for by in [2, 4, 6] {
        assert_eq!(stage.count(is_resume), 0);
        stage.perform(&Action::Again { target: everybody(), lapse: Lapse::Back(by) });
    }
    stage.resumed(1).await;
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d22_a_dispatch_without_a_usable_sequence_is_passed_over() {
    let stage = Stage::live().await;
    let seqs = ["0", "null", "-1", "9007199254740992", "18446744073709551616", "1.5", "\"7\""];
    for seq in seqs {
        let frame = format!(r#"{{"op":0,"s":{seq},"t":"C2C_MESSAGE_CREATE","d":{{}}}}"#);
        stage.perform(&raw(&frame));
    }
    stage.perform(&raw(r#"{"op":0,"t":"C2C_MESSAGE_CREATE","d":{}}"#));
    stage.say("afterwards");
    stage.settle().await;
    assert_eq!(stage.count(is_resume), 0);
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d25_a_resume_that_is_refused_three_times_ends_the_session_and_not_the_shard() {
    let mut stage = Stage::live().await;
    let refusal = SocketFault::RefuseResume(Refusal::Close(4902));
    stage.arm(&Action::Arm(Arming::Socket(Armed::always(refusal))));
    stage.perform(&cut());
    let gap = within(BEYOND_THE_LADDER, "the gap", async || {
        Some(gap_of(&stage.recorded(".gap").await)).filter(|gap| gap.session.is_some())
    });
    assert_eq!(gap.await.expect("the session is given up").until, None);
    assert_eq!(stage.count(is_resume), 3);
    let live = within(BEYOND_THE_LADDER, "another session", async || {
        (stage.identifies() == 2 && stage.shard().phase == Phase::Live).then_some(())
    });
    live.await.expect("it begins anew");
    stage.say("afterwards");
    stage.expected.identifies = Some(2);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d28_a_bot_without_identifies_left_resumes_what_it_has() {
    let mut stage = Stage::live().await;
    stage.stop().await;
    stage.platform.perform(&none_left()).expect("the bot exists");
    stage.start().await;
    stage.resumed(1).await;
    stage.all_live().await;
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d28_a_bot_without_identifies_left_sends_none() {
    let mut stage = Stage::of(PlatformConfig::default(), 1, |_| {}).await;
    stage.platform.perform(&none_left()).expect("the bot exists");
    stage.start().await;
    stage.recorded(".gap").await;
    stage.seen("it asks for its budget", 1, is_lookup).await;
    assert_eq!(stage.identifies(), 0);
}

fn none_left() -> Action {
    Action::IdentifiesLeft { app: APP.into(), remaining: 0 }
}

fn is_lookup(entry: &Entry) -> bool {
    matches!(entry, Entry::Rest { path, .. } if path == "/gateway/bot")
}

#[tokio::test(flavor = "multi_thread")]
async fn d30_opcodes_that_nobody_knows_are_passed_over() {
    let stage = Stage::live().await;
    for frame in [r#"{"op":200}"#, r#"{"op":-1}"#, r#"{"d":1}"#, r#"{"op":3,"d":{}}"#] {
        stage.perform(&raw(frame));
    }
    stage.say("afterwards");
    stage.settle().await;
    assert_eq!(stage.count(is_resume), 0);
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d32_a_message_that_is_too_large_for_a_record_keeps_its_place() {
    let stage = Stage::live().await;
    let messages = [
        ("its raw part is left out", 500_000),
        ("nothing of it fits", 950_000),
        ("not even its frame is taken", 1_200_000),
    ];
    for (what, length) in messages {
        stage.say(&"x".repeat(length));
        stage.say(what);
    }
    stage.settle().await;
    let dropped = stage.log().await.into_iter().filter(|(_, stored)| {
        let payload = String::from_utf8_lossy(&stored.record.payload);
        stored.record.subject.ends_with(".ses") && payload.contains("too_large")
    });
    assert_eq!(dropped.count(), 2);
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d32_a_payload_that_cannot_be_read_keeps_its_place() {
    let stage = Stage::live().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for payload in [r#"{"id":}"#, "", "nonsense", &deep] {
        stage.inject(&Injection::verbatim("C2C_MESSAGE_CREATE", payload));
        stage.say("behind it");
    }
    stage.settle().await;
    assert_eq!(stage.count(is_resume), 0);
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_resumes_whatever_ended_the_process() {
    let mut stage = Stage::live().await;
    for number in 1..=3 {
        stage.say("before");
        stage.stop().await;
        stage.say("while down");
        stage.start().await;
        stage.resumed(number).await;
        stage.all_live().await;
    }
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_bot_keeps_the_end_of_its_session() {
    let mut stage = Stage::live().await;
    stage.perform(&close(4914));
    assert_eq!(stage.parked().await, "bot_offline");
    stage.say("while parked");
    stage.expected.owed = Owed::TailMayFollow;
    stage.finish().await;
}

/// Row D26: heartbeats are acknowledged, RESUME is answered, and no event comes.
#[tokio::test(flavor = "multi_thread")]
async fn d26_a_busy_session_that_falls_silent_is_resumed_and_then_begun_anew() {
    let second = Duration::from_secs(1);
    let adapt = |config: &mut qqrelay_runtime::config::Config| config.gateway.silence = second;
    let mut stage = Stage::of(lavish(), 1, adapt).await;
    stage.start().await;
    stage.all_live().await;
    for number in 0..60 {
        stage.say(&format!("busy {number}"));
    }
    stage.settle().await;
    let silence = Silence { dispatches: true, acks: false };
    stage.perform(&Action::Silence { target: everybody(), silence });
    stage.resumed(1).await;
    stage.identified(2).await;
    stage.all_live().await;
    stage.say("at last");
    stage.settle().await;
    let log = stage.log().await;
    let gaps = log.iter().filter(|(_, stored)| stored.record.subject.ends_with(".gap"));
    let reasons: Vec<_> = gaps.map(|(_, stored)| gap_of(stored).reason).collect();
    assert_eq!(reasons, [GapReason::First, GapReason::Silent]);
    stage.expected.identifies = Some(2);
    stage.finish().await;
}

/// A shard that was never busy is left alone, however long it says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn d26_a_quiet_session_is_left_alone() {
    let second = Duration::from_secs(1);
    let adapt = |config: &mut qqrelay_runtime::config::Config| config.gateway.silence = second;
    let mut stage = Stage::of(quick(), 1, adapt).await;
    stage.start().await;
    stage.all_live().await;
    stage.say("once");
    // Two heartbeats are ten of the shortest silences.
    stage.seen("two heartbeats", 2, is_heartbeat).await;
    assert_eq!(stage.count(is_resume), 0);
    goes_on(stage).await;
}

/// Row A13: it is begun again behind what it had handed over; its neighbour notices nothing.
#[tokio::test]
async fn a13_a_shard_whose_task_panics_is_begun_again_alone() {
    let mut stage = Stage::of(PlatformConfig::default(), 2, |_| {}).await;
    stage.start().await;
    stage.all_live().await;
    for text in ["one", "two", "three"] {
        stage.say(text);
    }
    let shards = stage.shards();
    let session = shards[0].session.as_ref().expect("it lives").to_string();
    panic_at_life(&session);
    let target = Target { session: Some(session.clone()), ..Target::default() };
    stage.perform(&Action::Cut { target });
    // Once for the connection, once for the panic.
    stage.resumed(2).await;
    stage.all_live().await;
    stage.say("four");
    let other = shards[1].session.clone();
    assert_eq!(stage.shards()[1].session, other);
    let again = |entry: &Entry| matches!(entry, Entry::Resumed { session: id, .. } if id.to_string() == session);
    assert_eq!(stage.count(again), 2, "the neighbour was not resumed");
    stage.finish().await;
}
