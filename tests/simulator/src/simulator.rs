//! A platform that runs: what tests and the command line hold in their hands.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::config::Config;
use crate::control::action::Action;
use crate::control::view::SessionView;
use crate::control::{ActionError, Outcome};
use crate::events::Injection;
use crate::journal::Journal;
use crate::platform::{Platform, Pushed};
use crate::{scenario, server};

/// How long ending may take; what is left then is dropped with the runtime.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running platform. Dropping it ends it; [`Simulator::shutdown`] also waits for that.
pub struct Simulator {
    platform: Arc<Platform>,
}

/// Why a platform did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The journal's file cannot be created.
    #[error("cannot create the journal's file")]
    Journal(#[source] io::Error),
}

impl Simulator {
    /// Starts a platform.
    ///
    /// # Errors
    ///
    /// When it cannot listen, or cannot write its journal.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let cannot_listen = |error| StartError::Listen(config.listen, error);
        let listener = TcpListener::bind(config.listen).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let platform = Platform::open(config).map_err(StartError::Journal)?;
        platform.listens_at(address);
        platform.tasks.spawn(server::serve(Arc::clone(&platform), listener));
        match platform.config.scenario.clone() {
            Some(scenario) => {
                platform.tasks.spawn(scenario::run(Arc::clone(&platform), scenario));
            }
            None => platform.scenario_ended.cancel(),
        }
        Ok(Self { platform })
    }

    /// Where it is reached: `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.platform.address())
    }

    /// The platform itself.
    #[must_use]
    pub const fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    /// Makes something happen.
    ///
    /// # Errors
    ///
    /// When the action names what there is not.
    pub fn perform(&self, action: &Action) -> Result<Outcome, ActionError> {
        self.platform.perform(action)
    }

    /// Sends an event to a bot.
    ///
    /// # Errors
    ///
    /// When there is no such bot.
    pub fn inject(&self, app: &str, event: &Injection) -> Result<Pushed, ActionError> {
        let app = self.platform.app(app).ok_or_else(|| ActionError::UnknownApp(app.into()))?;
        Ok(self.platform.inject(app, event))
    }

    /// The living sessions.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        self.platform.session_views()
    }

    /// Everything that was sent and received.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.platform.journal
    }

    /// Waits until the scenario has come to its end; at once where there is none.
    pub async fn scenario_ended(&self) {
        self.platform.scenario_ended.cancelled().await;
    }

    /// Ends it: sockets end without a close frame, as those of a process that died.
    pub async fn shutdown(self) {
        self.platform.stop.cancel();
        self.platform.tasks.close();
        let ended = async {
            self.platform.webhooks.shutdown().await;
            self.platform.tasks.wait().await;
        };
        if timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            tracing::warn!("simulator left tasks behind");
        }
        if let Err(error) = self.platform.journal.flush() {
            tracing::warn!(%error, "the journal's file is incomplete");
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.platform.stop.cancel();
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("base_url", &self.base_url()).finish_non_exhaustive()
    }
}
