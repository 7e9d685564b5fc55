//! A frame as the platform sends it, read in place.
//!
//! The order of members is never assumed, what we do not know is skipped, and `d` stays the text
//! it was. A routing member (`op`, `s`, `t`, `id`, `d`) that is there twice refuses the frame: two
//! readers could take two different ones for true.
//!
//! A frame that cannot be read may still have told its sequence: [`FrameError::seq`]. The log must
//! then hold `ses {dropped}` at that place, or the next frame would look like a hole.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::id::Seq;
pub use crate::lenient::DEPTH_MAX;
use crate::lenient::{Bytes, Raw, is_too_deep, is_whole};
use crate::opcode::Opcode;

/// The first whole number that a JSON reader with floats cannot tell from the next: 2^53.
const SEQ_END: Seq = 1 << 53;

/// One frame, borrowed from the text it came in.
///
/// Source: PLATFORM.md, "frames".
#[derive(Clone)]
pub struct Frame<'a> {
    /// What it is for.
    pub op: Opcode,
    /// Its place in the session, counted by the platform from 1.
    pub s: Option<Seq>,
    /// The type of event.
    pub t: Option<Cow<'a, str>>,
    /// The event's id, as a reply to anything but a message names it.
    pub id: Option<Cow<'a, str>>,
    /// What it carries, as it was written.
    pub d: Option<&'a RawValue>,
}

impl<'a> Frame<'a> {
    /// Reads one frame.
    ///
    /// # Errors
    ///
    /// The text is not one JSON object, nests too deep, or has a routing member that is not what
    /// it must be. Count it and go on; where [`FrameError::seq`] is known, its place in the
    /// session is used up.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        let mut read = Routing::default();
        let outcome = read.fill(text);
        let seq = read.seq_if_dispatch();
        outcome.map_err(|source| FrameError::NotJson { seq, source })?;
        if is_too_deep(text) {
            return Err(FrameError::TooDeep { seq });
        }
        if let Some(member) = read.twice {
            return Err(FrameError::Twice { member, seq });
        }
        let malformed = |member| FrameError::Malformed { member, seq };
        let op = read.op().ok_or_else(|| malformed(Member::Op))?;
        Ok(Self {
            op: op.ok_or(FrameError::Absent { member: Member::Op, seq })?,
            s: read.s().ok_or_else(|| malformed(Member::S))?,
            t: read.t().ok_or_else(|| malformed(Member::T))?,
            // An id that is no text is the platform's oddity: its event is still worth relaying.
            id: read.id.id(),
            d: read.d.written(),
        })
    }

    /// The place of a dispatch in its session.
    ///
    /// # Errors
    ///
    /// There is none, or it is 0. Over a webhook it means nothing and must not be asked for.
    pub fn numbered(&self) -> Result<Seq, FrameError> {
        match self.s {
            Some(0) => Err(FrameError::Malformed { member: Member::S, seq: None }),
            Some(seq) => Ok(seq),
            None => Err(FrameError::Absent { member: Member::S, seq: None }),
        }
    }

    /// Whether opcode 9 leaves hope for a resume: only a plain `true` does.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.payload().flag() == Some(true)
    }

    pub(crate) fn payload(&self) -> Raw<'a> {
        self.d.map(Raw::from).unwrap_or_default()
    }
}

/// Leaves out what may be somebody's text or an access token.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.d.map(|d| d.get().len());
        let mut shown = f.debug_struct("Frame");
        shown.field("op", &self.op).field("s", &self.s).field("t", &self.t).field("id", &self.id);
        shown.field("d_bytes", &size).finish()
    }
}

/// A member that decides where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Member {
    /// The opcode.
    Op,
    /// The sequence.
    S,
    /// The type.
    T,
    /// The event's id.
    Id,
    /// The payload.
    D,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Op => "op",
            Self::S => "s",
            Self::T => "t",
            Self::Id => "id",
            Self::D => "d",
        })
    }
}

/// Why a text is no frame of ours. `seq` is the place in the session that it used up all the same.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Not one JSON object from end to end.
    #[error("frame is not a JSON object")]
    NotJson {
        /// The sequence that could be read before the text broke off.
        seq: Option<Seq>,
        /// Where it broke.
        source: serde_json::Error,
    },
    /// More than [`DEPTH_MAX`] arrays and objects inside one another.
    #[error("frame nests deeper than {DEPTH_MAX} levels")]
    TooDeep {
        /// Its sequence.
        seq: Option<Seq>,
    },
    /// A routing member is there twice.
    #[error("frame has {member:?} twice", member = member.to_string())]
    Twice {
        /// The first such.
        member: Member,
        /// Its sequence.
        seq: Option<Seq>,
    },
    /// A routing member that must be there is not.
    #[error("frame has no {member:?}", member = member.to_string())]
    Absent {
        /// Which.
        member: Member,
        /// Its sequence.
        seq: Option<Seq>,
    },
    /// A routing member is of another type or out of range.
    #[error("frame's {member:?} is not what it must be", member = member.to_string())]
    Malformed {
        /// Which.
        member: Member,
        /// Its sequence.
        seq: Option<Seq>,
    },
}

