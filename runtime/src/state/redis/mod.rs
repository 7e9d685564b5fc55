//! The shared state on Redis or Valkey, version 6.2 or later.
//!
//! Every decision that several processes may make at once is one script, and its time is the
//! server's. Two rules a newcomer would break: nothing here is retried, because the trait says of
//! each method what asking again costs; and no script touches the keys of two bots, which a cluster
//! keeps on different servers.

mod connect;
mod error;
mod link;
mod scan;
mod script;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use qqrelay_proto::bucket::COOL_DOWN_MAX;
use qqrelay_proto::command::{CommandId, MsgSeq};
use qqrelay_proto::id::{AppId, OwnerId};
use qqrelay_proto::identify::{Asker, IdentifyBudget, Permit, StartLimit};
use qqrelay_proto::ledger::{Claim, LEDGER_LIFE, REPLIES_MAX, Right};
use qqrelay_proto::record::Place;
use qqrelay_proto::subject::{Lane, Source};
use qqrelay_proto::time::UnixMs;

use super::values::{GatewayRow, ResumeRow};
use super::{
    Admission, Flight, GatewayAnswer, Lease, LeaseKey, Renewal, ReplyKey, ResumeCopy, SealedToken,
    Sighting, State, StateError, Taking, UNTOLD, Want, key,
};
use crate::config;
use link::Link;
use script::{Call, ms};

pub use connect::ConnectError;

/// How often a value that others change at the same time is read again before giving up.
const SWAPS_MAX: usize = 64;

/// The state on Redis. A clone is the same state.
#[derive(Debug, Clone)]
pub struct RedisState {
    link: Arc<Link>,
}

impl RedisState {
    /// Connects, and checks that the servers are what they have to be.
    ///
    /// # Errors
    ///
    /// The variant says what is in the way and what to do about it;
    /// [`ConnectError::is_passing`] says whether trying again may help.
    pub async fn connect(redis: &config::Redis) -> Result<Self, ConnectError> {
        Ok(Self { link: Arc::new(connect::open(redis).await?) })
    }

    async fn lease_call(
        &self,
        key: LeaseKey,
        what: &str,
        known: Option<&Lease>,
        taker: Option<&OwnerId>,
    ) -> Result<(String, Option<Lease>), StateError> {
        let mut call = Call::of(&script::LEASE, key::lease(key));
        call.arg(what);
        match known {
            Some(lease) => {
                call.arg(lease.owner.as_str()).arg(lease.incarnation).arg(lease.counter);
            }
            None => {
                call.arg("").arg("").arg("");
            }
        }
        call.arg(ms(key::LEASE_TTL)).arg(ms(key::LEASE_MEMORY));
        call.arg(taker.map_or("", |taker| taker.as_str()));
        let answer: Vec<String> = self.link.call(call).await?;
        let mut words = answer.into_iter();
        let word = words.next().unwrap_or_default();
        let lease = match (words.next(), words.next(), words.next()) {
            (Some(owner), Some(incarnation), Some(counter)) => {
                let number = |text: String| text.parse().map_err(|_| foreign(key::lease(key)));
                let (incarnation, counter) = (number(incarnation)?, number(counter)?);
                Some(Lease { owner: owner.into(), incarnation, counter })
            }
            _ => None,
        };
        Ok((word, lease))
    }

    async fn ledger_call<T: redis::FromRedisValue>(
        &self,
        key: ReplyKey<'_>,
        what: &str,
        command: &str,
        more: impl FnOnce(&mut Call),
    ) -> Result<T, StateError> {
        let mut call = Call::of(&script::LEDGER, key::ledger(key));
        call.arg(what).arg(ms(LEDGER_LIFE)).arg(command);
        more(&mut call);
        self.link.call(call).await
    }

