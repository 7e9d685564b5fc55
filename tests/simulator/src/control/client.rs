//! The same verbs for a test whose platform is another process.

use qqrelay_proto::id::AppId;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::action::Action;
use super::perform::Outcome;
use super::view::{Counters, SessionView};
use crate::events::Injection;
use crate::journal::{Line, Page};
use crate::platform::Pushed;

/// Speaks to a simulator's control interface.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// Why the simulator did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It was not reached, or its answer was cut off.
    #[error("the simulator did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// It refused.
    #[error("the simulator refused: {0}")]
    Refused(String),
    /// Its answer is not what this version expects.
    #[error("the simulator's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

impl Client {
    /// A client for the simulator at this base URL, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be built on this machine.
    pub fn new(base: impl Into<String>) -> Result<Self, ClientError> {
        // Another part of the process may have installed one before; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build();
        Ok(Self { http: http.map_err(ClientError::Unreachable)?, base: base.into() })
    }

    /// Makes something happen.
    ///
    /// # Errors
    ///
    /// When it was refused or cannot be known to have happened.
    pub async fn perform(&self, action: &Action) -> Result<Outcome, ClientError> {
        let call = self.http.post(format!("{}/_sim/actions", self.base)).json(action);
        read(call).await
    }

    /// Sends an event to a bot.
    ///
    /// # Errors
    ///
    /// As [`Client::perform`].
    pub async fn inject(
        &self,
        app: impl Into<AppId>,
        event: Injection,
    ) -> Result<Pushed, ClientError> {
        let action = Action::Inject { app: app.into(), event, times: 1 };
        let pushed = self.perform(&action).await?.pushed.pop();
        pushed.ok_or_else(|| ClientError::Refused("nothing was pushed".to_owned()))
    }

    /// The living sessions.
    ///
    /// # Errors
    ///
    /// When it did not answer.
    pub async fn sessions(&self) -> Result<Vec<SessionView>, ClientError> {
        read(self.http.get(format!("{}/_sim/sessions", self.base))).await
    }

    /// What happened so far, counted.
    ///
    /// # Errors
    ///
    /// When it did not answer.
    pub async fn counters(&self) -> Result<Counters, ClientError> {
        read(self.http.get(format!("{}/_sim/counters", self.base))).await
    }

    /// Journal entries from an index on.
    ///
    /// # Errors
    ///
    /// When it did not answer.
    pub async fn journal_page(&self, from: u64) -> Result<Page, ClientError> {
        read(self.http.get(format!("{}/_sim/journal?from={from}", self.base))).await
    }

    /// The whole journal, as far as it is still in memory and up to what is in it now.
    ///
    /// # Errors
    ///
    /// When it did not answer.
    pub async fn journal(&self) -> Result<Vec<Line>, ClientError> {
        let mut lines = Vec::new();
        let mut page = self.journal_page(0).await?;
        while !page.lines.is_empty() {
            lines.append(&mut page.lines);
            page = self.journal_page(page.next).await?;
        }
        Ok(lines)
    }
}

async fn read<T: DeserializeOwned>(call: reqwest::RequestBuilder) -> Result<T, ClientError> {
    let response = call.send().await.map_err(ClientError::Unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(ClientError::Unreachable)?;
    if status != StatusCode::OK {
        let message = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let message = message["message"].as_str().unwrap_or("no reason given").to_owned();
        return Err(ClientError::Refused(message));
    }
    serde_json::from_slice(&body).map_err(ClientError::Unreadable)
}