impl FrameError {
    /// The place in the session that the frame used up, where it could be read.
    #[must_use]
    pub const fn seq(&self) -> Option<Seq> {
        match self {
            Self::NotJson { seq, .. }
            | Self::TooDeep { seq }
            | Self::Twice { seq, .. }
            | Self::Absent { seq, .. }
            | Self::Malformed { seq, .. } => *seq,
        }
    }

    /// The name used in metric labels and as the reason in a `ses {dropped}`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "not_json",
            Self::TooDeep { .. } => "too_deep",
            Self::Twice { .. } => "member_twice",
            Self::Absent { .. } => "member_absent",
            Self::Malformed { .. } => "member_malformed",
        }
    }
}

/// The routing members as they stand in the text, before anybody believes them.
#[derive(Default)]
struct Routing<'a> {
    op: Raw<'a>,
    s: Raw<'a>,
    t: Raw<'a>,
    id: Raw<'a>,
    d: Raw<'a>,
    twice: Option<Member>,
}

impl<'a> Routing<'a> {
    /// What was read before an error stays.
    fn fill(&mut self, text: &'a str) -> serde_json::Result<()> {
        // Asked for an object, serde_json would quote whatever else it found.
        if !text.trim_start().starts_with('{') {
            return Err(de::Error::custom("no object begins"));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        reader.deserialize_map(RoutingVisitor(self))?;
        reader.end()
    }

    fn slot(&mut self, member: Member) -> &mut Raw<'a> {
        match member {
            Member::Op => &mut self.op,
            Member::S => &mut self.s,
            Member::T => &mut self.t,
            Member::Id => &mut self.id,
            Member::D => &mut self.d,
        }
    }

    fn set(&mut self, member: Member, value: &'a RawValue) {
        let slot = self.slot(member);
        if slot.written().is_some() {
            self.twice.get_or_insert(member);
        } else {
            *slot = value.into();
        }
    }

    /// `None` if it is not a whole number, `Some(None)` if it is not there.
    fn op(&self) -> Option<Option<Opcode>> {
        let Some(op) = self.op.written() else { return Some(None) };
        // A whole number too large or below 0 is one that we do not know.
        is_whole(op.get()).then(|| Some(op.get().parse().map_or(Opcode::Unknown, Opcode::of)))
    }

    /// `None` if it is not a sequence, `Some(None)` if it is not there.
    fn s(&self) -> Option<Option<Seq>> {
        match self.s.written().map(RawValue::get) {
            None | Some("null") => Some(None),
            Some(digits) => {
                let seq = digits.parse().ok().filter(|seq| is_whole(digits) && *seq < SEQ_END);
                seq.map(Some)
            }
        }
    }

    /// `None` if it is not a text, `Some(None)` if it is not there.
    fn t(&self) -> Option<Option<Cow<'a, str>>> {
        match self.t.written().map(RawValue::get) {
            None | Some("null") => Some(None),
            Some(_) => self.t.text().map(Some),
        }
    }

    /// Only dispatches are numbered, so a frame without a readable opcode that has a number is one.
    fn seq_if_dispatch(&self) -> Option<Seq> {
        let ambiguous = matches!(self.twice, Some(Member::Op | Member::S));
        let other = matches!(self.op(), Some(Some(op)) if op != Opcode::Dispatch);
        if ambiguous || other { None } else { self.s().flatten().filter(|seq| *seq > 0) }
    }
}

struct RoutingVisitor<'a, 'r>(&'r mut Routing<'a>);

