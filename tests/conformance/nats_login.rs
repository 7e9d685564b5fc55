//! Every way to say who we are lets in who is right, and nobody else; TLS only with who is vouched
//! for.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use qqrelay_runtime::bus::nats::ConnectError;
use qqrelay_runtime::config::Nats;
use qqrelay_tests::servers::nats::{NatsServer, Setup};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::nats_stage::{attempt, nats};

/// Files of one test.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room"))
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("there is room");
        path
    }
}

async fn start(setup: &Setup) -> NatsServer {
    NatsServer::start(setup).await.expect("a server starts")
}

fn at(server: &NatsServer) -> Nats {
    nats(vec![server.url()], 1)
}

/// The right one comes in; the wrong one is told that it is not known.
async fn check(right: Nats, wrong: Nats) {
    attempt(&right).await.expect("it is let in");
    let refused = attempt(&wrong).await.expect_err("it is not let in");
    assert!(matches!(refused, ConnectError::Login { .. }), "{refused:?}");
}

fn account(users: &str) -> Setup {
    Setup::with_accounts(&format!("QQ {{ jetstream: enabled, users: [ {users} ] }}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_with_a_password() {
    let (server, files) = (start(&account("{ user: gw, password: right }")).await, Files::new());
    // A file ends in a line break, and the password does not.
    let with = |text: &str| Nats {
        user: Some("gw".to_owned()),
        password_file: Some(files.write(text.trim_end(), text)),
        ..at(&server)
    };
    check(with("right\n"), with("wrong\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token() {
    let setup = Setup { accounts: "authorization { token: right }".to_owned(), ..Setup::default() };
    let (server, files) = (start(&setup).await, Files::new());
    let with = |text: &str| Nats { token_file: Some(files.write(text, text)), ..at(&server) };
    check(with("right"), with("wrong")).await;
}

fn seed(key: &KeyPair) -> String {
    key.seed().expect("it was made with one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_nkey() {
    let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
    let setup = account(&format!("{{ nkey: {} }}", key.public_key()));
    let (server, files) = (start(&setup).await, Files::new());
    let with = |name: &str, key: &KeyPair| Nats {
        nkey_file: Some(files.write(name, seed(key))),
        ..at(&server)
    };
    check(with("right", &key), with("wrong", &other)).await;
}

/// A JWT of NATS: `subject` is who, `issuer` vouches for it.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, claims: &Value) -> String {
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = encode(&json!({
        "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": name,
        "sub": subject.public_key(), "nats": claims,
    }));
    let signed = format!("{header}.{body}");
    let signature = issuer.sign(signed.as_bytes()).expect("it has a seed");
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn account_jwt(operator: &KeyPair, account: &KeyPair, name: &str, has_storage: bool) -> String {
    let storage = if has_storage { -1 } else { 0 };
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage,
        "streams": storage, "consumer": storage,
    });
    let claims = json!({ "limits": limits, "type": "account", "version": 2 });
    jwt(operator, account, name, &claims)
}

/// A `.creds` file: who, and the key that proves it.
fn credentials(account: &KeyPair, user: &KeyPair, key: &KeyPair) -> String {
    let claims = json!({ "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1,
        "type": "user", "version": 2 });
    let token = jwt(account, user, "gateway", &claims);
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        seed(key)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_credentials_file() {
    let operator = KeyPair::new_operator();
    let (system, ours) = (KeyPair::new_account(), KeyPair::new_account());
    let user = KeyPair::new_user();
    let claims = json!({ "type": "operator", "version": 2, "system_account": system.public_key() });
    let accounts = format!(
        "operator: {}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{ {system}: {}, {ours}: {} }}",
        jwt(&operator, &operator, "operator", &claims),
        account_jwt(&operator, &system, "SYS", false),
        account_jwt(&operator, &ours, "QQ", true),
        system = system.public_key(),
        ours = ours.public_key(),
    );
    let server = start(&Setup { accounts, ..Setup::default() }).await;
    let files = Files::new();
    let with = |name: &str, account: &KeyPair, key: &KeyPair| Nats {
        credentials_file: Some(files.write(name, credentials(account, &user, key))),
        ..at(&server)
    };
    let stranger = (KeyPair::new_account(), KeyPair::new_user());
    check(with("right", &ours, &user), with("unproved", &ours, &stranger.1)).await;
    check(with("right", &ours, &user), with("unknown", &stranger.0, &user)).await;
}

/// Who vouches for servers.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).expect("it has no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("there is chance");
        let certificate = params.self_signed(&key).expect("it is signed").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this machine, and its key.
    fn vouch(&self) -> (String, String) {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("it is a name");
        let key = rcgen::KeyPair::generate().expect("there is chance");
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server that speaks TLS only, and asks for certificates where it is given who vouches for them.
async fn tls_server(files: &Files, of: &Authority, clients: Option<&Path>) -> NatsServer {
    let (certificate, key) = of.vouch();
    let (certificate, key) =
        (files.write("server.pem", certificate), files.write("server.key", key));
    let verify = clients.map_or_else(String::new, |ca| format!("ca_file: {ca:?}, verify: true"));
    let config = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, {verify} }}");
    start(&Setup { config, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_our_authority_vouches_for() {
    let (ours, other, files) = (Authority::new(), Authority::new(), Files::new());
    let server = tls_server(&files, &ours, None).await;
    let with = |name: &str, of: &Authority| Nats {
        ca_file: Some(files.write(name, &of.certificate)),
        ..at(&server)
    };
    attempt(&with("ours.pem", &ours)).await.expect("it is vouched for");
    for unknown in [with("other.pem", &other), at(&server)] {
        let refused = attempt(&unknown).await.expect_err("nobody vouches for it");
        assert!(matches!(refused, ConnectError::Tls { .. }), "{refused:?}");
        assert!(!refused.is_passing());
        assert!(refused.to_string().contains("nats.ca_file"), "{refused}");
    }
}

/// Where the scheme demands TLS, a server without it is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_without_tls_where_it_is_a_must() {
    let server = start(&Setup::default()).await;
    let url = server.url().replace("nats://", "tls://");
    attempt(&nats(vec![url], 1)).await.expect_err("it speaks no TLS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_certificate_of_our_own() {
    let (ours, other, files) = (Authority::new(), Authority::new(), Files::new());
    let ca = files.write("ca.pem", &ours.certificate);
    let server = tls_server(&files, &ours, Some(&ca)).await;
    let with = |name: &str, of: &Authority| {
        let (certificate, key) = of.vouch();
        Nats {
            ca_file: Some(ca.clone()),
            cert_file: Some(files.write(&format!("{name}.pem"), certificate)),
            key_file: Some(files.write(&format!("{name}.key"), key)),
            ..at(&server)
        }
    };
    attempt(&with("ours", &ours)).await.expect("it is vouched for");
    attempt(&with("other", &other)).await.expect_err("nobody vouches for it");
    attempt(&Nats { ca_file: Some(ca), ..at(&server) }).await.expect_err("it shows none");
}
