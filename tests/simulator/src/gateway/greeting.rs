//! IDENTIFY and RESUME: who may have which session.
//!
//! Source: spec/gateway.md §4.2–4.5, §5.

use std::sync::Arc;

use qqrelay_proto::id::SessionId;
use serde_json::{Value, json};

use super::budget::Identifies;
use super::fault::SocketFault;
use super::link::{Closing, Link, Order};
use super::session::{CannotResume, Greeting, Session};
use super::socket;
use crate::app::{AppHandle, KNOWN_INTENTS};
use crate::config::{Enforcement, Refusal};
use crate::faults::Occasion;
use crate::journal::Entry;
use crate::platform::Platform;
use crate::shard::Shard;

/// Answers an op 2.
pub(super) fn identify(platform: &Platform, link: &Arc<Link>, d: &Value) {
    let wanted = Wanted::read(d);
    let app = d["token"].as_str().and_then(|text| platform.credential(text).ok());
    platform.journal.record(Entry::Identify {
        connection: link.number,
        app: app.as_ref().map(|app| app.id.clone()),
        shard: wanted.shard,
        intents: wanted.intents,
    });
    let answer = match app {
        Some(app) => admit(platform, &app, &wanted).map(|admitted| (app, admitted)),
        None => Err(no_credential(d)),
    };
    match answer {
        Ok((app, Some(admitted))) => begin(platform, link, &app, admitted),
        Ok((_, None)) => {}
        Err(refusal) => refuse(platform, link, refusal, "create session error"),
    }
}

/// What an IDENTIFY asks for, as far as it can be read.
struct Wanted {
    shard: Option<Shard>,
    intents: Option<u64>,
}

impl Wanted {
    fn read(d: &Value) -> Self {
        // A client that says nothing of shards wants everything.
        let shard = match &d["shard"] {
            Value::Null => Some(Shard::WHOLE),
            pair => serde_json::from_value(pair.clone()).ok(),
        };
        Self { shard, intents: d["intents"].as_u64() }
    }
}

/// A session to begin, and how its READY differs from an ordinary one.
struct Admitted {
    shard: Shard,
    intents: u32,
    altered: Option<Value>,
}

/// Lets a bot in, or says why not; nothing when it is to be left waiting.
fn admit(
    platform: &Platform,
    app: &AppHandle,
    wanted: &Wanted,
) -> Result<Option<Admitted>, Refusal> {
    if let Some(code) = app.standing().ban {
        return Err(Refusal::Close(code));
    }
    let shard = wanted.shard.filter(|shard| shard.is_valid()).ok_or(Refusal::Close(4010))?;
    let intents = wanted.intents.and_then(|bits| u32::try_from(bits).ok());
    let intents = intents.filter(|bits| bits & !KNOWN_INTENTS == 0).ok_or(Refusal::Close(4013))?;
    if intents & !app.intents != 0 {
        return Err(Refusal::Close(4014));
    }
    let rules = &platform.config.gateway;
    let (at_once, a_day) = (rules.max_concurrency, rules.identifies_a_day);
    let counted = platform.identifies.spend(&app.id, at_once, a_day, platform.now());
    if rules.identify == Enforcement::Enforced && counted != Identifies::Within {
        return Err(Refusal::InvalidSession(4903));
    }
    let occasion = Occasion { app: Some(&app.id), shard: Some(shard), ..Occasion::default() };
    let here = |fault: &SocketFault| {
        matches!(
            fault,
            SocketFault::RefuseIdentify(_) | SocketFault::NoReady | SocketFault::ReadyAs(_)
        )
    };
    let mut admitted = Admitted { shard, intents, altered: None };
    match platform.faults.socket.strike_if(&occasion, here) {
        Some(SocketFault::RefuseIdentify(refusal)) => return Err(refusal),
        Some(SocketFault::NoReady) => return Ok(None),
        Some(SocketFault::ReadyAs(members)) => admitted.altered = Some(members),
        _ => {}
    }
    Ok(Some(admitted))
}