impl<'a> Visitor<'a> for RoutingVisitor<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        // A number that the text breaks off in has the look of a shorter one, so a value is
        // believed only when something has followed it.
        let mut pending = None;
        loop {
            let name = map.next_key()?;
            if let Some((member, value)) = pending.take() {
                self.0.set(member, value);
            }
            let member = match name.as_ref().map(|Bytes(name)| &**name) {
                None => return Ok(()),
                Some(b"op") => Member::Op,
                Some(b"s") => Member::S,
                Some(b"t") => Member::T,
                Some(b"id") => Member::Id,
                Some(b"d") => Member::D,
                Some(_) => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            pending = Some((member, map.next_value()?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_is_read_in_any_order_and_in_place() {
        let text = r#"{"new":{"s":9},"d":{"a" : 1},"id":"X:1","t":"X","s":42,"op":0}"#;
        let frame = Frame::parse(text).expect("a frame");
        assert_eq!(
            (frame.op, frame.s, frame.numbered().ok()),
            (Opcode::Dispatch, Some(42), Some(42))
        );
        assert_eq!(frame.d.map(RawValue::get), Some(r#"{"a" : 1}"#));
        assert!(matches!(frame.t, Some(Cow::Borrowed("X"))));
        assert!(matches!(frame.id, Some(Cow::Borrowed("X:1"))));

        let frame = Frame::parse(r#"{"\u006fp":0,"t":"a\u0062\n"}"#).expect("escapes are legal");
        assert_eq!((frame.op, frame.t.as_deref()), (Opcode::Dispatch, Some("ab\n")));
        assert!(matches!(frame.numbered(), Err(FrameError::Absent { member: Member::S, .. })));
    }

    #[test]
    fn a_frame_shows_neither_text_nor_token() {
        let frame = Frame::parse(r#"{"op":2,"d":{"token":"QQBot secret"}}"#).expect("a frame");
        assert!(!format!("{frame:?}").contains("secret"));
    }

    #[track_caller]
    fn refused(text: &str, label: &str, seq: Option<Seq>) {
        let shown: String = text.chars().take(80).collect();
        match Frame::parse(text) {
            Ok(frame) => panic!("{shown:?} was read as {frame:?}"),
            Err(error) => assert_eq!((error.label(), error.seq()), (label, seq), "{shown:?}"),
        }
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for text in
            ["", " ", "null", "[]", "\"op\"", "0", "{", "{}{}", "{} x", "\u{feff}{\"op\":0}"]
        {
            refused(text, "not_json", None);
        }
        let quoting = Frame::parse("\"secret\"").expect_err("a text is no object");
        assert!(!format!("{quoting:?}").contains("secret"));
        refused("{}", "member_absent", None);
        refused("{\"op\":0,\"s\":7,}", "not_json", None);
        refused("{\"op\":0,\"s\":7,\"d\":[1,]}", "not_json", Some(7));
        refused("{\"op\":0,\"s\":7,\"d\":\"a\u{0}b\"}", "not_json", Some(7));
        refused("{\"op\":0,\"s\":7} {\"op\":0,\"s\":8}", "not_json", Some(7));
        refused("{\"op\":0,\"s\":7,\"d\":01}", "not_json", Some(7));
        refused("{'op':0}", "not_json", None);
        refused("{\"op\":0,\"d\":NaN}", "not_json", None);
    }

    #[test]
    fn the_routing_members_must_be_what_they_are() {
        for op in ["\"0\"", "null", "0.0", "0e0", "true", "[0]", "{}"] {
            refused(&format!(r#"{{"op":{op},"s":7}}"#), "member_malformed", Some(7));
        }
        refused(r#"{"s":7,"t":"X","d":{}}"#, "member_absent", Some(7));
        for s in ["-1", "-0", "1.0", "1e3", "\"7\"", "true", "[7]", "9007199254740992"] {
            refused(&format!(r#"{{"op":0,"s":{s}}}"#), "member_malformed", None);
        }
        for s in ["9007199254740993", "18446744073709551616", "1e400"] {
            refused(&format!(r#"{{"op":0,"s":{s}}}"#), "member_malformed", None);
        }
        for t in ["7", "[]", "{}", "false"] {
            refused(&format!(r#"{{"op":0,"s":7,"t":{t}}}"#), "member_malformed", Some(7));
        }
        refused(r#"{"op":1,"s":7,"t":[]}"#, "member_malformed", None);
    }

    #[test]
    fn a_routing_member_that_is_there_twice_refuses_the_frame() {
        refused(r#"{"op":0,"op":0,"s":7}"#, "member_twice", None);
        refused(r#"{"op":0,"s":7,"s":8}"#, "member_twice", None);
        refused(r#"{"op":0,"s":7,"\u0073":7}"#, "member_twice", None);
        refused(r#"{"op":0,"t":"A","t":"A","s":7}"#, "member_twice", Some(7));
        refused(r#"{"op":0,"id":"A","id":null,"s":7}"#, "member_twice", Some(7));
        refused(r#"{"op":0,"d":{},"d":{},"s":7}"#, "member_twice", Some(7));
        let frame = Frame::parse(r#"{"op":0,"x":1,"x":2,"d":{"op":1,"op":2}}"#);
        assert!(frame.is_ok(), "what does not route may be there twice");
    }

    #[test]
    fn a_sequence_is_a_whole_number_below_two_to_the_53rd() {
        let check = |s: &str, expected| {
            let text = format!(r#"{{"op":0,"s":{s}}}"#);
            assert_eq!(Frame::parse(&text).expect("a frame").s, expected, "{s}");
        };
        check("null", None);
        check("0", Some(0));
        check("4294967296", Some(1 << 32));
        check("9007199254740991", Some((1 << 53) - 1));
        let zero = Frame::parse(r#"{"op":0,"s":0}"#).expect("a frame");
        assert!(matches!(zero.numbered(), Err(FrameError::Malformed { member: Member::S, .. })));
    }

    #[test]
    fn an_opcode_we_do_not_know_is_no_error() {
        for op in ["200", "-1", "18446744073709551616", "3"] {
            let text = format!(r#"{{"op":{op}}}"#);
            assert_eq!(Frame::parse(&text).expect("a frame").op, Opcode::Unknown, "{op}");
        }
    }

    #[test]
    fn odd_payloads_and_ids_are_kept_for_the_event_to_judge() {
        for d in ["null", "1e400", "-0", "\"\\ud800\"", "7", "[]", "\"\""] {
            let text = format!(r#"{{"op":0,"s":1,"t":"X","d":{d}}}"#);
            assert_eq!(Frame::parse(&text).expect("a frame").d.map(RawValue::get), Some(d));
        }
        let id = |json: &str| {
            let text = format!(r#"{{"op":0,"id":{json}}}"#);
            Frame::parse(&text).expect("a frame").id.map(Cow::into_owned)
        };
        assert_eq!(id(&"9".repeat(40)), Some("9".repeat(40)));
        assert_eq!(id("\"a b\\r\\n\""), Some("a b\r\n".into()));
        assert_eq!((id("null"), id("\"\""), id("[]"), id("1.5")), (None, None, None, None));
        let long = format!(r#"{{"op":0,"t":"{}"}}"#, ".*>".repeat(4000));
        assert_eq!(Frame::parse(&long).expect("a frame").t.map(|t| t.len()), Some(12_000));
        let wide: Vec<_> = (0..100_000).map(|n| format!("\"k{n}\":{n}")).collect();
        assert!(Frame::parse(&format!("{{\"op\":0,{}}}", wide.join(","))).is_ok());
    }

    #[test]
    fn nesting_has_the_bound_that_every_reader_has() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
            format!(r#"{{"op":0,"s":7,"d":{open}{close}}}"#)
        };
        for levels in [2, DEPTH_MAX] {
            assert!(Frame::parse(&nested(levels)).is_ok());
            assert!(serde_json::from_str::<serde_json::Value>(&nested(levels)).is_ok());
        }
        for levels in [DEPTH_MAX + 1, 129, 100_000] {
            refused(&nested(levels), "too_deep", Some(7));
            assert!(serde_json::from_str::<serde_json::Value>(&nested(levels)).is_err());
        }
        let flat = format!(r#"{{"op":0,"d":["{}\"[",[],[{{}}]]}}"#, "[{".repeat(500));
        assert!(Frame::parse(&flat).is_ok(), "brackets in a text nest nothing");
        let wide = format!(r#"{{"op":0,"d":[{}[]]}}"#, "[],".repeat(500));
        assert!(Frame::parse(&wide).is_ok(), "brackets side by side nest nothing");
    }

    #[test]
    fn a_frame_cut_anywhere_is_an_error() {
        let text = r#"{"op":0,"s":12,"t":"X","id":"X:\u00e9","d":{"a":[1,-2.5e3,"é"],"b":null}}"#;
        assert!(Frame::parse(text).is_ok());
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let error = Frame::parse(&text[..end]).expect_err("a part of a frame");
            let whole = end >= text.find("\"t\"").expect("it is there") + 3;
            assert_eq!(error.seq(), whole.then_some(12), "{}", &text[..end]);
        }
    }

    #[test]
    fn only_a_plain_true_makes_a_session_resumable() {
        let check = |d: &str, expected| {
            let text = format!(r#"{{"op":9{d}}}"#);
            assert_eq!(Frame::parse(&text).expect("a frame").is_resumable(), expected, "{d}");
        };
        check(r#","d":true"#, true);
        for d in ["", r#","d":false"#, r#","d":null"#, r#","d":"true""#, r#","d":1"#] {
            check(d, false);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_frame_or_an_error(text in ".{0,200}") {
            let _ = Frame::parse(&text);
        }

        #[test]
        fn a_frame_spoilt_in_one_place_never_panics(place in 0_usize..60, byte in 0_u8..128) {
            let mut text = *br#"{"op":0,"s":12,"t":"X","id":"X:1","d":{"a":[1,"b"],"c":null}}"#;
            text[place] = byte;
            let text = str::from_utf8(&text).expect("it stays ASCII");
            if let Ok(frame) = Frame::parse(text) {
                prop_assert!(frame.numbered().is_err() || frame.s < Some(SEQ_END));
            }
        }
    }
}
