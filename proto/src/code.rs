//! What the platform's error codes mean and what follows from each: the one place that decides.
//!
//! Nobody looks at an error's text: it is Chinese or English and changes. A code that the table
//! lacks is judged by its HTTP status, and never repeated for ever.

mod table;

use std::ops::RangeInclusive;

use self::table::{TABLE, TOKEN_TABLE};

/// What to do after an answer, as far as the platform's documents and the field know.
///
/// How often, how long and whether a repetition is safe at all is decided where calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is as we wanted it.
    Done,
    /// The answer comes later, as MESSAGE_AUDIT_PASS or MESSAGE_AUDIT_REJECT.
    Pending,
    /// The `msg_seq` is used: by an earlier attempt, which makes this one done, or by another
    /// command, which asks for the next free number.
    NumberTaken,
    /// Fetch a new access token and repeat once.
    Renew,
    /// As [`Action::Renew`]; if it comes again, as [`Action::Stop`].
    RenewThenStop,
    /// Repeat once, after about a second.
    RetryOnce,
    /// As [`Action::RetryOnce`]; if it comes again, as [`Action::Renew`].
    RetryOnceThenRenew,
    /// Repeat with back-off, three attempts in all.
    Retry,
    /// Let the limiter wait, then repeat while there is time to reply.
    Wait,
    /// As [`Action::Wait`] for a reply; for a push, as [`Action::CloseScope`] until the limit's
    /// next window.
    WaitIfReply,
    /// Repeat when the bot has a session again.
    WaitForSession,
    /// Give up this message.
    Drop,
    /// Give up this message and its like until midnight, UTC+8.
    DropUntilMidnight,
    /// Give up this message and send no more to its scope until an event opens it again.
    CloseScope,
    /// As [`Action::CloseScope`], and open again at midnight, UTC+8.
    CloseScopeUntilMidnight,
    /// As [`Action::CloseScope`], and ask now and then whether the bot may speak again.
    CloseScopeUntilUnmuted,
    /// Give up; the feature is not the bot's to use, and somebody should ask for it.
    Permission,
    /// As [`Action::Permission`], in this guild only.
    PermissionInGuild,
    /// Give up, and send nothing for this bot until a person has mended something.
    Stop,
    /// Give up; we sent what nobody should, so the trace id is worth a log line.
    Bug,
    /// Give up, and count it: nobody has met this refusal yet.
    Unknown,
}

