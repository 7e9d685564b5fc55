//! Every NATS subject, stream and consumer name is built here and nowhere else.
//!
//! Text from outside becomes a [`Token`] first: it is escaped, never refused, and can neither add
//! a token to a subject nor put a wildcard into it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::event::EventKind;
use crate::hash::{fnv1a32, sha256_hex};
use crate::id::{AppId, NameError, OwnerId, Scene, Scope, ShardId};

/// One dot-separated part of a subject, made from text that may hold anything.
///
/// A byte outside `[A-Za-z0-9_-]` becomes `=HH` (upper-case hex), an empty text `=`, and a text
/// over 128 bytes `=h` and its SHA-256 in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(Box<str>);

impl Token {
    /// The longest text that is written out, in bytes.
    const MAX: usize = 128;

    /// Makes a token of any text. Nothing is refused: an event must be relayed whatever its ids.
    #[must_use]
    pub fn escape(raw: &str) -> Self {
        let mut token = String::with_capacity(raw.len());
        match raw.len() {
            0 => token.push('='),
            1..=Self::MAX => raw.bytes().for_each(|byte| push_escaped(&mut token, byte)),
            _ => token = format!("=h{}", sha256_hex(raw.as_bytes())),
        }
        Self(token.into())
    }

    /// Takes a token as it stands in a subject; `None` for what the escape rule never gives.
    #[must_use]
    pub fn read(token: &str) -> Option<Self> {
        let ours = |byte: u8| is_plain(byte) || byte == b'=';
        (!token.is_empty() && token.bytes().all(ours)).then(|| Self(token.into()))
    }

    /// The text the token was made of; `None` of a hash, which cannot be undone.
    #[must_use]
    pub fn unescape(&self) -> Option<String> {
        if &*self.0 == "=" {
            return Some(String::new());
        }
        let mut raw = Vec::with_capacity(self.0.len());
        let mut rest = self.0.as_bytes();
        while let [byte, tail @ ..] = rest {
            rest = tail;
            if *byte == b'=' {
                let (digits, tail) = rest.split_at_checked(2)?;
                let digits = std::str::from_utf8(digits).ok()?;
                raw.push(u8::from_str_radix(digits, 16).ok()?);
                rest = tail;
            } else {
                raw.push(*byte);
            }
        }
        String::from_utf8(raw).ok()
    }

    /// The token as it stands in a subject.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn push_escaped(token: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if is_plain(byte) {
        token.push(char::from(byte));
    } else {
        let digit = |nibble: u8| char::from(HEX[usize::from(nibble)]);
        token.extend(['=', digit(byte >> 4), digit(byte & 0xF)]);
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part of the log a record lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// A chain with one writer, by its number, 0 to 99.
    Chain(u8),
    /// What webhook replicas write.
    Webhook,
}

impl Partition {
    /// Most partitions a log may have: two digits name one.
    pub const MAX: u8 = 100;

    /// The partition of `count` that holds this shard.
    #[must_use]
    pub fn of_shard(app: &AppId, shard: ShardId, count: u8) -> Self {
        let place = u64::from(fnv1a32([app.as_str().as_bytes()])) + u64::from(shard.index());
        let number = place % u64::from(count.clamp(1, Self::MAX));
        Self::Chain(u8::try_from(number).expect("a remainder of at most 100 fits"))
    }

    /// The stream that holds it: `QQ_EV_03`, `QQ_EV_wh`.
    #[must_use]
    pub fn stream(self) -> String {
        format!("QQ_EV_{self}")
    }

    /// Everything in it: `qq.v1.ev.03.>`.
    #[must_use]
    pub fn all(self) -> String {
        format!("qq.v1.ev.{self}.>")
    }

    /// Where its owner writes its markers: `qq.v1.ev.03.own`.
    #[must_use]
    pub fn ownership(self) -> String {
        format!("qq.v1.ev.{self}.own")
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(number) => write!(f, "{number:02}"),
            Self::Webhook => f.write_str("wh"),
        }
    }
}

impl FromStr for Partition {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let chain = || text.parse().ok().filter(|&number| number < Self::MAX).map(Self::Chain);
        let partition = if text == "wh" { Some(Self::Webhook) } else { chain() };
        partition.filter(|partition| partition.to_string() == text).ok_or_else(|| NameError {
            found: text.into(),
            expected: "a partition: two digits, or wh",
        })
    }
}

