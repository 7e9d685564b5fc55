//! Coming to the servers, and saying in one sentence what stands in the way.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, ServerAddr};

use super::error::AskError;
use super::link::{Link, Notices};
use super::streams::Difference;
use crate::config::server::read_credential;
use crate::config::{Nats, Size};
use crate::tls;

/// Messages that may wait to be written to a connection: several windows of several partitions.
const OUT_MAX: usize = 8192;

/// How often a silent server is asked whether it lives; the third question unanswered ends the
/// connection.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No server is there, or none speaks NATS.
    #[error("no NATS server answers at {servers}; is it running, and is nats.urls right?")]
    Unreachable {
        /// As configured.
        servers: String,
        /// The last attempt's.
        #[source]
        source: async_nats::ConnectError,
    },
    /// TLS could not be agreed on.
    #[error("no TLS with the NATS server at {servers}; nats.ca_file must vouch for it")]
    Tls {
        /// As configured.
        servers: String,
        /// What failed.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The server does not know us.
    #[error(
        "the NATS server at {servers} does not let us in; check the credentials in the section nats"
    )]
    Login {
        /// As configured.
        servers: String,
        /// What the server said.
        #[source]
        source: async_nats::ConnectError,
    },
    /// A file that is needed.
    #[error("nats.{field}: {path} cannot be used; name a file that this user may read")]
    File {
        /// The key that names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// A server without what the fence is made of.
    #[error("nats-server {found} is too old: 2.12 or newer is needed, for atomic batches")]
    OldServer {
        /// Its version.
        found: String,
    },
    /// A server without storage, or an account without it.
    #[error(
        "the NATS server has no JetStream for us; enable it in the server's and the account's settings"
    )]
    NoJetStream,
    /// A permission is missing.
    #[error(
        "the NATS user may not do what its role needs: {0}; deploy/nats.conf shows what each role needs"
    )]
    Denied(String),
    /// A stream is not there, and this user may not make it.
    #[error(
        "stream {stream} is not there, and the NATS user may not make it ({text}); start a gateway first"
    )]
    Absent {
        /// Its name.
        stream: String,
        /// The server's words.
        text: String,
    },
    /// A stream that the servers have no room for.
    #[error(
        "stream {stream} may hold {}, and the servers have no room for that beside what the other \
         streams may hold; lower log.max_bytes, or raise max_file_store in the servers' jetstream settings",
        Size::format(*.bytes)
    )]
    NoRoom {
        /// Its name.
        stream: String,
        /// What it may hold.
        bytes: u64,
    },
    /// Streams that are there and are not what they have to be.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Differs(Vec<Difference>),
    /// The servers do not answer in time, or refuse something else.
    #[error("the NATS server at {servers} did not do its part")]
    Refused {
        /// As configured.
        servers: String,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ConnectError {
    /// Whether the same attempt may succeed later without anybody's doing.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Absent { .. } | Self::Refused { .. } => true,
            Self::Tls { .. }
            | Self::Login { .. }
            | Self::File { .. }
            | Self::OldServer { .. }
            | Self::NoJetStream
            | Self::Denied(_)
            | Self::NoRoom { .. }
            | Self::Differs(_) => false,
        }
    }

    /// What a question that led nowhere means for the whole.
    pub(super) fn from_ask(nats: &Nats, error: AskError) -> Self {
        match error {
            AskError::Denied(text) => Self::Denied(text),
            AskError::NoResponders => Self::NoJetStream,
            AskError::Api(error) if super::error::code::NO_JETSTREAM.contains(&error.err_code) => {
                Self::NoJetStream
            }
            error @ (AskError::Api(_) | AskError::NoAnswer(_) | AskError::TooLarge(_)) => {
                Self::Refused { servers: nats.urls.join(", "), source: error.into() }
            }
        }
    }
}

/// Connects once, inside the runtime of whoever calls.
pub(super) async fn open(nats: &Nats, name: &str) -> Result<Link, ConnectError> {
    let notices = Arc::new(Notices::default());
    let options = options(nats, name, &notices)?;
    let servers = nats.urls.join(", ");
    let addresses: Result<Vec<ServerAddr>, _> = nats.urls.iter().map(|url| url.parse()).collect();
    let connected = match addresses {
        Ok(addresses) => options.connect(addresses).await,
        Err(error) => Err(error.into()),
    };
    let client = connected.map_err(|source| match source.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            ConnectError::Login { servers, source }
        }
        ConnectErrorKind::Tls => ConnectError::Tls { servers, source },
        // A certificate that nobody vouches for comes as what reading the socket gave.
        ConnectErrorKind::Io if tls::is_to_blame(&source) => ConnectError::Tls { servers, source },
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => ConnectError::Unreachable { servers, source },
    })?;
    if !client.is_server_compatible(2, 12, 0) {
        return Err(ConnectError::OldServer { found: client.server_info().version });
    }
    Ok(Link::new(client, notices, nats.request_timeout))
}

fn options(
    nats: &Nats,
    name: &str,
    notices: &Arc<Notices>,
) -> Result<ConnectOptions, ConnectError> {
    let hears = Arc::clone(notices);
    let mut options = ConnectOptions::new()
        .name(name)
        .connection_timeout(nats.connect_timeout)
        .request_timeout(Some(nats.request_timeout))
        .custom_inbox_prefix(&nats.inbox_prefix)
        .client_capacity(OUT_MAX)
        .ping_interval(PING_EVERY)
        .event_callback(move |event| {
            hears.hear(&event);
            async {}
        });
    if let Some(path) = &nats.credentials_file {
        let text = credential("credentials_file", path)?;
        let file =
            |source| ConnectError::File { field: "credentials_file", path: path.clone(), source };
        // The client finds the key in it only where its last line ends.
        options = options.credentials(&format!("{text}\n")).map_err(file)?;
    }
    if let Some(path) = &nats.nkey_file {
        options = options.nkey(credential("nkey_file", path)?);
    }
    if let Some(path) = &nats.token_file {
        options = options.token(credential("token_file", path)?);
    }
    if let (Some(user), Some(path)) = (&nats.user, &nats.password_file) {
        options = options.user_and_password(user.clone(), credential("password_file", path)?);
    }
    if let Some(path) = &nats.ca_file {
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(cert), Some(key)) = (&nats.cert_file, &nats.key_file) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options)
}

fn credential(field: &'static str, path: &Path) -> Result<String, ConnectError> {
    let file = |source| ConnectError::File { field, path: path.into(), source };
    read_credential(path).map_err(file)
}