    /// Changes a value by a rule of ours, until nobody else has changed it meanwhile.
    async fn change<T, V, F>(&self, key: String, ttl: Duration, decide: F) -> Result<T, StateError>
    where
        V: serde::Serialize + serde::de::DeserializeOwned,
        F: Fn(Option<V>, UnixMs) -> (V, T) + Send,
        T: Send,
    {
        for _ in 0..SWAPS_MAX {
            let (now, found) = self.read(&key).await?;
            let known = found.as_deref().map(|found| parse(&key, found)).transpose()?;
            let (value, answer) = decide(known, now);
            let value = json(&value);
            let mut call = Call::of(&script::SWAP, &key);
            call.arg(found.unwrap_or_default()).arg(value).arg(ms(ttl));
            if self.link.call(call).await? {
                return Ok(answer);
            }
        }
        Err(StateError::Unavailable("too many change the same value at once".into()))
    }

    /// A value, and the server's time.
    async fn read(&self, key: &str) -> Result<(UnixMs, Option<String>), StateError> {
        let (now, found): (u64, Option<String>) =
            self.link.call(Call::of(&script::READ, key)).await?;
        Ok((UnixMs(now), found))
    }

    async fn set(&self, key: String, value: String, ttl: Duration) -> Result<(), StateError> {
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(value).arg("PX").arg(ms(ttl));
        self.link.command(&set, &key).await
    }

    async fn count(&self, key: String, which: &str, ttl: Duration) -> Result<u32, StateError> {
        let mut call = Call::of(&script::COUNT, key);
        call.arg(which).arg(ms(ttl));
        let counted: u64 = self.link.call(call).await?;
        Ok(u32::try_from(counted).unwrap_or(u32::MAX))
    }
}

fn foreign(key: String) -> StateError {
    StateError::Foreign { key }
}

fn parse<T: serde::de::DeserializeOwned>(key: &str, text: &str) -> Result<T, StateError> {
    serde_json::from_str(text).map_err(|_| foreign(key.to_owned()))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("values of ours serialise")
}

#[async_trait]
impl State for RedisState {
    async fn lease(&self, key: LeaseKey) -> Result<Option<Lease>, StateError> {
        Ok(self.lease_call(key, "find", None, None).await?.1)
    }

    async fn take_lease(
        &self,
        key: LeaseKey,
        owner: &OwnerId,
        seen: Option<&Lease>,
    ) -> Result<Taking, StateError> {
        match self.lease_call(key, "take", seen, Some(owner)).await? {
            (word, Some(lease)) if word == "taken" => Ok(Taking::Taken(lease)),
            (_, Some(lease)) => Ok(Taking::Held(lease)),
            (_, None) => Err(foreign(key::lease(key))),
        }
    }

    async fn renew_lease(&self, key: LeaseKey, held: &Lease) -> Result<Renewal, StateError> {
        let (_, lease) = self.lease_call(key, "renew", Some(held), None).await?;
        Ok(lease.map_or(Renewal::Lost, Renewal::Renewed))
    }

    async fn release_lease(&self, key: LeaseKey, held: &Lease) -> Result<(), StateError> {
        self.lease_call(key, "release", Some(held), None).await.map(drop)
    }

