//! A handler that a suite holds in its hand: workers ask each event on a NATS subject, and the suite
//! answers when it likes, or never.

use anyhow::Context;
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cluster::Servers;
use crate::servers::nats::heard;
use crate::wait::PATIENCE;

const SUBJECT: &str = "qq.handler.seam";

/// Where workers ask.
pub struct Seam {
    client: Client,
    asked: Subscriber,
}

/// An event that a worker asks about.
#[derive(Debug)]
pub struct Asked {
    /// What somebody said.
    pub text: String,
    /// Where.
    pub scope: String,
    answer: Bytes,
    message: Message,
}

impl Seam {
    /// Variables for a relay that asks here, and waits for an answer for as long as it can.
    #[must_use]
    pub fn env() -> Vec<(&'static str, String)> {
        vec![
            ("QQRELAY_WORKER__HANDLER", "nats".to_owned()),
            ("QQRELAY_WORKER__NATS__SUBJECT", SUBJECT.to_owned()),
            ("QQRELAY_WORKER__NATS__TIMEOUT", "5m".to_owned()),
            ("QQRELAY_WORKER__DRAIN_GRACE", "301s".to_owned()),
        ]
    }

    /// Listens, before anybody asks.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub async fn on(servers: &Servers) -> anyhow::Result<Self> {
        let client = async_nats::connect(servers.nats.urls()).await?;
        let asked = client.subscribe(SUBJECT).await?;
        heard(&client).await?;
        Ok(Self { client, asked })
    }

    /// The next event that is asked about.
    ///
    /// # Errors
    ///
    /// None was for a while, or it is no event.
    pub async fn next(&mut self) -> anyhow::Result<Asked> {
        let message = timeout(PATIENCE, self.asked.next()).await.context("nobody asks")?;
        let message = message.context("the connection ended")?;
        let event: Value = serde_json::from_slice(&message.payload)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (text, scope) = (text(&event["message"]["text"]), text(&event["scope"]));
        let answer = json!({ "reply": text }).to_string().into();
        Ok(Asked { text, scope, answer, message })
    }

    /// Answers with what was said.
    ///
    /// # Errors
    ///
    /// The connection ended.
    pub async fn echo(&self, asked: Asked) -> anyhow::Result<()> {
        self.answer(asked.message, asked.answer).await
    }

    /// Answers that there is nothing to say.
    ///
    /// # Errors
    ///
    /// The connection ended.
    pub async fn pass(&self, asked: Asked) -> anyhow::Result<()> {
        self.answer(asked.message, Bytes::new()).await
    }

    async fn answer(&self, message: Message, answer: Bytes) -> anyhow::Result<()> {
        let reply = message.reply.context("no answer is wanted")?;
        Ok(self.client.publish(reply, answer).await?)
    }
}