fn begin(platform: &Platform, link: &Arc<Link>, app: &AppHandle, admitted: Admitted) {
    let id = SessionId::from(platform.dice.uuid());
    // The identified pair comes back as it was: botgo and botpy identify with it the next time.
    let mut ready = json!({
        "version": 1,
        "session_id": id.as_str(),
        "user": {"id": app.user_id, "username": app.name, "bot": true},
        "shard": [admitted.shard.index, admitted.shard.count],
    });
    if let (Some(Value::Object(members)), Some(ready)) = (admitted.altered, ready.as_object_mut()) {
        for (name, value) in members {
            match value {
                Value::Null => drop(ready.remove(&name)),
                value => drop(ready.insert(name, value)),
            }
        }
    }
    let replay = platform.config.replay.clone();
    let journal = Arc::clone(&platform.journal);
    let slice = (admitted.shard, admitted.intents);
    let flood = platform.flood.as_ref();
    let stream = flood.and_then(|flood| flood.stream(admitted.shard, admitted.intents));
    let session = Session::begin((id, Arc::clone(app)), slice, (replay, stream), journal);
    let session = Arc::new(session);
    session.ready(Arc::clone(link), &ready, platform.now());
    platform.sessions.insert(Arc::clone(&session));
    link.serve(session);
}

/// Answers an op 6.
pub(super) fn resume(platform: &Platform, link: &Arc<Link>, d: &Value) {
    let token = d["token"].as_str().unwrap_or_default();
    // botgo sends the bare token here, and the real platform takes it.
    let app = platform.credential(token).or_else(|_| platform.access_token(token)).ok();
    let name = d["session_id"].as_str().unwrap_or_default();
    let seq = d["seq"].as_u64();
    platform.journal.record(Entry::Resume {
        connection: link.number,
        app: app.as_ref().map(|app| app.id.clone()),
        session: name.to_owned(),
        seq,
    });
    let answer = match app {
        Some(app) => go_on(platform, link, &app, (name, seq)),
        None => Err(no_credential(d)),
    };
    if let Err(refusal) = answer {
        refuse(platform, link, refusal, "session no longer valid");
    }
}

fn go_on(
    platform: &Platform,
    link: &Arc<Link>,
    app: &AppHandle,
    (name, seq): (&str, Option<u64>),
) -> Result<(), Refusal> {
    let rules = &platform.config.gateway;
    if let Some(code) = app.standing().ban {
        return Err(Refusal::Close(code));
    }
    let session = platform.sessions.find(&app.id, name, platform.now());
    let shard = session.as_ref().map(|session| session.shard);
    let occasion = Occasion { app: Some(&app.id), shard, ..Occasion::default() };
    let here = |fault: &SocketFault| {
        matches!(fault, SocketFault::RefuseResume(_) | SocketFault::NoResumed)
    };
    let greeting = match platform.faults.socket.strike_if(&occasion, here) {
        Some(SocketFault::RefuseResume(refusal)) => return Err(refusal),
        Some(SocketFault::NoResumed) => Greeting::Omitted,
        _ => Greeting::Said,
    };
    let session = session.ok_or(rules.unknown_session)?;
    let seq = seq.ok_or(rules.bad_seq)?;
    let resumed =
        session.resume(Arc::clone(link), seq, (rules.second_socket, greeting), platform.now());
    let replaced = resumed.map_err(|why| match why {
        CannotResume::Over => rules.unknown_session,
        CannotResume::Ahead => rules.bad_seq,
        CannotResume::TooOld => rules.too_old,
        CannotResume::Taken => Refusal::Close(4902),
    })?;
    if let Some(older) = replaced {
        older.order(Order::Close(Closing::now(4902, "reset by resume")));
    }
    link.serve(session);
    Ok(())
}

/// What a credential that is nobody's is answered.
fn no_credential(d: &Value) -> Refusal {
    match d["token"] {
        Value::String(_) => Refusal::Close(4004),
        _ => Refusal::Close(4002),
    }
}

/// Turns a client down.
pub(super) fn refuse(platform: &Platform, link: &Link, refusal: Refusal, reason: &str) {
    let delay = platform.config.gateway.close_delay;
    let later = |code| Closing::now(code, reason).after(delay);
    match refusal {
        Refusal::InvalidSession(code) => {
            socket::invalid_session(platform, link, false, later(code))
        }
        Refusal::ComeAgain(code) => socket::invalid_session(platform, link, true, later(code)),
        Refusal::Close(code) => link.order(Order::Close(Closing::now(code, reason))),
        Refusal::HangUp => link.order(Order::HangUp),
    }
}
