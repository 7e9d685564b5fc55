//! How shards are, said by gateways to whom it may concern: `qq.v1.ctl.shard.<app>.<source>`, core
//! NATS. Nobody may rely on hearing it: who has heard nothing for a while knows nothing.

use bytes::Bytes;
use futures_util::StreamExt;
use qqrelay_proto::id::{AppId, OwnerId};
use qqrelay_proto::subject::{SHARD_STATES, Source, shard_state};
use qqrelay_proto::time::UnixMs;
use serde::{Deserialize, Serialize};

use super::NatsBus;
use crate::bus::BusError;

/// How a shard is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardState {
    /// The bot.
    pub app: AppId,
    /// Which of its sources, `4-0`.
    pub source: Source,
    /// Whether its session is up.
    pub live: bool,
    /// What it is doing: `waiting`, `connecting`, `opening`, `live`, `parked`.
    pub phase: String,
    /// The gateway that says so.
    pub gateway: OwnerId,
    /// When.
    pub at: UnixMs,
}

/// What gateways say.
pub struct ShardStates {
    heard: async_nats::Subscriber,
}

impl ShardStates {
    /// The next word that can be read; `None` once the connection has ended for good.
    pub async fn next(&mut self) -> Option<ShardState> {
        loop {
            let message = self.heard.next().await?;
            if let Ok(state) = serde_json::from_slice(&message.payload) {
                return Some(state);
            }
        }
    }
}

impl NatsBus {
    /// Says how a shard is. Nobody answers.
    ///
    /// # Errors
    ///
    /// There is no connection that could take it.
    pub async fn say_shard(&self, state: &ShardState) -> Result<(), BusError> {
        let text = serde_json::to_vec(state).expect("texts and numbers are JSON");
        let subject = shard_state(&state.app, state.source);
        let said = self.link().await?.client.publish(subject, Bytes::from(text)).await;
        said.map_err(|error| BusError::Unavailable(error.into()))
    }

    /// Hears how shards are from now on.
    ///
    /// # Errors
    ///
    /// There is no connection that could ask for it.
    pub async fn hear_shards(&self) -> Result<ShardStates, BusError> {
        let heard = self.link().await?.client.subscribe(SHARD_STATES).await;
        Ok(ShardStates { heard: heard.map_err(|error| BusError::Unavailable(error.into()))? })
    }
}