    async fn admit(&self, app: &AppId, wants: &[Want<'_>]) -> Result<Admission, StateError> {
        if wants.is_empty() {
            return Ok(Admission::Admitted);
        }
        let mut call = Call::new(&script::ADMIT);
        call.arg(micros(COOL_DOWN_MAX));
        for Want { bucket, quota } in wants {
            call.key(key::bucket(app, bucket));
            call.arg(quota.interval_us()).arg(quota.depth_us());
        }
        let (place, wait): (usize, u64) = self.link.call(call).await?;
        Ok(match place.checked_sub(1) {
            None => Admission::Admitted,
            Some(want) => Admission::RetryAfter { want, wait: Duration::from_millis(wait) },
        })
    }

    async fn cool_down(&self, app: &AppId, bucket: &str, wait: Duration) -> Result<(), StateError> {
        let mut call = Call::of(&script::COOL_DOWN, key::bucket(app, bucket));
        call.arg(micros(wait.min(COOL_DOWN_MAX)));
        self.link.call(call).await
    }

    async fn claim_reply(
        &self,
        key: ReplyKey<'_>,
        command: &CommandId,
        right: Right,
    ) -> Result<Claim, StateError> {
        let said = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
        let more = |call: &mut Call| {
            call.arg(command.msg_seq().get());
            call.arg(said(right.limit.map(u64::from))).arg(said(right.expires_at.map(|at| at.0)));
            call.arg(REPLIES_MAX);
        };
        let answer: (String, u64, Option<u8>) =
            self.ledger_call(key, "claim", command.as_str(), more).await?;
        claim(answer).ok_or_else(|| foreign(key::ledger(key)))
    }

    async fn release_reply(
        &self,
        key: ReplyKey<'_>,
        command: &CommandId,
    ) -> Result<(), StateError> {
        self.ledger_call(key, "release", command.as_str(), |_| ()).await
    }

    async fn number_taken(&self, key: ReplyKey<'_>, command: &CommandId) -> Result<(), StateError> {
        self.ledger_call(key, "taken", command.as_str(), |_| ()).await
    }

    async fn exhaust_replies(&self, key: ReplyKey<'_>) -> Result<(), StateError> {
        self.ledger_call(key, "exhaust", "", |_| ()).await
    }

    async fn done(&self, lane: Lane, app: &AppId, ids: &[&str]) -> Result<Vec<bool>, StateError> {
        let Some(first) = ids.first() else { return Ok(Vec::new()) };
        let mut get = redis::cmd("MGET");
        for id in ids {
            get.arg(key::done(app, lane, id));
        }
        let found: Vec<Option<redis::Value>> =
            self.link.command(&get, &key::done(app, lane, first)).await?;
        Ok(found.into_iter().map(|mark| mark.is_some()).collect())
    }

    async fn mark_done(
        &self,
        lane: Lane,
        app: &AppId,
        ids: &[&str],
        ttl: Duration,
    ) -> Result<(), StateError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut call = Call::new(&script::MARK_DONE);
        for id in ids {
            call.key(key::done(app, lane, id));
        }
        for id in ids {
            call.key(key::tries(app, id));
        }
        call.arg(ms(ttl));
        self.link.call(call).await
    }

    async fn count_start(&self, app: &AppId, id: &str, ttl: Duration) -> Result<u32, StateError> {
        self.count(key::tries(app, id), "starts", ttl).await
    }

    async fn count_failure(&self, app: &AppId, id: &str, ttl: Duration) -> Result<u32, StateError> {
        self.count(key::tries(app, id), "failures", ttl).await
    }

    async fn see(&self, app: &AppId, id: &str, source: Source) -> Result<Sighting, StateError> {
        let key = key::seen(app, id);
        let mut call = Call::of(&script::SEE, &key);
        call.arg(source.to_string()).arg(ms(key::SIGHTING_HOLD));
        let (word, place): (String, Option<String>) = self.link.call(call).await?;
        match (word.as_str(), place.as_deref().and_then(read_place)) {
            ("first", _) => Ok(Sighting::First),
            ("pending", _) => Ok(Sighting::Pending),
            (_, Some(place)) => Ok(Sighting::Again(place)),
            (_, None) => Err(foreign(key)),
        }
    }

    async fn stored(&self, app: &AppId, id: &str, place: &Place) -> Result<(), StateError> {
        let mut call = Call::of(&script::STORED, key::seen(app, id));
        call.arg(format!("{}:{}", place.stream, place.seq)).arg(ms(key::SEEN_TTL));
        self.link.call(call).await
    }

    async fn token(&self, app: &AppId) -> Result<Option<SealedToken>, StateError> {
        let key = key::token(app);
        let found: Option<String> = self.link.command(redis::cmd("GET").arg(&key), &key).await?;
        found.map(|found| parse(&key, &found)).transpose()
    }

    async fn put_token(&self, app: &AppId, token: &SealedToken) -> Result<(), StateError> {
        let mut call = Call::of(&script::PUT_TOKEN, key::token(app));
        call.key(key::token_flight(app)).arg(json(token)).arg(token.expires_at.0);
        self.link.call(call).await
    }