/// The way an event came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A WebSocket shard.
    Shard(ShardId),
    /// The webhook.
    Webhook,
    /// The platform of 2016.
    Legacy,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => shard.fmt(f),
            Self::Webhook => f.write_str("wh"),
            Self::Legacy => f.write_str("legacy"),
        }
    }
}

impl FromStr for Source {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "wh" => Ok(Self::Webhook),
            "legacy" => Ok(Self::Legacy),
            shard => shard.parse().map(Self::Shard),
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(Partition Source);

/// One of the 16 shares of all scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub struct Lane(u8);

impl Lane {
    /// Number of lanes, fixed when the streams are made.
    pub const COUNT: u8 = 16;

    /// Every lane, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// Lane `number`; `None` from 16 on.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The lane of a scope: what a server's `partition(16,1,2,3)` gives for the three tokens,
    /// which it joins without a separator.
    #[must_use]
    pub fn of(app: &Token, scene: Scene, scope: &Token) -> Self {
        let tokens = [app.as_str(), scene.as_str(), scope.as_str()];
        let hash = fnv1a32(tokens.map(str::as_bytes));
        Self((hash % u32::from(Self::COUNT)) as u8)
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl From<Lane> for u8 {
    fn from(lane: Lane) -> Self {
        lane.0
    }
}

impl TryFrom<u8> for Lane {
    type Error = NameError;

    fn try_from(number: u8) -> Result<Self, NameError> {
        let error = || NameError { found: number.to_string(), expected: "a lane: 0 to 15" };
        Self::new(number).ok_or_else(error)
    }
}

impl Lane {
    /// Its events in a partition: `qq.v1.ev.03.*.*.e.7.>`.
    #[must_use]
    pub fn events_in(self, partition: Partition) -> String {
        format!("qq.v1.ev.{partition}.*.*.e.{self}.>")
    }

    /// Its commands, as the stream stores them: `qq.v1.cmd.7.>`.
    #[must_use]
    pub fn commands(self) -> String {
        format!("qq.v1.cmd.{self}.>")
    }

    /// One of its consumers: `7-12`. What follows the lane tells its holders apart.
    #[must_use]
    pub fn consumer(self, holder: impl fmt::Display) -> String {
        format!("{self}-{holder}")
    }

    /// What follows the lane in the name of one of its consumers; `None` of another's.
    #[must_use]
    pub fn holder_of(self, consumer: &str) -> Option<&str> {
        let (lane, holder) = consumer.split_once('-')?;
        (lane == self.to_string() && !holder.is_empty()).then_some(holder)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where one source's records lie: `qq.v1.ev.02.102.4-0`, the start of all their subjects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceSubject {
    /// Where in the log.
    pub partition: Partition,
    /// The bot.
    pub app: Token,
    /// How it comes in.
    pub source: Source,
}

impl SourceSubject {
    /// A source's place in the log.
    #[must_use]
    pub fn new(partition: Partition, app: &AppId, source: Source) -> Self {
        Self { partition, app: Token::escape(app.as_str()), source }
    }

    /// Everything of this source: `qq.v1.ev.02.102.4-0.>`.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{self}.>")
    }

    /// Where its session's own records go.
    #[must_use]
    pub fn session(&self) -> String {
        format!("{self}.ses")
    }

    /// Where repeated events go.
    #[must_use]
    pub fn duplicate(&self) -> String {
        format!("{self}.dup")
    }

    /// Where losses are recorded.
    #[must_use]
    pub fn gap(&self) -> String {
        format!("{self}.gap")
    }

    /// Where an event goes: `….e.<lane>.<scene>.<scope>.<kind>`.
    #[must_use]
    pub fn event(&self, scope: &Scope, kind: EventKind) -> String {
        let token = Token::escape(&scope.id);
        let lane = Lane::of(&self.app, scope.scene, &token);
        format!("{self}.e.{lane}.{}.{token}.{kind}", scope.scene)
    }
}

impl fmt::Display for SourceSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, app, source } = self;
        write!(f, "qq.v1.ev.{partition}.{app}.{source}")
    }
}

