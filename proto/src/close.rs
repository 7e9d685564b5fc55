//! Close codes, as one table.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Why the platform closed a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

/// What a shard does once its socket is gone. Nothing here gives up for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// Connect again, no sooner than this, and ask for the events missed.
    Resume(Duration),
    /// Fetch a new access token, then connect again and ask for the events missed.
    RenewAndResume,
    /// Record the gap, then connect again, no sooner than this, with a fresh session.
    Identify(Duration),
    /// Read the platform's shard advice again and plan the whole set anew.
    Replan,
    /// Stay down and probe this rarely: the configuration or the bot itself must change first.
    Park(Duration),
}

/// One row's answer: what to do, and whether to wake a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// What the shard does.
    pub next: Next,
    /// Whether somebody should look.
    pub alert: bool,
}

const fn quiet(next: Next) -> Step {
    Step { next, alert: false }
}

const fn alert(next: Next) -> Step {
    Step { next, alert: true }
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(1);
const RESUME: Step = quiet(Next::Resume(NOW));
const IDENTIFY: Step = quiet(Next::Identify(NOW));
const PARK: Step = alert(Next::Park(minutes(15)));

/// One row: its codes, their name in metrics, and the answer to the first, second, … such close
/// in a row; the last answer repeats.
struct Row(RangeInclusive<u16>, &'static str, &'static [Step]);

/// The first row that has the code holds.
///
/// Before any RESUME or IDENTIFY the owner verifies the fence, and the shard's own back-off may
/// lengthen a wait.
///
/// Source: PLATFORM.md, "close codes". What may not be sent (below 1000, 5000 and up, 1005 and
/// its like) is read as a transport that died; 4902 means that another socket resumed the session.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row(1002..=1003, "protocol", &[quiet(Next::Resume(SOON)), alert(Next::Resume(SOON))]),
    Row(1007..=1010, "protocol", &[quiet(Next::Resume(SOON)), alert(Next::Resume(SOON))]),
    Row(0..=1015, "transport", &[RESUME]),
    Row(4001..=4002, "bad_frame", &[alert(Next::Identify(minutes(1))), PARK]),
    Row(4003..=4003, "not_authenticated", &[IDENTIFY]),
    Row(4004..=4004, "authentication_failed", &[quiet(Next::RenewAndResume), IDENTIFY, PARK]),
    Row(4005..=4005, "already_authenticated", &[IDENTIFY]),
    Row(4006..=4006, "session_gone", &[IDENTIFY]),
    Row(4007..=4007, "bad_sequence", &[alert(Next::Identify(NOW))]),
    Row(4008..=4008, "too_fast", &[alert(Next::Resume(minutes(1)))]),
    Row(4009..=4009, "connection_expired", &[RESUME]),
    Row(4010..=4010, "bad_shard", &[alert(Next::Replan)]),
    Row(4011..=4011, "too_many_guilds", &[alert(Next::Replan)]),
    Row(4012..=4012, "bad_version", &[PARK]),
    Row(4013..=4013, "bad_intents", &[PARK]),
    Row(4014..=4014, "intents_not_granted", &[PARK]),
    Row(4902..=4902, "reset_by_resume", &[RESUME, RESUME, RESUME, IDENTIFY]),
    Row(4900..=4913, "platform_error", &[quiet(Next::Identify(SOON))]),
    Row(4914..=4914, "bot_offline", &[alert(Next::Park(minutes(10)))]),
    Row(4915..=4915, "bot_banned", &[alert(Next::Park(minutes(30)))]),
    Row(5000..=u16::MAX, "transport", &[RESUME]),
];

/// 4000 and any code the table lacks: the cheap way once.
const UNLISTED: &Row = &Row(0..=u16::MAX, "unlisted", &[RESUME, IDENTIFY]);

impl CloseCode {
    fn row(self) -> &'static Row {
        TABLE.iter().find(|Row(codes, ..)| codes.contains(&self.0)).unwrap_or(UNLISTED)
    }

    /// What follows when this code has ended the shard's last `in_a_row` sockets, from 1.
    #[must_use]
    pub fn step(self, in_a_row: usize) -> Step {
        let Row(.., steps) = self.row();
        steps[in_a_row.clamp(1, steps.len()) - 1]
    }

    /// The name used in metric labels: one of a closed set, where the number is not.
    #[must_use]
    pub fn label(self) -> &'static str {
        let Row(_, label, _) = self.row();
        label
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codes: &[u16], in_a_row: usize, expected: Step) {
        for &code in codes {
            assert_eq!(CloseCode(code).step(in_a_row), expected, "close code {code}");
        }
    }

    #[test]
    fn a_session_that_lives_is_resumed() {
        check(&[0, 999, 1000, 1001, 1004, 1005, 1006, 1015, 5000, u16::MAX], 9, RESUME);
        check(&[1011, 1012, 1013, 1014], 9, RESUME);
        check(&[4009], 99, RESUME);
        check(&[1002, 1003, 1007, 1008, 1009, 1010], 1, quiet(Next::Resume(SOON)));
        check(&[1002, 1003, 1007, 1008, 1009, 1010], 2, alert(Next::Resume(SOON)));
        check(&[4008], 1, alert(Next::Resume(minutes(1))));
    }

    #[test]
    fn a_session_that_is_gone_is_replaced() {
        check(&[4003, 4005, 4006], 1, IDENTIFY);
        check(&[4007], 1, alert(Next::Identify(NOW)));
        check(&[4900, 4901, 4903, 4912, 4913], 1, quiet(Next::Identify(SOON)));
    }

    #[test]
    fn doubt_is_resolved_by_trying_the_cheap_way_first() {
        check(&[4000, 1016, 2999, 3000, 4015, 4916, 4999], 1, RESUME);
        check(&[4000, 1016, 2999, 3000, 4015, 4916, 4999], 2, IDENTIFY);
        check(&[4902], 3, RESUME);
        check(&[4902], 4, IDENTIFY);
        check(&[4004], 1, quiet(Next::RenewAndResume));
        check(&[4004], 2, IDENTIFY);
    }

    #[test]
    fn what_a_person_must_mend_pages_and_is_probed() {
        check(&[4001, 4002], 1, alert(Next::Identify(minutes(1))));
        check(&[4001, 4002], 2, PARK);
        check(&[4010, 4011], 1, alert(Next::Replan));
        check(&[4012, 4013, 4014], 1, PARK);
        check(&[4004], 3, PARK);
        check(&[4914], 1, alert(Next::Park(minutes(10))));
        check(&[4915], 1, alert(Next::Park(minutes(30))));
    }

    #[test]
    fn every_code_has_a_label_fit_for_a_metric() {
        let fit = |label: &str| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!((0..=u16::MAX).all(|code| fit(CloseCode(code).label())));
        let check = |code, expected| assert_eq!(CloseCode(code).label(), expected);
        check(1006, "transport");
        check(1009, "protocol");
        check(4000, "unlisted");
        check(4009, "connection_expired");
        check(4902, "reset_by_resume");
        check(4903, "platform_error");
    }
}
