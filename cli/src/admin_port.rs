//! The admin port of a process, from before its stores are open until after they are closed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use qqrelay_gateway::Board;
use qqrelay_runtime::admin::{self, Admin, Listening, Readiness, StatusSource};
use qqrelay_runtime::bus::Bus;
use qqrelay_runtime::config;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::base::Shown;
use crate::exit::Failure;
use crate::local_api::{self, Listing, Local};
use crate::running;

/// The port while the process runs.
pub(crate) struct AdminPort {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Whether the process can play its role.
    pub(crate) readiness: watch::Sender<Readiness>,
    local: Local,
    status: Arc<Status>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl AdminPort {
    /// Opens the port of a process that is not ready yet.
    ///
    /// # Errors
    ///
    /// The address is taken, or no address of this machine.
    pub(crate) async fn open(
        config: &config::Admin,
        role: &'static str,
        shown: &Shown,
    ) -> Result<Self, Failure> {
        let Shown { registry, board } = shown;
        let listening = Listening::on(config.listen).await.map_err(Failure::unavailable)?;
        let address = listening.address();
        let local = Local::new(board.clone());
        let more = if listening.is_local() {
            local_api::router(local.clone())
        } else {
            warn!(%address, "beyond loopback the admin port does not offer tail and send");
            Router::new()
        };
        register(registry)?;
        let (readiness, seen) = watch::channel(Readiness::Starting);
        let status = Arc::new(Status { role, board: board.clone(), trouble: Mutex::default() });
        let admin = Admin { registry: registry.clone(), readiness: seen, status: status.clone() };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listening.serve(admin, more, stop.clone()));
        Ok(Self { address, readiness, local, status, stop, serving })
    }

    /// Shows what the process waits for.
    pub(crate) fn waits(&self, trouble: String) {
        self.status.set_trouble(Some(trouble));
    }

    /// Offers what lies on the bus, which is there now.
    pub(crate) fn offer(&self, bus: Arc<dyn Bus>) {
        self.status.set_trouble(None);
        self.local.offer(bus);
    }

    /// Ends it.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        let _ = self.serving.await; // a port that panicked is closed too
    }
}

fn register(registry: &Registry) -> prometheus::Result<()> {
    admin::register_build_info(registry, env!("CARGO_PKG_VERSION"))?;
    registry.register(Box::new(ProcessCollector::for_self()))
}

/// What the process says of itself.
struct Status {
    role: &'static str,
    board: Board,
    trouble: Mutex<Option<String>>,
}

impl Status {
    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StatusSource for Status {
    fn role(&self) -> &'static str {
        self.role
    }

    fn parts(&self) -> Vec<(String, String)> {
        let servers = self.trouble().map(|trouble| ("servers".to_owned(), trouble));
        let live = self.board.live_sessions();
        let heard = live.borrow();
        let bots =
            heard.iter().map(|(app, live)| (format!("bot {app}"), format!("{live} live sessions")));
        let waiting = self.board.waiting();
        let waiting = waiting.into_iter().map(|(app, why)| (format!("bot {app}"), why));
        servers.into_iter().chain(bots).chain(waiting).collect()
    }

    fn table(&self) -> Vec<Vec<String>> {
        let listing = serde_json::to_value(Listing::of(&self.board)).unwrap_or_default();
        running::rows(&listing)
    }
}
