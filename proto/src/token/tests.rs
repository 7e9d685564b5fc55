use super::*;
use proptest::prelude::*;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A life whose clock the test turns.
struct Driven {
    life: TokenLife,
    now: Instant,
}

impl Driven {
    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no literal to start from")]
    fn new() -> Self {
        let now = Instant::now();
        Self { life: TokenLife::new(now, 0.0), now }
    }

    /// One that holds `token` for two hours.
    fn holding(token: &str) -> Self {
        let mut driven = Self::new();
        assert_eq!(driven.apply(Input::Tick), [Output::Fetch]);
        assert_eq!(driven.apply(grant(token, 7_200)), []);
        driven
    }

    fn apply(&mut self, input: Input) -> Vec<Output> {
        self.life.handle(self.now, input);
        std::iter::from_fn(|| self.life.poll()).collect()
    }

    fn after(&mut self, wait: Duration, input: Input) -> Vec<Output> {
        self.now += wait;
        self.apply(input)
    }

    /// Waits to the deadline; says how long that was.
    fn sleep(&mut self) -> Duration {
        let deadline = self.life.deadline().expect("no request is under way");
        let wait = deadline.saturating_duration_since(self.now);
        self.now += wait;
        wait
    }

    fn token(&self) -> Option<String> {
        self.life.current(self.now).map(|current| current.token.expose().to_owned())
    }

    fn refuse(&mut self, generation: u64) -> Vec<Output> {
        self.apply(Input::Refused { generation, action: Action::Renew })
    }
}

fn grant(token: &str, life: u64) -> Input {
    let token = AccessToken::new(token).expect("a token");
    Input::Granted(Grant { token, life: secs(life) })
}

fn code(code: u32) -> Input {
    Input::Failed(TokenFailure::Refused { code })
}