    async fn token_flight(
        &self,
        app: &AppId,
        owner: &OwnerId,
        ttl: Duration,
    ) -> Result<Flight, StateError> {
        let mut call = Call::of(&script::TOKEN_FLIGHT, key::token_flight(app));
        call.arg(owner.as_str()).arg(ms(ttl));
        let ours = self.link.call(call).await?;
        Ok(if ours { Flight::Ours } else { Flight::Anothers })
    }

    async fn permit_identify(
        &self,
        app: &AppId,
        told: Option<StartLimit>,
        asker: Asker,
    ) -> Result<Permit, StateError> {
        let decide = move |known: Option<IdentifyBudget>, now| {
            let mut budget =
                known.unwrap_or_else(|| IdentifyBudget::new(told.unwrap_or(UNTOLD), now));
            let permit = budget.ask(asker, now);
            (budget, permit)
        };
        self.change(key::identify(app), key::IDENTIFY_TTL, decide).await
    }

    async fn learn_identify(
        &self,
        app: &AppId,
        limit: StartLimit,
        took: Duration,
    ) -> Result<(), StateError> {
        let decide = move |known: Option<IdentifyBudget>, now: UnixMs| {
            let mut budget = known.unwrap_or_else(|| IdentifyBudget::new(limit, now));
            budget.learn(limit, now.minus(took), now);
            (budget, ())
        };
        self.change(key::identify(app), key::IDENTIFY_TTL, decide).await
    }

    async fn gateway(&self, app: &AppId) -> Result<Option<(GatewayAnswer, Duration)>, StateError> {
        let key = key::gateway(app);
        let (now, found) = self.read(&key).await?;
        let row: Option<GatewayRow> = found.map(|found| parse(&key, &found)).transpose()?;
        Ok(row.map(|row| row.read(now)))
    }

    async fn put_gateway(
        &self,
        app: &AppId,
        answer: &GatewayAnswer,
        ttl: Duration,
    ) -> Result<(), StateError> {
        let key = key::gateway(app);
        let (now, _) = self.read(&key).await?;
        let row = json(&GatewayRow::new(answer, now));
        self.set(key, row, ttl).await
    }

    async fn put_resume(
        &self,
        app: &AppId,
        source: Source,
        copy: &ResumeCopy,
    ) -> Result<(), StateError> {
        let row = json(&ResumeRow::new(app, source, copy));
        self.set(key::resume(app, source), row, key::RESUME_TTL).await
    }

    async fn resumes(
        &self,
        app: Option<&AppId>,
    ) -> Result<Vec<(AppId, Source, ResumeCopy)>, StateError> {
        let mut copies = Vec::new();
        for key in self.link.keys(&key::resumes(app)).await? {
            let found: Option<String> =
                self.link.command(redis::cmd("GET").arg(&key), &key).await?;
            // What is gone between the two looks has ended.
            let Some(found) = found else { continue };
            copies.extend(parse::<ResumeRow>(&key, &found)?.read());
        }
        Ok(copies)
    }

    async fn forget_resume(&self, app: &AppId, source: Source) -> Result<(), StateError> {
        let key = key::resume(app, source);
        self.link.command(redis::cmd("DEL").arg(&key), &key).await
    }
}

fn claim((word, number, attempt): (String, u64, Option<u8>)) -> Option<Claim> {
    match word.as_str() {
        "granted" => {
            let number = u16::try_from(number).ok()?.try_into().ok()?;
            Some(Claim::Granted { msg_seq: MsgSeq(number), attempt: attempt? })
        }
        "exhausted" => Some(Claim::Exhausted { limit: u8::try_from(number).ok()? }),
        "late" => Some(Claim::Late { by: Duration::from_millis(number) }),
        _ => None,
    }
}

fn read_place(text: &str) -> Option<Place> {
    let (stream, seq) = text.rsplit_once(':')?;
    Some(Place { stream: stream.to_owned(), seq: seq.parse().ok()? })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