/// A text that is not one of our subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a subject of the event log")]
pub struct SubjectError(pub String);

/// What a subject of the event log says, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSubject {
    /// `qq.v1.ev.<pp>.own`
    Ownership(Partition),
    /// `qq.v1.ev.<pp>.<app>.<source>.e.<lane>.<scene>.<scope>.<kind>`
    Event {
        /// Whose chain of records.
        source: SourceSubject,
        /// Which share of all scopes.
        lane: Lane,
        /// What kind of place.
        scene: Scene,
        /// The place.
        scope: Token,
        /// What happened there; `None` for a name of a later release.
        kind: Option<EventKind>,
    },
    /// `….ses`
    Session(SourceSubject),
    /// `….dup`
    Duplicate(SourceSubject),
    /// `….gap`
    Gap(SourceSubject),
}

impl LogSubject {
    /// The source whose record it is; `None` of ownership.
    #[must_use]
    pub const fn source(&self) -> Option<&SourceSubject> {
        match self {
            Self::Ownership(_) => None,
            Self::Event { source, .. }
            | Self::Session(source)
            | Self::Duplicate(source)
            | Self::Gap(source) => Some(source),
        }
    }
}

impl FromStr for LogSubject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        parse_log(text).ok_or_else(|| SubjectError(text.into()))
    }
}

fn parse_log(text: &str) -> Option<LogSubject> {
    let parts: Vec<_> = text.split('.').collect();
    if let ["qq", "v1", "ev", partition, "own"] = parts[..] {
        return Some(LogSubject::Ownership(partition.parse().ok()?));
    }
    let ["qq", "v1", "ev", partition, app, source, ref rest @ ..] = parts[..] else {
        return None;
    };
    let source = SourceSubject {
        partition: partition.parse().ok()?,
        app: Token::read(app)?,
        source: source.parse().ok()?,
    };
    match *rest {
        ["ses"] => Some(LogSubject::Session(source)),
        ["dup"] => Some(LogSubject::Duplicate(source)),
        ["gap"] => Some(LogSubject::Gap(source)),
        ["e", lane, scene, scope, kind] => {
            let (scene, scope) = (scene.parse().ok()?, Token::read(scope)?);
            let expected = Lane::of(&source.app, scene, &scope);
            let kind_token = Token::read(kind)?;
            (expected.to_string() == lane).then(|| LogSubject::Event {
                source,
                lane: expected,
                scene,
                scope,
                kind: kind_token.as_str().parse().ok(),
            })
        }
        _ => None,
    }
}

/// The stream that holds commands until they are done: `QQ_COMMANDS`.
pub const COMMANDS: &str = "QQ_COMMANDS";

/// What outside consumers publish commands to.
pub const COMMAND_SUBJECTS: &str = "qq.v1.cmd.*.*.*.*";

/// What [`COMMANDS`] makes of it: the server puts the lane in, as [`Lane::of`] computes it.
pub const COMMAND_STORED_AS: &str = "qq.v1.cmd.{{partition(16,1,2,3)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}";

/// The stream of attempts and outcomes: `QQ_RESULTS`.
pub const RESULTS: &str = "QQ_RESULTS";

/// All that is known of any command.
pub const RESULT_SUBJECTS: &str = "qq.v1.res.>";

/// The stream of what could not be handled: `QQ_DLQ`.
pub const LETTERS: &str = "QQ_DLQ";

/// Everything parked.
pub const LETTER_SUBJECTS: &str = "qq.v1.dlq.>";

/// Where commands are asked for and waited for: every app, every action.
pub const REQUESTS: &str = "qq.v1.rpc.*.*";

/// Where gateways say how their shards are: every app, every source.
pub const SHARD_STATES: &str = "qq.v1.ctl.shard.*.*";

/// Where gateways say that they live and what they hold.
pub const HEARTBEATS: &str = "qq.v1.ctl.hb.*";

/// Where workers say that they live and which lanes they have.
pub const WORKERS: &str = "qq.v1.ctl.lanes.*";

/// Where gateways are asked for partitions.
pub const TAKES: &str = "qq.v1.ctl.take.*";

/// Where a command for one scope goes, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScopeSubject {
    /// The bot.
    pub app: Token,
    /// What kind of place.
    pub scene: Scene,
    /// The place.
    pub scope: Token,
}