#[test]
fn the_life_is_read_whatever_its_form() {
    let check = |expires_in: &str, expected| {
        let body = format!(r#"{{"access_token":"t","expires_in":{expires_in}}}"#);
        let life = Grant::read(200, body.as_bytes()).map(|grant| grant.life);
        assert_eq!(life, Ok(secs(expected)), "{expires_in}");
    };
    check(r#""7200""#, 7_200);
    check("7200", 7_200);
    check(r#"" 61 ""#, 61);
    check("61.9", 61);
    check("0", 30);
    check("-5", 30);
    check("1000000000000", 7_200);
    check(r#""1000000000000""#, 7_200);
    check(r#""soon""#, 30);
    check("null", 30);
    let bare = Grant::read(200, br#"{"access_token":"t"}"#).map(|grant| grant.life);
    assert_eq!(bare, Ok(secs(30)));
}

#[test]
fn a_failure_is_known_by_its_code_whatever_the_status() {
    let check = |status, body: &str, expected: TokenFailure| {
        assert_eq!(Grant::read(status, body.as_bytes()), Err(expected), "{body}");
    };
    let refused = |code| TokenFailure::Refused { code };
    check(200, r#"{"code":100016,"message":"invalid appid or secret"}"#, refused(100_016));
    check(200, r#"{"code":100001,"access_token":"t","expires_in":"9"}"#, refused(100_001));
    check(500, r#"{"code":100002}"#, refused(100_002));
    let unreadable = |status| TokenFailure::Unreadable { status };
    check(200, "", unreadable(200));
    check(200, "<html>", unreadable(200));
    check(200, "{}", unreadable(200));
    check(200, r#"{"access_token":"","expires_in":"7200"}"#, unreadable(200));
    check(200, r#"{"access_token":"a\r\nb","expires_in":"7200"}"#, unreadable(200));
    check(502, r#"{"access_token":"t","expires_in":"7200"}"#, unreadable(502));
}

#[test]
fn nothing_prints_a_token() {
    let mut driven = Driven::holding("canary");
    driven.refuse(1);
    let printed =
        format!("{:?} {:?} {:?}", driven.life, grant("canary", 1), driven.life.current(driven.now));
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn a_token_is_replaced_in_its_last_minute_and_used_until_then() {
    let mut driven = Driven::holding("a");
    assert_eq!(driven.sleep(), secs(7_140));
    assert_eq!(driven.apply(Input::Tick), [Output::Fetch]);
    assert_eq!(driven.life.deadline(), None);
    assert_eq!(driven.token().as_deref(), Some("a"));
    driven.apply(grant("b", 7_200));
    assert_eq!(driven.life.current(driven.now).map(|current| current.generation), Some(2));
}

#[test]
fn the_same_token_again_is_a_new_date_and_no_loop() {
    let mut driven = Driven::holding("a");
    driven.sleep();
    driven.apply(Input::Tick);
    driven.apply(grant("a", 62));
    assert_eq!(driven.life.current(driven.now).map(|current| current.generation), Some(1));
    assert_eq!(driven.sleep(), TokenLife::PAUSE);
    driven.apply(Input::Tick);
    driven.apply(grant("a", 30));
    assert_eq!(driven.sleep(), TokenLife::PAUSE);
}

#[test]
fn while_the_endpoint_is_down_the_old_token_is_used_to_its_end() {
    let mut driven = Driven::holding("a");
    driven.sleep();
    driven.apply(Input::Tick);
    let mut waits = Vec::new();
    for _ in 0..8 {
        driven.apply(Input::Failed(TokenFailure::Unanswered));
        waits.push(driven.sleep().as_millis());
        assert_eq!(driven.apply(Input::Tick), [Output::Fetch]);
    }
    assert_eq!(waits, [800, 1_600, 3_200, 6_400, 12_800, 25_600, 48_000, 48_000]);
    assert_eq!(driven.token(), None, "its life is over by now");
    driven.apply(grant("b", 7_200));
    assert_eq!(driven.token().as_deref(), Some("b"));
}

#[test]
fn a_refused_token_is_renewed_once_however_many_calls_it_failed() {
    let mut driven = Driven::holding("a");
    assert_eq!(driven.refuse(1), [Output::Fetch]);
    for _ in 0..1_000 {
        assert_eq!(driven.refuse(1), []);
    }
    assert_eq!(driven.token(), None, "a call with it would fail again");
    driven.apply(grant("b", 7_200));
    assert_eq!(driven.refuse(1), [], "a late answer to the old token");
    assert_eq!(driven.token().as_deref(), Some("b"));
}

#[test]
fn late_refusals_do_not_hurry_a_request_that_has_to_wait() {
    let mut driven = Driven::holding("a");
    driven.refuse(1);
    driven.apply(Input::Failed(TokenFailure::Unanswered));
    driven.sleep();
    driven.apply(Input::Tick);
    driven.apply(Input::Failed(TokenFailure::Unanswered));
    let deadline = driven.life.deadline();
    driven.now += Duration::from_millis(1);
    assert_eq!(driven.refuse(1), []);
    assert_eq!(driven.life.deadline(), deadline);
    assert_eq!(driven.token(), None);
}

#[test]
fn what_another_token_cannot_mend_asks_for_none() {
    let check = |status, code| {
        let mut driven = Driven::holding("a");
        let action = code::action(status, [code]);
        assert_eq!(driven.apply(Input::Refused { generation: 1, action }), [], "{code}");
        assert_eq!(driven.token().as_deref(), Some("a"));
    };
    check(401, 11_298);
    check(401, 11_245);
    check(400, 40_034_005);
    check(500, 12_003);
}

#[test]
fn a_token_that_is_always_refused_is_renewed_slower_and_slower() {
    let mut driven = Driven::holding("a");
    let mut waits = Vec::new();
    for _ in 0..9 {
        if driven.refuse(1).is_empty() {
            waits.push(driven.sleep().as_millis());
            assert_eq!(driven.apply(Input::Tick), [Output::Fetch]);
        }
        driven.apply(grant("a", 7_000));
    }
    assert_eq!(waits, [800, 1_600, 3_200, 6_400, 12_800, 25_600, 48_000, 48_000]);
    driven.now += TokenLife::FORGET;
    assert_eq!(driven.refuse(1), [Output::Fetch]);
}

#[test]
fn a_wrong_secret_wakes_a_person_once_and_is_tried_now_and_then() {
    for bad in [100_016, 100_007, 10_004] {
        let mut driven = Driven::new();
        driven.apply(Input::Tick);
        assert_eq!(driven.apply(code(bad)), [Output::Park { code: bad }]);
        assert!(driven.life.is_parked());
        assert_eq!(driven.sleep(), TokenLife::PROBE);
        assert_eq!(driven.apply(Input::Tick), [Output::Fetch]);
        assert_eq!(driven.apply(code(bad)), []);
        driven.sleep();
        driven.apply(Input::Tick);
        driven.apply(grant("a", 7_200));
        assert!(!driven.life.is_parked());
    }
}

#[test]
fn a_new_secret_is_used_at_once() {
    let mut driven = Driven::holding("a");
    assert_eq!(driven.apply(Input::SecretChanged), [Output::Fetch]);
    assert_eq!(driven.apply(Input::SecretChanged), [], "one request at a time");
    assert_eq!(driven.apply(code(100_016)), [Output::Park { code: 100_016 }, Output::Fetch]);
    assert_eq!(driven.token().as_deref(), Some("a"), "the old token lives on");
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Tick),
        (0..3_u8, 30..7_201_u64).prop_map(|(token, life)| grant(&format!("t{token}"), life)),
        Just(Input::Failed(TokenFailure::Unanswered)),
        prop::sample::select(vec![100_001, 100_002, 100_016]).prop_map(code),
        (0..5_u64).prop_map(|generation| Input::Refused { generation, action: Action::Renew }),
    ]
}

proptest! {
    /// Whatever comes and whenever: one request at a time, no more than the waits allow, and
    /// never a token after its end.
    #[test]
    fn no_answers_make_a_loop(
        steps in prop::collection::vec((any_input(), 0..2_000_u64), 1..300),
    ) {
        let mut driven = Driven::new();
        let (begin, mut under_way, mut requests) = (driven.now, false, 0_u32);
        for (input, wait) in steps {
            let answers = matches!(input, Input::Granted(_) | Input::Failed(_));
            if answers && !under_way {
                continue;
            }
            under_way &= !answers;
            for output in driven.after(Duration::from_millis(wait), input) {
                if output == Output::Fetch {
                    prop_assert!(!under_way);
                    (under_way, requests) = (true, requests + 1);
                }
            }
            prop_assert_eq!(driven.life.deadline().is_none(), under_way);
            if let Some(current) = driven.life.current(driven.now) {
                prop_assert!(driven.life.expires().expect("held") > driven.now);
                prop_assert!(current.generation <= u64::from(requests));
            }
        }
        // Forced and failed requests lie at least 0.8 s apart; the first few come at once.
        let most = (driven.now - begin).as_millis() / 800 + 3;
        prop_assert!(u128::from(requests) <= most, "{requests} requests, {most} would do");
    }
}
