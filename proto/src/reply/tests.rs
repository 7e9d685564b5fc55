use super::*;
use crate::command::{Content, ReplyTo};
use crate::id::{Scene, Scope};
use proptest::prelude::*;
use serde_json::json;

/// The middle of every spread.
const MIDDLE: f64 = 0.5;

fn push(scene: Scene) -> Command {
    let place = Scope::new(scene, "A1");
    Command::send("c/0".into(), "102".into(), place, Content::Text("pong".into()))
}

/// A reply in a group: the platform notices a second one.
fn noticed() -> Command {
    Command { reply: Some(ReplyTo::MsgId("m1".into()).into()), ..push(Scene::Group) }
}

/// A reply in a channel: a second one is shown.
fn shown() -> Command {
    Command { reply: Some(ReplyTo::MsgId("m1".into()).into()), ..push(Scene::Channel) }
}

/// A command's attempts and its bot's allowance, with the middle of every spread.
struct Tried {
    attempts: Attempts,
    budget: RetryBudget,
}

impl Tried {
    fn new(command: &Command) -> Self {
        Self::after(command, Past::None)
    }

    fn after(command: &Command, past: Past) -> Self {
        let attempts = Attempts::new(command, RetryPolicy::default(), past);
        Self { attempts, budget: RetryBudget::new(10) }
    }

    fn judge(&mut self, observation: &Observation) -> Ruling {
        self.attempts.judge(observation, &mut self.budget, MIDDLE)
    }

    fn saw(&mut self, observation: &Observation) -> Verdict {
        self.judge(observation).verdict
    }
}

fn answer(status: u16, code: u32) -> Observation {
    Observation::Answered(Answer { status, code: Some(code), ..Answer::default() })
}

