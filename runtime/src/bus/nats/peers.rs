//! What processes say to others of their kind on core NATS: that they live and what they hold
//! (`qq.v1.ctl.hb.<gateway>`, `qq.v1.ctl.lanes.<worker>`), and that a gateway wants a partition of
//! another (`qq.v1.ctl.take.<pp>`).
//!
//! Nobody may rely on any of it: it makes moves quick and rare, and the log decides.

use std::fmt;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use qqrelay_proto::id::OwnerId;
use qqrelay_proto::subject::{
    HEARTBEATS, Lane, Partition, TAKES, WORKERS, heartbeat, take, worker,
};
use serde::{Deserialize, Serialize};

use super::NatsBus;
use super::request::RequestError;
use crate::bus::BusError;
use crate::peers::Heartbeat;

/// What a gateway asks of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// Whom it takes for the holder: nobody else answers.
    pub from: OwnerId,
    /// Who wants it.
    pub by: OwnerId,
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// Its sockets are closed, what they read is durable, and the lease is free.
    Given,
    /// Not now.
    Refused,
}

/// What gateways say, and what this one is asked.
pub struct Gateways {
    heartbeats: Subscriber,
    takes: Subscriber,
    client: Client,
}

/// A word from a gateway.
#[derive(Debug)]
pub enum Word {
    /// It lives.
    Heartbeat(Heartbeat<Partition>),
    /// It wants a partition.
    Take(Partition, Take, Reply),
}

/// A way to answer, once.
pub struct Reply {
    client: Client,
    to: async_nats::Subject,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Reply {
    /// Answers. Who is not reached asks again.
    pub async fn answer(self, given: Given) {
        let text = serde_json::to_vec(&given).expect("a word is JSON");
        if let Err(error) = self.client.publish(self.to, Bytes::from(text)).await {
            tracing::debug!(%error, "an answer to another gateway did not leave");
        }
    }
}

impl Gateways {
    /// The next word that can be read; `None` once the connection has ended for good.
    pub async fn next(&mut self) -> Option<Word> {
        loop {
            tokio::select! {
                message = self.heartbeats.next() => {
                    if let Ok(said) = serde_json::from_slice(&message?.payload) {
                        return Some(Word::Heartbeat(said));
                    }
                }
                message = self.takes.next() => {
                    let message = message?;
                    let partition = message.subject.rsplit('.').next().map(str::parse);
                    let take = serde_json::from_slice(&message.payload);
                    if let (Some(Ok(partition)), Ok(take), Some(to)) = (partition, take, message.reply) {
                        let reply = Reply { client: self.client.clone(), to };
                        return Some(Word::Take(partition, take, reply));
                    }
                }
            }
        }
    }
}

/// What workers say.
pub struct Workers {
    heartbeats: Subscriber,
}

impl Workers {
    /// The next word that can be read; `None` once the connection has ended for good.
    pub async fn next(&mut self) -> Option<Heartbeat<Lane>> {
        loop {
            if let Ok(said) = serde_json::from_slice(&self.heartbeats.next().await?.payload) {
                return Some(said);
            }
        }
    }
}

impl NatsBus {
    /// Says that a gateway lives, if there is a connection: what waits for one would be said when
    /// it is no longer true. Nobody answers.
    ///
    /// # Errors
    ///
    /// There is no connection.
    pub async fn say_gateway(&self, said: &Heartbeat<Partition>) -> Result<(), BusError> {
        self.say(heartbeat(&said.process), said).await
    }

    /// Says that a worker lives, as [`NatsBus::say_gateway`].
    ///
    /// # Errors
    ///
    /// There is no connection.
    pub async fn say_worker(&self, said: &Heartbeat<Lane>) -> Result<(), BusError> {
        self.say(worker(&said.process), said).await
    }

    async fn say(
        &self,
        subject: String,
        said: &Heartbeat<impl Ord + Serialize>,
    ) -> Result<(), BusError> {
        let link = self.link().await?;
        if !link.is_up() {
            return Err(BusError::Unavailable("not connected".into()));
        }
        let text = serde_json::to_vec(said).expect("texts are JSON");
        let said = link.client.publish(subject, text.into()).await;
        said.map_err(|error| BusError::Unavailable(error.into()))
    }

    /// Hears gateways, this one too, from now on.
    ///
    /// # Errors
    ///
    /// There is no connection that could ask for it.
    pub async fn hear_gateways(&self) -> Result<Gateways, BusError> {
        let (heartbeats, takes) = (self.hear(HEARTBEATS).await?, self.hear(TAKES).await?);
        Ok(Gateways { heartbeats, takes, client: self.link().await?.client.clone() })
    }

    /// Hears workers, this one too, from now on.
    ///
    /// # Errors
    ///
    /// There is no connection that could ask for it.
    pub async fn hear_workers(&self) -> Result<Workers, BusError> {
        Ok(Workers { heartbeats: self.hear(WORKERS).await? })
    }

    async fn hear(&self, subject: &'static str) -> Result<Subscriber, BusError> {
        let heard = self.link().await?.client.subscribe(subject).await;
        heard.map_err(|error| BusError::Unavailable(error.into()))
    }

    /// Asks a partition's holder for it.
    ///
    /// # Errors
    ///
    /// There is no answer within `limit`: whether it is given is not known.
    pub async fn ask_for(
        &self,
        partition: Partition,
        ask: &Take,
        limit: Duration,
    ) -> Result<Given, RequestError> {
        let text = serde_json::to_vec(ask).expect("texts are JSON");
        let answer = self.request(&take(partition), &[], text.into(), limit).await?;
        serde_json::from_slice(&answer).map_err(|error| RequestError::NoAnswer(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qqrelay_proto::spread::Holder;
    use std::collections::BTreeSet;

    #[test]
    fn words_read_as_the_design_writes_them() {
        let held = BTreeSet::from([Partition::Chain(0), Partition::Chain(3)]);
        let said = Heartbeat { process: "gw-1".into(), holder: Holder { held, leaving: false } };
        let text = r#"{"process":"gw-1","held":["00","03"],"leaving":false}"#;
        assert_eq!(serde_json::to_string(&said).expect("texts are JSON"), text);
        let read: Heartbeat<Partition> = serde_json::from_str(text).expect("it reads back");
        assert_eq!(read, said);
        let text = r#"{"process":"wk-1","held":[3,15],"leaving":true}"#;
        let read: Heartbeat<Lane> = serde_json::from_str(text).expect("it reads back");
        assert_eq!(serde_json::to_string(&read).expect("texts are JSON"), text);
        for wrong in [r#"{"process":"w","held":[16]}"#, r#"{"process":"w","held":["x"]}"#] {
            assert!(serde_json::from_str::<Heartbeat<Lane>>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&Given::Refused).expect("a word is JSON"), r#""refused""#);
    }
}
