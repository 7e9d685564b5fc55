//! Events prepared once, with places where the few bytes go that make each one unique.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::scope::{GUILD, OPEN_ID, Scopes};
use crate::app::{App, AppConfig};
use crate::dice::Dice;
use crate::events::{Injection, Maker, intent_of};
use crate::gateway::frame::{self, Opcode};

/// Bytes of a whole frame's payload, as real traffic was measured: with this spread, about 1.24 KB
/// in the mean.
const SIZE_MIN: f64 = 670.0;
const SIZE_MAX: f64 = 1_730.0;
/// Bends an even spread towards the longer ones.
const SIZE_BEND: f64 = 0.86;

/// What stands where a scope or a unique number goes. None of it can occur by chance: payloads
/// have no other upper-case letters in such a row.
const UNIQUE_MARK: &str = "UNIQUEUNIQUEUNIQ";
const OPEN_ID_MARK: &str = "SCOPESCOPESCOPESCOPESCOPESCOPESC";
/// Digits, as clients parse them; the real time is far away from it.
const GUILD_MARK: &str = "777777777777777777";

/// The beginning of every envelope, before the sequence.
const HEAD: &[u8] = br#"{"op":0,"s":"#;

/// One prepared event.
#[derive(Debug)]
pub(super) struct Template {
    /// The intent that lets a session see it.
    pub(super) intent: u32,
    /// The envelope after the sequence.
    tail: Vec<u8>,
    /// Where in the tail the unique number goes, in hex.
    unique: Vec<usize>,
    /// Where in the tail the scope goes.
    scope: Vec<usize>,
    kind: Scoped,
}

/// What kind of scope an event has.
#[derive(Debug, Clone, Copy)]
enum Scoped {
    Guild,
    OpenId,
}

/// Prepares that many events, in the mix of a busy bot.
pub(super) fn all(count: usize, dice: &Dice) -> Arc<[Template]> {
    let app = App::new(AppConfig::new("102000001", "unused"));
    (0..count).map(|n| prepare(n, &app, dice)).collect()
}

fn prepare(n: usize, app: &App, dice: &Dice) -> Template {
    let (kind, injection) = match n % 10 {
        0..=3 => (Scoped::OpenId, Injection::group_at(OPEN_ID_MARK, &dice.hex(32), "")),
        4..=6 => (Scoped::OpenId, Injection::c2c(OPEN_ID_MARK, "")),
        7..=8 => (Scoped::Guild, Injection::at(GUILD_MARK, "1699792", "1158788878435714165", "")),
        _ => {
            let t = "GUILD_MEMBER_ADD";
            (Scoped::Guild, Injection::of(t).with(json!({"guild_id": GUILD_MARK})))
        }
    };
    let mut injection = injection.with(json!({"timestamp": "2026-09-01T10:00:00+08:00"}));
    if injection.t != "GUILD_MEMBER_ADD" {
        injection = injection.with(json!({"id": format!("ROBOT1.0_{UNIQUE_MARK}")}));
    }
    let text = |filler: &str| {
        // A member event has no text; its nickname fills it.
        let member = if injection.t == "GUILD_MEMBER_ADD" { "nick" } else { "content" };
        let filled = injection.clone().with(json!({ member: filler }));
        let maker = Maker::new(dice, app, &filled.d, 1_788_228_000_000, n as u64);
        let event = filled.complete(&maker);
        let id = Value::from(format!("{}:{UNIQUE_MARK}", event.t));
        let tail = format!(r#","t":"{}","id":{id},"d":{}}}"#, event.t, event.text);
        // Go's encoder escapes these for HTML's sake, and they occur inside strings only.
        tail.replace('<', r"\u003c").replace('>', r"\u003e").replace('&', r"\u0026")
    };
    let room = size(dice).saturating_sub(HEAD.len() + 7 + text("").len());
    let tail = text(&filler(room));
    let mark = match kind {
        Scoped::Guild => GUILD_MARK,
        Scoped::OpenId => OPEN_ID_MARK,
    };
    let places = |mark: &str| tail.match_indices(mark).map(|(at, _)| at).collect();
    Template {
        intent: intent_of(&injection.t).expect("a type from the table"),
        unique: places(UNIQUE_MARK),
        scope: places(mark),
        tail: tail.into_bytes(),
        kind,
    }
}

fn size(dice: &Dice) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "the draw is below 2^20")]
    let even = dice.below(1 << 20) as f64 / f64::from(1 << 20);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between the two bounds"
    )]
    let size = (SIZE_MIN + (SIZE_MAX - SIZE_MIN) * even.powf(SIZE_BEND)) as usize;
    size
}

/// Chinese text with a mention now and then, of about this many bytes once it is escaped.
fn filler(bytes: usize) -> String {
    const SENTENCE: &str = "今天天气不错，我们下午三点在老地方见面吧。<@!1158788878435714165> ";
    const ESCAPED: usize = SENTENCE.len() + 2 * (r"\u003c".len() - 1);
    let mut text = SENTENCE.repeat(bytes / ESCAPED);
    let rest = bytes % ESCAPED;
    text.extend(SENTENCE.chars().take(rest / "今".len()));
    text
}

impl Template {
    /// Appends the whole frame: header, sequence, the rest with its bytes put in place.
    pub(super) fn append(
        &self,
        seq: u64,
        unique: u64,
        (scopes, scope): (&Scopes, usize),
        out: &mut Vec<u8>,
    ) {
        let mut digits = [0; 20];
        let room = digits.len();
        let mut rest = &mut digits[..];
        // Twenty digits hold any 64-bit number.
        let _ = write!(rest, "{seq}");
        let written = room - rest.len();
        frame::append_header(out, Opcode::Text, HEAD.len() + written + self.tail.len());
        out.extend_from_slice(HEAD);
        out.extend_from_slice(&digits[..written]);
        let start = out.len();
        out.extend_from_slice(&self.tail);
        let tail = &mut out[start..];
        let unique = hex(unique);
        for &at in &self.unique {
            tail[at..at + unique.len()].copy_from_slice(&unique);
        }
        let (bytes, length) = match self.kind {
            Scoped::Guild => (scopes.guild(scope), GUILD),
            Scoped::OpenId => (scopes.open_id(scope), OPEN_ID),
        };
        for &at in &self.scope {
            tail[at..at + length].copy_from_slice(bytes);
        }
    }
}

fn hex(number: u64) -> [u8; UNIQUE_MARK.len()] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; UNIQUE_MARK.len()];
    for (place, byte) in text.iter_mut().rev().enumerate() {
        *byte = DIGITS[(number >> (4 * place)) as usize & 0xf];
    }
    text
}