impl ScopeSubject {
    /// The subjects of this scope.
    #[must_use]
    pub fn new(app: &AppId, scope: &Scope) -> Self {
        let (app, token) = (Token::escape(app.as_str()), Token::escape(&scope.id));
        Self { app, scene: scope.scene, scope: token }
    }

    /// The lane that handles it.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane::of(&self.app, self.scene, &self.scope)
    }

    /// What an outside consumer publishes to: `qq.v1.cmd.<app>.<scene>.<scope>.<action>`.
    #[must_use]
    pub fn command(&self, action: &str) -> String {
        let Self { app, scene, scope } = self;
        format!("qq.v1.cmd.{app}.{scene}.{scope}.{}", Token::escape(action))
    }

    /// The same as the stream stores it: `qq.v1.cmd.<lane>.<app>.<scene>.<scope>.<action>`.
    #[must_use]
    pub fn stored_command(&self, action: &str) -> String {
        let Self { app, scene, scope } = self;
        format!("qq.v1.cmd.{}.{app}.{scene}.{scope}.{}", self.lane(), Token::escape(action))
    }

    /// Attempts and outcome of one command: `qq.v1.res.<app>.<scene>.<scope>.<command id>`.
    #[must_use]
    pub fn result(&self, command_id: &str) -> String {
        let Self { app, scene, scope } = self;
        format!("qq.v1.res.{app}.{scene}.{scope}.{}", Token::escape(command_id))
    }

    /// What could not be handled: `qq.v1.dlq.<lane>.<app>.<scene>.<scope>.<kind>`.
    #[must_use]
    pub fn dead_letter(&self, kind: &str) -> String {
        let Self { app, scene, scope } = self;
        format!("qq.v1.dlq.{}.{app}.{scene}.{scope}.{}", self.lane(), Token::escape(kind))
    }
}

/// A command's subject, read back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandSubject {
    /// Whom it is for.
    pub place: ScopeSubject,
    /// What to do there.
    pub action: Token,
}

impl CommandSubject {
    /// Reads what an outside consumer publishes to; `None` of anything else.
    #[must_use]
    pub fn outside(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('.').collect();
        let ["qq", "v1", "cmd", app, scene, scope, action] = parts[..] else { return None };
        let (app, scope) = (Token::read(app)?, Token::read(scope)?);
        let place = ScopeSubject { app, scene: scene.parse().ok()?, scope };
        Some(Self { place, action: Token::read(action)? })
    }

    /// Reads what the stream stores; `None` of anything else, a wrong lane included.
    #[must_use]
    pub fn stored(text: &str) -> Option<Self> {
        let (lane, rest) = text.strip_prefix("qq.v1.cmd.")?.split_once('.')?;
        let command = Self::outside(&format!("qq.v1.cmd.{rest}"))?;
        (command.place.lane().to_string() == lane).then_some(command)
    }

    /// The subject that the stream stores it under.
    #[must_use]
    pub fn to_stored(&self) -> String {
        let Self { place: ScopeSubject { app, scene, scope }, action } = self;
        format!("qq.v1.cmd.{}.{app}.{scene}.{scope}.{action}", self.place.lane())
    }
}

/// Ask-and-wait: `qq.v1.rpc.<app>.<action>`.
#[must_use]
pub fn request(app: &AppId, action: &str) -> String {
    format!("qq.v1.rpc.{}.{}", Token::escape(app.as_str()), Token::escape(action))
}

/// How one shard is: `qq.v1.ctl.shard.<app>.<source>`.
#[must_use]
pub fn shard_state(app: &AppId, source: Source) -> String {
    format!("qq.v1.ctl.shard.{}.{source}", Token::escape(app.as_str()))
}

/// That one gateway lives, and what it holds: `qq.v1.ctl.hb.<gateway>`.
#[must_use]
pub fn heartbeat(gateway: &OwnerId) -> String {
    format!("qq.v1.ctl.hb.{}", Token::escape(gateway.as_str()))
}

/// That one worker lives, and which lanes it has: `qq.v1.ctl.lanes.<worker>`.
#[must_use]
pub fn worker(worker: &OwnerId) -> String {
    format!("qq.v1.ctl.lanes.{}", Token::escape(worker.as_str()))
}