fn status(status: u16) -> Observation {
    answer(status, 0)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[track_caller]
fn rejected(verdict: &Verdict, expected: u32) {
    let Verdict::End(Outcome::Rejected { code, .. }) = verdict else {
        panic!("{verdict:?} is no rejection")
    };
    assert_eq!(*code, expected);
}

#[test]
fn what_was_not_sent_is_tried_three_times_in_all() {
    for command in [noticed(), shown(), push(Scene::Group)] {
        let mut tried = Tried::new(&command);
        let ruling = tried.judge(&Observation::NotSent);
        assert_eq!(ruling.verdict, Verdict::RetryIn(ms(500)));
        assert_eq!(ruling.effect, Effect::Nothing);
        assert_eq!(tried.saw(&Observation::NotSent), Verdict::RetryIn(ms(1_000)));
        rejected(&tried.saw(&Observation::NotSent), Outcome::OURS);
    }
}

#[test]
fn a_refused_token_is_renewed_once() {
    for code in [11_241, 11_243, 11_244] {
        let mut tried = Tried::new(&shown());
        assert_eq!(tried.saw(&answer(401, code)), Verdict::RenewAndRetry);
        rejected(&tried.saw(&answer(401, code)), code);
    }
    let mut unsaid = Tried::new(&shown());
    assert_eq!(unsaid.saw(&status(401)), Verdict::RenewAndRetry);
    let mut unchecked = Tried::new(&noticed());
    assert_eq!(unchecked.saw(&answer(401, 11_242)), Verdict::RetryIn(ONCE));
    assert_eq!(unchecked.saw(&answer(401, 11_242)), Verdict::RenewAndRetry);
    rejected(&unchecked.saw(&answer(401, 11_242)), 11_242);
}

#[test]
fn a_refusal_that_no_token_mends_parks_the_bot_and_renews_nothing() {
    for (status, code) in [(401, 11_298), (401, 11_245), (403, 11_265), (400, 40_054_016)] {
        let ruling = Tried::new(&noticed()).judge(&answer(status, code));
        rejected(&ruling.verdict, code);
        assert_eq!(ruling.consequence, Consequence::ParkBot, "{code}");
    }
    let mut wrong = Tried::new(&noticed());
    wrong.saw(&answer(401, 11_243));
    assert_eq!(wrong.judge(&answer(401, 11_243)).consequence, Consequence::ParkBot);
    let mut expired = Tried::new(&noticed());
    expired.saw(&answer(401, 11_244));
    assert_eq!(expired.judge(&answer(401, 11_244)).consequence, Consequence::Alert);
}

#[test]
fn a_rate_refusal_waits_as_long_as_it_says_or_as_we_think() {
    for (status, code) in [(429, 0), (400, 22_009), (400, 20_028), (400, 1_100_308)] {
        let mut tried = Tried::new(&shown());
        tried.budget = RetryBudget::new(0);
        let ruling = tried.judge(&answer(status, code));
        assert_eq!(ruling.verdict, Verdict::Wait(ms(2_000)), "{code}");
        assert_eq!(ruling.effect, Effect::Nothing);
        assert_eq!(tried.saw(&answer(status, code)), Verdict::Wait(ms(4_000)));
        // Its window ends it, not the retries that others have used up.
        for _ in 2..RATE_WAITS_MAX {
            assert!(matches!(tried.saw(&answer(status, code)), Verdict::Wait(_)));
        }
        let code = if code == 0 { 429 } else { code };
        rejected(&tried.saw(&answer(status, code)), code);
    }
    // What has no window is tried as often as anything else.
    let mut push = Tried::new(&push(Scene::Channel));
    assert_eq!(push.saw(&answer(400, 20_028)), Verdict::Wait(ms(2_000)));
    assert_eq!(push.saw(&answer(400, 20_028)), Verdict::Wait(ms(4_000)));
    rejected(&push.saw(&answer(400, 20_028)), 20_028);
    let after = |wait| {
        let retry_after = Some(wait);
        Observation::Answered(Answer { status: 429, retry_after, ..Answer::default() })
    };
    assert_eq!(Tried::new(&shown()).saw(&after(ms(7_000))), Verdict::Wait(ms(7_000)));
    let bound = Verdict::Wait(COOL_DOWN_MAX);
    assert_eq!(Tried::new(&shown()).saw(&after(Duration::MAX)), bound);
}

#[test]
fn a_push_that_is_too_many_closes_its_place_for_a_window() {
    let ruling = Tried::new(&push(Scene::Group)).judge(&answer(400, 22_009));
    rejected(&ruling.verdict, 22_009);
    assert_eq!(ruling.consequence, Consequence::CloseScope(Until::Window));
}

#[test]
fn a_business_code_is_final_and_has_its_consequence() {
    let check = |code, expected| {
        let ruling = Tried::new(&noticed()).judge(&answer(400, code));
        rejected(&ruling.verdict, code);
        assert_eq!((ruling.consequence, ruling.effect), (expected, Effect::Nothing), "{code}");
    };
    check(40_034_024, Consequence::None);
    check(304_027, Consequence::None);
    check(40_034_006, Consequence::None);
    check(40_034_128, Consequence::NoMoreReplies);
    check(40_054_013, Consequence::CloseScope(Until::Event));
    check(40_054_002, Consequence::CloseScope(Until::Unmuted));
    check(304_045, Consequence::CloseScope(Until::Midnight));
    check(11_253, Consequence::Alert);
    check(50_035, Consequence::Alert);
    check(987_654, Consequence::Alert);
}

#[test]
fn what_the_platform_calls_passing_is_retried_within_the_budget() {
    let mut tried = Tried::new(&noticed());
    assert_eq!(tried.saw(&answer(400, 50_055_001)), Verdict::RetryIn(ms(500)));
    assert_eq!(tried.saw(&answer(400, 50_055_001)), Verdict::RetryIn(ms(1_000)));
    rejected(&tried.saw(&answer(400, 50_055_001)), 50_055_001);
    let mut once = Tried::new(&noticed());
    assert_eq!(once.saw(&answer(400, 12_003)), Verdict::RetryIn(ONCE));
    rejected(&once.saw(&answer(400, 12_003)), 12_003);
}

#[test]
fn a_bot_without_a_session_is_waited_for_and_uses_nothing_up() {
    let mut tried = Tried::new(&shown());
    for _ in 0..SESSION_WAITS_MAX {
        assert_eq!(tried.saw(&answer(400, 304_018)), Verdict::WaitForSession);
    }
    rejected(&tried.saw(&answer(400, 304_018)), 304_018);
    let mut tried = Tried::new(&noticed());
    tried.saw(&answer(400, 304_018));
    assert_eq!(tried.saw(&answer(400, 50_055_001)), Verdict::RetryIn(ms(1_000)));
    assert!(matches!(tried.saw(&answer(400, 50_055_001)), Verdict::RetryIn(_)));
    rejected(&tried.saw(&answer(400, 50_055_001)), 50_055_001);
}

#[test]
fn a_number_that_an_earlier_attempt_took_means_done() {
    let taken = answer(400, 40_054_005);
    let mut tried = Tried::new(&noticed());
    tried.saw(&Observation::Unanswered);
    let ruling = tried.judge(&taken);
    assert_eq!(ruling.verdict, Verdict::End(Outcome::Deduped));
    assert_eq!(ruling.effect, Effect::Taken);
    for past in [Past::Attempted, Past::Forgotten] {
        let verdict = Tried::after(&noticed(), past).saw(&taken);
        assert_eq!(verdict, Verdict::End(Outcome::Deduped));
    }
}

#[test]
fn a_number_that_somebody_else_took_asks_for_the_next() {
    let mut tried = Tried::new(&noticed());
    let ruling = tried.judge(&answer(400, 40_054_005));
    assert_eq!((ruling.verdict, ruling.effect), (Verdict::NextNumber, Effect::Nothing));
    assert_eq!(tried.saw(&answer(400, 40_054_005)), Verdict::NextNumber);
    rejected(&tried.saw(&answer(400, 40_054_005)), 40_054_005);
}

#[test]
fn what_reviewers_have_waits_for_them_and_is_not_sent_again() {
    let body = json!({"code":304_023,"data":{"message_audit":{"audit_id":"a1"}}}).to_string();
    for status in [200, 201, 202, 400] {
        let answer = Answer::read(status, body.as_bytes());
        let ruling = Tried::new(&shown()).judge(&Observation::Answered(answer));
        let audit_id = Some("a1".to_owned());
        assert_eq!(ruling.verdict, Verdict::End(Outcome::PendingAudit { audit_id }));
        assert_eq!(ruling.effect, Effect::Taken);
    }
    let nameless = Verdict::End(Outcome::PendingAudit { audit_id: None });
    assert_eq!(Tried::new(&shown()).saw(&status(202)), nameless);
    let undocumented = Answer::read(200, br#"{"audit_id":"a2","audit_tips":"t"}"#);
    let pending = Verdict::End(Outcome::PendingAudit { audit_id: Some("a2".into()) });
    assert_eq!(Tried::new(&shown()).saw(&Observation::Answered(undocumented)), pending);
}

#[test]
fn what_may_have_been_taken_is_repeated_only_where_the_platform_notices() {
    let doubts = [
        Observation::Unanswered,
        status(500),
        status(502),
        status(503),
        status(504),
        answer(504, 50_055_001),
        answer(500, 987_654),
    ];
    for doubt in doubts {
        let ruling = Tried::new(&noticed()).judge(&doubt);
        assert_eq!(ruling.verdict, Verdict::RetryIn(ms(500)), "{doubt:?}");
        assert_eq!(ruling.effect, Effect::Unknown);
        for command in [shown(), push(Scene::Group), push(Scene::C2c), push(Scene::Dm)] {
            let verdict = Tried::new(&command).saw(&doubt);
            assert_eq!(verdict, Verdict::End(Outcome::Ambiguous), "{doubt:?}");
        }
        let wished = Command { at_least_once: true, ..shown() };
        assert_eq!(Tried::new(&wished).saw(&doubt), Verdict::RetryIn(ms(500)));
    }
}

#[test]
fn a_code_in_a_server_error_is_believed_unless_a_repetition_would_show() {
    rejected(&Tried::new(&shown()).saw(&answer(500, 40_034_006)), 40_034_006);
    let again = Tried::new(&noticed()).saw(&answer(500, 304_016));
    assert_eq!(again, Verdict::RetryIn(ms(500)));
    let doubt = Tried::new(&shown()).saw(&answer(500, 304_016));
    assert_eq!(doubt, Verdict::End(Outcome::Ambiguous));
}

#[test]
fn after_an_attempt_nobody_knows_of_no_refusal_is_a_rejection() {
    let refusals = [
        answer(400, 40_034_128),
        answer(401, 11_298),
        Observation::Late,
        Observation::Exhausted { limit: 5 },
    ];
    for refusal in refusals {
        let mut tried = Tried::new(&noticed());
        tried.saw(&Observation::Unanswered);
        assert_eq!(tried.saw(&refusal), Verdict::End(Outcome::Ambiguous), "{refusal:?}");
        let recorded = Tried::after(&noticed(), Past::Attempted).saw(&refusal);
        assert_eq!(recorded, Verdict::End(Outcome::Ambiguous));
    }
    let mut silent = Tried::new(&noticed());
    silent.saw(&Observation::Unanswered);
    silent.saw(&Observation::Unanswered);
    assert_eq!(silent.saw(&Observation::Unanswered), Verdict::End(Outcome::Ambiguous));
}

#[test]
fn too_late_is_expired_and_too_many_is_refused_here() {
    let late = Tried::new(&noticed()).saw(&Observation::Late);
    assert_eq!(late, Verdict::End(Outcome::Expired));
    rejected(&Tried::new(&noticed()).saw(&Observation::Exhausted { limit: 5 }), Outcome::OURS);
}

#[test]
fn what_was_answered_with_success_is_done_whatever_the_body() {
    let bodies: [&[u8]; 6] =
        [b"", b"<html>", br#"{"id":"#, b"[]", br#"{"code":1}"#, br#"{"err_code":0}"#];
    for body in bodies {
        for status in [200, 204] {
            let answer = Observation::Answered(Answer::read(status, body));
            let sent = Verdict::End(Outcome::Sent { message_id: None });
            assert_eq!(Tried::new(&shown()).saw(&answer), sent);
        }
    }
    let answer = Answer::read(200, br#"{"id":"m9"}"#);
    let sent = Verdict::End(Outcome::Sent { message_id: Some("m9".into()) });
    assert_eq!(Tried::new(&noticed()).saw(&Observation::Answered(answer)), sent);
}

#[test]
fn a_redirect_is_a_refusal_that_nobody_has_met() {
    let ruling = Tried::new(&shown()).judge(&status(302));
    rejected(&ruling.verdict, 302);
    assert_eq!(ruling.consequence, Consequence::Alert);
}

#[test]
fn without_allowance_nothing_is_retried() {
    let mut tried = Tried::new(&noticed());
    tried.budget = RetryBudget::new(0);
    rejected(&tried.saw(&Observation::NotSent), Outcome::OURS);
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let codes = vec![
        0, 11_242, 11_243, 11_244, 11_298, 12_003, 20_028, 22_009, 304_016, 304_018, 304_023,
        40_034_128, 40_054_005, 50_055_001, 987_654,
    ];
    let statuses = vec![200, 202, 302, 400, 401, 404, 429, 500, 504];
    prop_oneof![
        Just(Observation::NotSent),
        Just(Observation::Unanswered),
        Just(Observation::Late),
        (prop::sample::select(statuses), prop::sample::select(codes))
            .prop_map(|(status, code)| answer(status, code)),
    ]
}

proptest! {
    /// Whatever is seen: three attempts in all beside those that only waited, never another after one that may show twice, and no rejection after one that nobody knows of.
    #[test]
    fn every_command_comes_to_an_end_that_is_true(
        observations in prop::collection::vec(
            any_observation(),
            3 + usize::from(SESSION_WAITS_MAX + RATE_WAITS_MAX),
        ),
        notices in any::<bool>(),
    ) {
        let command = if notices { noticed() } else { shown() };
        let mut tried = Tried::new(&command);
        let mut unknown = false;
        let mut attempts = 0;
        for observation in &observations {
            let ruling = tried.judge(observation);
            unknown |= ruling.effect == Effect::Unknown;
            match ruling.verdict {
                Verdict::End(Outcome::Rejected { .. } | Outcome::Expired) => {
                    prop_assert!(!unknown);
                    return Ok(());
                }
                Verdict::End(_) => return Ok(()),
                Verdict::WaitForSession | Verdict::Wait(_) => {}
                _ => {
                    attempts += 1;
                    prop_assert!(attempts < 3 && (notices || !unknown));
                }
            }
        }
        prop_assert!(false, "there were three attempts and no end");
    }
}