/// One row: the codes, what they say, and what to do.
struct Row(RangeInclusive<u32>, &'static str, Action);

fn find(table: &'static [Row], code: u32) -> Option<&'static Row> {
    let place = table.partition_point(|Row(codes, ..)| *codes.end() < code);
    table.get(place).filter(|Row(codes, ..)| codes.contains(&code))
}

/// What follows from an answer of the REST API.
///
/// `codes` are the body's, `err_code` before `code`: they can differ, and the first that the table
/// has counts. Where there is none, the HTTP status does.
///
/// Source: PLATFORM.md, "error codes" and "HTTP statuses".
#[must_use]
pub fn action(status: u16, codes: impl IntoIterator<Item = u32>) -> Action {
    let known = codes.into_iter().find_map(|code| find(TABLE, code));
    known.map_or_else(|| by_status(status), |Row(.., action)| *action)
}

const fn by_status(status: u16) -> Action {
    match status {
        // The body of 201 and 202 is an error that only time can answer.
        201 | 202 => Action::Pending,
        200..=299 => Action::Done,
        401 => Action::Renew,
        403 | 404 => Action::Drop,
        405 => Action::Bug,
        429 => Action::Wait,
        500..=599 => Action::Retry,
        _ => Action::Unknown,
    }
}

/// What a code says, for people; `None` of one we have not met.
#[must_use]
pub fn meaning(code: u32) -> Option<&'static str> {
    find(TABLE, code).map(|Row(_, meaning, _)| *meaning)
}

/// What follows from a code of the token endpoint, which has meanings of its own and comes with
/// HTTP status 200.
///
/// Source: PLATFORM.md, "token endpoint".
#[must_use]
pub fn token_action(code: u32) -> Action {
    find(TOKEN_TABLE, code).map_or(Action::Retry, |Row(.., action)| *action)
}

/// What a code of the token endpoint says, for people.
#[must_use]
pub fn token_meaning(code: u32) -> Option<&'static str> {
    find(TOKEN_TABLE, code).map(|Row(_, meaning, _)| *meaning)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_code_is_there_twice_and_the_rows_are_in_order() {
        for table in [TABLE, TOKEN_TABLE] {
            assert!(table.iter().all(|Row(codes, ..)| codes.start() <= codes.end()));
            for pair in table.windows(2) {
                assert!(pair[0].0.end() < pair[1].0.start(), "{:?}", pair[1].0);
            }
        }
    }

    #[test]
    fn a_meaning_goes_on_a_line_behind_its_code() {
        for Row(codes, meaning, _) in TABLE.iter().chain(TOKEN_TABLE) {
            let fits = (8..=60).contains(&meaning.len()) && !meaning.ends_with('.');
            assert!(fits && !meaning.starts_with(char::is_whitespace), "{codes:?}: {meaning}");
        }
        assert_eq!(meaning(40_034_005), Some("id to reply to has expired"));
        assert_eq!(meaning(1), None);
        assert_eq!(token_meaning(100_016), Some("app id or secret is wrong"));
    }

    /// Written from the documents' lists a second time, by action.
    #[test]
    #[rustfmt::skip]
    fn every_code_has_the_action_of_the_documents() {
        let mut left: BTreeSet<_> = TABLE.iter().flat_map(|Row(codes, ..)| codes.clone()).collect();
        let mut check = |expected: Action, codes: &[RangeInclusive<u32>]| {
            for code in codes.iter().cloned().flatten() {
                assert_eq!(action(500, [code]), expected, "{code}");
                assert!(left.remove(&code), "{code} is there twice");
            }
        };
        check(Action::Done, &[610_010..=610_010, 620_003..=620_004]);
        check(Action::Pending, &[304_023..=304_024]);
        check(Action::NumberTaken, &[40_054_005..=40_054_005]);
        check(Action::Renew, &[11_241..=11_241, 11_244..=11_244]);
        check(Action::RenewThenStop, &[11_243..=11_243]);
        check(Action::RetryOnce, &[
            11_252..=11_252, 11_263..=11_263, 11_281..=11_281, 11_303..=11_306, 12_003..=12_003,
            301_001..=301_003, 301_005..=301_005, 302_001..=302_007, 501_020..=501_020,
            502_008..=502_008, 503_003..=503_003, 503_008..=503_008, 503_010..=503_010,
            503_013..=503_013, 504_002..=504_004, 610_001..=610_006, 610_009..=610_009,
            610_011..=610_011, 630_004..=630_005, 1_100_302..=1_100_302, 1_100_305..=1_100_305,
            1_100_499..=1_100_499,
        ]);
        check(Action::RetryOnceThenRenew, &[11_242..=11_242]);
        check(Action::Retry, &[
            50_001..=50_001, 302_009..=302_009, 302_019..=302_019, 304_006..=304_010,
            304_012..=304_012, 304_016..=304_017, 304_021..=304_021, 304_029..=304_029,
            304_033..=304_033, 304_044..=304_044, 304_082..=304_083, 306_003..=306_003,
            306_005..=306_006, 306_010..=306_010, 340_067..=340_067, 501_002..=501_004,
            501_006..=501_007, 501_011..=501_012, 610_012..=610_012, 610_014..=610_014,
            620_007..=620_007, 850_026..=850_027, 1_100_300..=1_100_300, 40_030_009..=40_030_009,
            40_034_004..=40_034_004, 40_054_006..=40_054_006, 40_093_001..=40_093_001,
            50_055_001..=50_055_002, 50_055_006..=50_055_006, 50_065_001..=50_065_001,
        ]);
        check(Action::Wait, &[
            20_028..=20_028, 50_002..=50_002, 304_052..=304_052, 503_004..=503_004,
            610_013..=610_013, 620_006..=620_006, 1_100_100..=1_100_100, 1_100_308..=1_100_308,
            40_034_100..=40_034_100,
        ]);
        check(Action::WaitIfReply, &[22_009..=22_009]);
        check(Action::WaitForSession, &[304_018..=304_018]);
        check(Action::Drop, &[
            10_001..=10_001, 11_274..=11_274, 12_001..=12_001, 50_039..=50_039, 50_043..=50_043,
            50_045..=50_051, 50_053..=50_053, 301_004..=301_004, 301_006..=301_006,
            302_010..=302_013, 302_020..=302_021, 304_003..=304_003, 304_019..=304_020,
            304_022..=304_022, 304_025..=304_028, 304_030..=304_030, 304_035..=304_035,
            304_064..=304_064, 304_080..=304_080, 304_103..=304_103, 306_002..=306_002,
            306_004..=306_004, 306_007..=306_009, 306_011..=306_011, 501_005..=501_005,
            501_008..=501_010, 501_013..=501_016, 502_009..=502_009, 503_009..=503_009,
            503_011..=503_012, 620_002..=620_002, 850_019..=850_019, 850_031..=850_031,
            1_100_101..=1_100_101, 1_100_103..=1_100_103, 1_100_304..=1_100_304,
            3_300_006..=3_300_006, 40_030_006..=40_030_006, 40_030_013..=40_030_013,
            40_030_020..=40_030_020, 40_034_005..=40_034_006, 40_034_024..=40_034_027,
            40_034_122..=40_034_123, 40_034_128..=40_034_128, 40_054_010..=40_054_010,
            40_061_002..=40_061_002, 40_062_003..=40_062_003, 40_064_004..=40_064_004,
        ]);
        check(Action::DropUntilMidnight, &[40_093_002..=40_093_002]);
        check(Action::CloseScope, &[
            10_003..=10_004, 304_031..=304_032, 304_034..=304_034, 304_046..=304_046,
            304_048..=304_048, 610_007..=610_007, 850_018..=850_018, 1_100_104..=1_100_104,
            1_100_301..=1_100_301, 40_034_101..=40_034_102, 40_034_105..=40_034_105,
            40_054_003..=40_054_004, 40_054_013..=40_054_013,
        ]);
        check(Action::CloseScopeUntilMidnight, &[
            304_045..=304_045, 304_047..=304_047, 304_049..=304_050,
        ]);
        check(Action::CloseScopeUntilUnmuted, &[40_054_002..=40_054_002]);
        check(Action::Permission, &[
            11_253..=11_254, 50_056..=50_056, 304_004..=304_004, 304_014..=304_014,
            304_036..=304_037, 501_017..=501_017, 620_005..=620_005, 1_100_102..=1_100_102,
            1_100_303..=1_100_303, 1_100_306..=1_100_307, 40_034_127..=40_034_127,
        ]);
        check(Action::PermissionInGuild, &[11_264..=11_264, 11_282..=11_282]);
        check(Action::Stop, &[
            11_245..=11_245, 11_251..=11_251, 11_261..=11_261, 11_265..=11_265, 11_275..=11_275,
            11_298..=11_298, 40_023_002..=40_023_002, 40_054_016..=40_054_016,
        ]);
        check(Action::Bug, &[
            10_000..=10_000, 11_262..=11_262, 11_273..=11_273, 11_301..=11_302, 12_002..=12_002,
            22_006..=22_006, 40_007..=40_007, 50_006..=50_006, 50_035..=50_035, 50_037..=50_038,
            50_040..=50_042, 50_054..=50_055, 50_057..=50_057, 50_059..=50_059, 301_000..=301_000,
            301_007..=301_007, 302_000..=302_000, 302_008..=302_008, 302_014..=302_018,
            302_022..=302_024, 304_005..=304_005, 304_011..=304_011, 304_038..=304_040,
            304_051..=304_051, 304_061..=304_062, 305_007..=305_007, 306_001..=306_001,
            340_069..=340_069, 501_001..=501_001, 501_018..=501_019, 502_001..=502_007,
            502_010..=502_010, 503_001..=503_002, 503_005..=503_007, 503_014..=503_020,
            504_001..=504_001, 610_008..=610_008, 620_001..=620_001, 630_001..=630_003,
            630_006..=630_008, 40_030_001..=40_030_001, 40_030_008..=40_030_008,
            40_030_011..=40_030_012, 40_030_014..=40_030_018, 40_030_021..=40_030_021,
            40_034_008..=40_034_011, 40_034_029..=40_034_029, 40_034_106..=40_034_106,
            40_034_108..=40_034_109, 40_034_124..=40_034_124, 40_054_007..=40_054_007,
            40_054_018..=40_054_018, 40_061_001..=40_061_001,
        ]);
        assert!(left.is_empty(), "not in the documents: {left:?}");
    }

    #[test]
    fn a_code_that_nobody_knows_is_judged_by_the_status() {
        let check = |status, expected| assert_eq!(action(status, [999]), expected, "{status}");
        check(200, Action::Done);
        check(204, Action::Done);
        check(201, Action::Pending);
        check(202, Action::Pending);
        check(302, Action::Unknown);
        check(400, Action::Unknown);
        check(401, Action::Renew);
        check(403, Action::Drop);
        check(404, Action::Drop);
        check(405, Action::Bug);
        check(418, Action::Unknown);
        check(429, Action::Wait);
        check(500, Action::Retry);
        check(504, Action::Retry);
        assert_eq!(action(200, []), Action::Done);
        assert_eq!(action(200, [0]), Action::Done);
    }

    #[test]
    fn either_of_two_codes_is_matched() {
        assert_eq!(action(401, [40_023_002, 11_298]), Action::Stop);
        assert_eq!(action(401, [1, 11_298]), Action::Stop);
        assert_eq!(
            action(401, [11_298]),
            Action::Stop,
            "the address list is no fault of the token"
        );
        assert_eq!(action(400, [40_034_005, 1]), Action::Drop);
    }

    #[test]
    fn the_token_endpoint_has_codes_of_its_own() {
        let check = |code, expected| assert_eq!(token_action(code), expected, "{code}");
        check(0, Action::Done);
        check(10_004, Action::Stop);
        check(100_001, Action::Wait);
        check(100_002, Action::Retry);
        check(100_007, Action::Stop);
        check(100_016, Action::Stop);
        check(100_099, Action::Retry);
    }
}
