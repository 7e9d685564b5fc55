//! `[nats]`: the servers that hold events and commands of a cluster, and as whom we come to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::Checked;
use super::form::Span;
use super::section::section;
use super::server::{self, Addresses};

section! {
    /// NATS JetStream, which holds the events and commands of a cluster. Without this section they
    /// lie in the embedded file.
    pub struct Nats {
        /// The servers, each "nats://host:4222", or "tls://host:4222" where TLS is a must. One is
        /// enough: the others of its cluster are learnt from it.
        urls: Vec<String> = vec!["nats://127.0.0.1:4222".to_owned()],
        /// How many servers keep each stream, 1, 3 or 5. With 1 the loss of a disk loses events.
        replicas: u8 = 1,
        /// What subjects of answers begin with; one for each role, where permissions tell roles
        /// apart.
        inbox_prefix: String = "_INBOX".to_owned(),
        /// A .creds file: who we are, and the key that proves it. At most one of credentials_file,
        /// nkey_file, token_file and user may be given.
        #[schemars(example = "/run/secrets/gateway.creds")]
        credentials_file: Option<PathBuf> = None,
        /// A file that holds the seed of an nkey, SU….
        #[schemars(example = "/run/secrets/gateway.nk")]
        nkey_file: Option<PathBuf> = None,
        /// A file that holds a token.
        #[schemars(example = "/run/secrets/nats-token")]
        token_file: Option<PathBuf> = None,
        /// The name of a user; password_file belongs to it.
        #[schemars(example = &"gateway")]
        user: Option<String> = None,
        /// A file that holds that user's password.
        #[schemars(example = "/run/secrets/nats-password")]
        password_file: Option<PathBuf> = None,
        /// Certificates, PEM, that vouch for the servers. Without it, those of the system.
        #[schemars(example = "/etc/qqrelay/nats-ca.pem")]
        ca_file: Option<PathBuf> = None,
        /// Our own certificate, PEM, where servers ask for one; key_file belongs to it.
        #[schemars(example = "/etc/qqrelay/client.pem")]
        cert_file: Option<PathBuf> = None,
        /// The key of our own certificate, PEM.
        #[schemars(example = "/run/secrets/client-key.pem")]
        key_file: Option<PathBuf> = None,
        /// How long a server may take to be connected, TLS and login included.
        #[serde(with = "Span")]
        connect_timeout: Duration = Duration::from_secs(5),
        /// How long a server may take to answer, a change of leader included.
        #[serde(with = "Span")]
        request_timeout: Duration = Duration::from_secs(5),
    }
}

const ADDRESSES: Addresses =
    Addresses { section: "nats", schemes: ["nats", "tls"], example: "nats://127.0.0.1:4222" };

const SECOND: Duration = Duration::from_secs(1);

/// Checks what the types leave open.
pub(super) fn check(nats: &Nats, to: &mut Checked<'_>) {
    ADDRESSES.check(&nats.urls, to);
    if !matches!(nats.replicas, 1 | 3 | 5) {
        let what = format!("{} servers cannot keep a majority well", nats.replicas);
        to.report("nats.replicas", what, "write 1, 3 or 5");
    }
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    if !nats.inbox_prefix.split('.').all(token) {
        let what = format!("{:?} is no beginning of a subject", nats.inbox_prefix);
        to.report("nats.inbox_prefix", what, "write letters and digits, such as \"_INBOX_qqgw\"");
    }
    to.span("nats.connect_timeout", nats.connect_timeout, SECOND / 2..=SECOND * 60);
    to.span("nats.request_timeout", nats.request_timeout, SECOND..=SECOND * 60);
    login(nats, to);
    server::files("nats", files(nats), to);
}

fn files(nats: &Nats) -> [(&'static str, Option<&Path>); 7] {
    [
        ("credentials_file", nats.credentials_file.as_deref()),
        ("nkey_file", nats.nkey_file.as_deref()),
        ("token_file", nats.token_file.as_deref()),
        ("password_file", nats.password_file.as_deref()),
        ("ca_file", nats.ca_file.as_deref()),
        ("cert_file", nats.cert_file.as_deref()),
        ("key_file", nats.key_file.as_deref()),
    ]
}

/// One way to say who we are, and each half of a pair with the other.
fn login(nats: &Nats, to: &mut Checked<'_>) {
    let ways = [
        ("nats.credentials_file", nats.credentials_file.is_some()),
        ("nats.nkey_file", nats.nkey_file.is_some()),
        ("nats.token_file", nats.token_file.is_some()),
        ("nats.user", nats.user.is_some()),
    ];
    let mut given = ways.into_iter().filter(|(_, given)| *given).map(|(field, _)| field);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        to.report(second, format!("is given beside {first}"), "keep one way to log in");
    }
    server::pair(
        ("nats.user", nats.user.is_some()),
        ("nats.password_file", nats.password_file.is_some()),
        to,
    );
    server::pair(
        ("nats.cert_file", nats.cert_file.is_some()),
        ("nats.key_file", nats.key_file.is_some()),
        to,
    );
}