/// Where a partition's holder is asked for it: `qq.v1.ctl.take.<pp>`.
#[must_use]
pub fn take(partition: Partition) -> String {
    format!("qq.v1.ctl.take.{partition}")
}

/// Whether a NATS filter takes this subject: `*` stands for one token, a last `>` for one or more.
#[must_use]
pub fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return filter.next().is_none(),
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(app: &str) -> SourceSubject {
        let shard = ShardId::new(0, 4).expect("0 is below 4");
        SourceSubject::new(Partition::Chain(2), &app.into(), Source::Shard(shard))
    }

    fn event(app: &str, scene: Scene, scope: &str) -> String {
        source(app).event(&Scope::new(scene, scope), EventKind::MessageCreate)
    }

    #[test]
    fn subjects_read_as_the_design_writes_them() {
        let scope = Scope::new(Scene::Group, "A1");
        assert_eq!(
            event("102", Scene::Group, "A1"),
            "qq.v1.ev.02.102.4-0.e.7.group.A1.message_create"
        );
        assert_eq!(source("102").session(), "qq.v1.ev.02.102.4-0.ses");
        assert_eq!(source("102").gap(), "qq.v1.ev.02.102.4-0.gap");
        assert_eq!(source("102").duplicate(), "qq.v1.ev.02.102.4-0.dup");
        assert_eq!(Partition::Chain(2).ownership(), "qq.v1.ev.02.own");
        assert_eq!(Partition::Webhook.stream(), "QQ_EV_wh");
        let place = ScopeSubject::new(&"102".into(), &scope);
        assert_eq!(place.command("send"), "qq.v1.cmd.102.group.A1.send");
        assert_eq!(place.stored_command("send"), "qq.v1.cmd.7.102.group.A1.send");
        assert_eq!(place.result("e:1"), "qq.v1.res.102.group.A1.e=3A1");
        assert_eq!(place.dead_letter("message_create"), "qq.v1.dlq.7.102.group.A1.message_create");
        assert_eq!(request(&"102".into(), "send"), "qq.v1.rpc.102.send");
        let shard = Source::Shard(ShardId::new(0, 4).expect("0 is below 4"));
        assert_eq!(shard_state(&"102".into(), shard), "qq.v1.ctl.shard.102.4-0");
        assert_eq!(heartbeat(&"gw.1".into()), "qq.v1.ctl.hb.gw=2E1");
        assert_eq!(take(Partition::Chain(3)), "qq.v1.ctl.take.03");
        assert!(matches(HEARTBEATS, &heartbeat(&"gw.1".into())));
        assert!(matches(WORKERS, &worker(&"wk.1".into())));
        assert!(matches(TAKES, &take(Partition::Chain(3))));
    }

    #[test]
    fn a_lanes_filters_and_consumers_read_as_the_design_writes_them() {
        let lane = Lane::new(7).expect("there are 16 lanes");
        assert_eq!(lane.events_in(Partition::Chain(3)), "qq.v1.ev.03.*.*.e.7.>");
        assert!(matches(&lane.events_in(Partition::Chain(2)), &event("102", Scene::Group, "A1")));
        let place = ScopeSubject::new(&"102".into(), &Scope::new(Scene::Group, "A1"));
        assert!(matches(&lane.commands(), &place.stored_command("send")));
        assert!(matches(COMMAND_SUBJECTS, &place.command("send")));
        assert_eq!(lane.consumer(12), "7-12");
        let one = Lane::new(1).expect("there are 16 lanes");
        let check = |lane: Lane, name, expected| assert_eq!(lane.holder_of(name), expected);
        check(lane, "7-12", Some("12"));
        check(one, "1-a", Some("a"));
        check(one, "11-a", None);
        check(one, "1-", None);
        check(one, "ping", None);
    }

    /// Expected lanes are those of nats-server 2.15's `partition(16,1,2,3)`.
    #[test]
    fn lanes_are_the_servers_own() {
        let check = |app: &str, scene, scope: &str, expected| {
            let lane = Lane::of(&Token::escape(app), scene, &Token::escape(scope));
            assert_eq!(lane.number(), expected, "{app} {scene} {scope}");
        };
        check("102", Scene::Group, "A1", 7);
        check("102", Scene::Guild, "7331", 7);
        check("102000001", Scene::C2c, ".*", 5);
    }

    #[test]
    fn escapes() {
        let check = |raw: &str, expected: &str| assert_eq!(Token::escape(raw).as_str(), expected);
        check("a-Z_9", "a-Z_9");
        check("", "=");
        check(".*", "=2E=2A");
        check("a b>\r\n", "a=20b=3E=0D=0A");
        check("群", "=E7=BE=A4");
        assert_eq!(Token::escape(&"x".repeat(128)).as_str().len(), 128);
        assert_eq!(Token::escape(&"x".repeat(129)).as_str().len(), 66);
    }

    #[test]
    fn a_subject_in_another_spelling_is_not_ours() {
        let check = |text: &str| assert!(text.parse::<LogSubject>().is_err(), "{text}");
        check("qq.v1.ev.2.102.4-0.e.7.group.A1.message_create");
        check("qq.v1.ev.02.102.4-0.e.8.group.A1.message_create");
        check("qq.v1.ev.02.102.4-4.e.7.group.A1.message_create");
        check("qq.v1.ev.02.102.4-0.e.7.group.A1.>");
        check("qq.v1.ev.02.102.4-0");
        check("qq.v1.ev.100.own");
    }

    #[test]
    fn a_commands_two_subjects_read_back() {
        let place = ScopeSubject::new(&"102".into(), &Scope::new(Scene::Group, "A.1"));
        let outside = CommandSubject::outside(&place.command("send")).expect("it is one");
        assert_eq!(outside.place, place);
        assert_eq!(outside.to_stored(), place.stored_command("send"));
        assert_eq!(CommandSubject::stored(&outside.to_stored()), Some(outside.clone()));
        let check = |text: &str| {
            assert_eq!(CommandSubject::outside(text), None, "{text}");
            assert_eq!(CommandSubject::stored(text), None, "{text}");
        };
        check("qq.v1.cmd.102.group.A1");
        check("qq.v1.cmd.102.nowhere.A1.send");
        check("qq.v1.cmd.102.group.*.send");
        check("qq.v1.cmd.16.102.group.A1.send");
        check("qq.v1.res.102.group.A1.send");
        let wrong_lane = outside.to_stored().replacen("cmd.", "cmd.1", 1);
        assert_eq!(CommandSubject::stored(&wrong_lane), None);
    }

    #[test]
    fn filters_match_as_the_server_matches() {
        let check = |filter, subject, expected| assert_eq!(matches(filter, subject), expected);
        check("a.b", "a.b", true);
        check("a.*", "a.b", true);
        check("a.*", "a.b.c", false);
        check("a.>", "a.b.c", true);
        check("a.>", "a", false);
        check(">", "a", true);
        check("a.>.c", "a.b.c", false);
    }

    #[test]
    fn a_bots_shards_spread_over_the_partitions() {
        let app = AppId::from("102000001");
        let places: std::collections::BTreeSet<_> =
            ShardId::all(8).map(|shard| Partition::of_shard(&app, shard, 8)).collect();
        assert_eq!(places.len(), 8);
        let alone = ShardId::new(7, 8).expect("7 is below 8");
        assert_eq!(Partition::of_shard(&app, alone, 1), Partition::Chain(0));
    }

    proptest! {
        #[test]
        fn any_ids_give_a_subject_that_reads_back(app in ".*", scope in ".*") {
            let text = event(&app, Scene::Group, &scope);
            prop_assert_eq!(text.split('.').count(), 11);
            prop_assert!(!text.contains(['*', '>', ' ', '\r', '\n']) && !text.contains(".."));
            let read: LogSubject = text.parse().expect("what prints also parses");
            let LogSubject::Event { source, lane, scope: token, .. } = read else {
                panic!("an event was printed");
            };
            prop_assert_eq!(source.app.unescape(), (app.len() <= 128).then_some(app));
            prop_assert_eq!(token.unescape(), (scope.len() <= 128).then_some(scope));
            prop_assert!(lane.number() < Lane::COUNT);
        }

        #[test]
        fn two_texts_never_share_a_token(a in ".{0,40}", b in ".{0,40}") {
            prop_assert_eq!(a == b, Token::escape(&a) == Token::escape(&b));
        }
    }
}
