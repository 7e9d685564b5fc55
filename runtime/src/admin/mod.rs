//! The admin port: metrics, probes, and a page for people.
//!
//! `/livez` says that the process's event loop turns; `/readyz` that the process can play its role.
//! Neither looks at the platform or at a store: a probe that does takes healthy processes away
//! just when something else is down. What changes anything is mounted by whoever offers it, and
//! only while the port is on loopback.

mod page;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::is_loopback;

/// Whether a process can play its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet: a store has not been reached once.
    Starting,
    /// It can.
    Ready,
    /// Not any more: it hands over and ends.
    Draining,
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        })
    }
}

/// What a process says of itself on the status page and to `/readyz?verbose`.
pub trait StatusSource: Send + Sync + 'static {
    /// What it is: `standalone`, `gateway`, `worker`.
    fn role(&self) -> &'static str;

    /// Its parts and how they are, each on a line.
    fn parts(&self) -> Vec<(String, String)>;

    /// A table for people: the head, then the rows.
    fn table(&self) -> Vec<Vec<String>>;
}

/// What the admin port shows.
#[derive(Clone)]
pub struct Admin {
    /// The process's series.
    pub registry: Registry,
    /// Whether it can play its role.
    pub readiness: watch::Receiver<Readiness>,
    /// What it says of itself.
    pub status: Arc<dyn StatusSource>,
}

/// The admin port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}, the admin port: choose another with [admin] listen")]
pub struct AdminError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A port that is open and not yet served.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Opens the port.
    ///
    /// # Errors
    ///
    /// It is taken, or not ours.
    pub async fn on(address: SocketAddr) -> Result<Self, AdminError> {
        let failed = |source| AdminError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port it was given.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.address.ip().is_loopback()
    }

    /// Serves `admin`, and `more` beside it, until `stop`. Requests under way end with the process:
    /// a follower of events would never let it go.
    pub async fn serve(self, admin: Admin, more: Router, stop: CancellationToken) {
        let mut router = admin.router().merge(more);
        if self.is_local() {
            router = router.layer(middleware::from_fn(local_names_only));
        }
        let serving = axum::serve(self.listener, router);
        if let Some(Err(error)) = stop.run_until_cancelled(serving.into_future()).await {
            tracing::error!(%error, "the admin port has failed");
        }
    }
}

/// Refuses who asks for another name than this machine's: a page in somebody's browser whose name
/// was made to point here could otherwise read what only this machine may.
async fn local_names_only(request: Request, next: Next) -> Response {
    let name = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let name = name.and_then(|name| name.parse::<Authority>().ok());
    if name.is_some_and(|name| is_loopback(name.host())) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "this port answers to localhost only\n").into_response()
}

impl Admin {
    fn router(self) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/livez", get(|| async { "live\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

/// Registers the series that says which build this is.
///
/// # Errors
///
/// It is registered already.
pub fn register_build_info(registry: &Registry, version: &str) -> prometheus::Result<()> {
    let options = Opts::new("qqrelay_build_info", "1, with the version of this process.");
    let info = IntGaugeVec::new(options, &["version"])?;
    info.with_label_values(&[version]).set(1);
    registry.register(Box::new(info))
}

#[derive(Deserialize)]
struct ReadyQuery {
    verbose: Option<String>,
}

async fn readyz(State(admin): State<Admin>, Query(query): Query<ReadyQuery>) -> Response {
    let readiness = *admin.readiness.borrow();
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        Readiness::Starting | Readiness::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut body = format!("{readiness}\n");
    if query.verbose.is_some() {
        for (part, state) in admin.status.parts() {
            body.push_str(&format!("{part}: {state}\n"));
        }
    }
    (status, body).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match TextEncoder::new().encode_to_string(&admin.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn page(State(admin): State<Admin>) -> Html<String> {
    let readiness = *admin.readiness.borrow();
    Html(page::render(&*admin.status, readiness))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    struct Told;

    impl StatusSource for Told {
        fn role(&self) -> &'static str {
            "standalone"
        }

        fn parts(&self) -> Vec<(String, String)> {
            vec![("log".to_owned(), "open".to_owned())]
        }

        fn table(&self) -> Vec<Vec<String>> {
            [["bot", "state"], ["<102>", "live"]].map(|row| row.map(str::to_owned).to_vec()).into()
        }
    }

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = reqwest::get(format!("http://{address}{path}")).await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    /// Asks as a browser does that was told the port's address under another name.
    async fn as_another(address: SocketAddr) -> u16 {
        let request = reqwest::Client::new().get(format!("http://{address}/livez"));
        let request = request.header(header::HOST, "rebound.example:9600");
        request.send().await.expect("an answer").status().as_u16()
    }

    #[tokio::test]
    async fn probes_metrics_and_page_say_how_the_process_is() {
        let registry = Registry::new();
        register_build_info(&registry, "1.2.3").expect("it is the only one");
        let (readiness, seen) = watch::channel(Readiness::Starting);
        let admin = Admin { registry, readiness: seen, status: Arc::new(Told) };
        let listening = Listening::on((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a free port");
        let (address, stop) = (listening.address(), CancellationToken::new());
        assert!(listening.is_local());
        let serving = tokio::spawn(listening.serve(admin, Router::new(), stop.clone()));

        assert_eq!(get(address, "/livez").await, (200, "live\n".to_owned()));
        assert_eq!(as_another(address).await, 403);
        assert_eq!(get(address, "/readyz").await, (503, "starting\n".to_owned()));
        readiness.send_replace(Readiness::Ready);
        let verbose = "ready\nlog: open\n".to_owned();
        assert_eq!(get(address, "/readyz?verbose").await, (200, verbose));
        readiness.send_replace(Readiness::Draining);
        assert_eq!(get(address, "/readyz").await.0, 503);
        let (_, metrics) = get(address, "/metrics").await;
        assert!(metrics.contains(r#"qqrelay_build_info{version="1.2.3"} 1"#), "{metrics}");
        let (_, page) = get(address, "/").await;
        assert!(page.contains("&lt;102&gt;") && page.contains("draining"), "{page}");
        stop.cancel();
        serving.await.expect("it ends");
    }
}
