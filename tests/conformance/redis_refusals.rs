//! What stands in the way of a start, in one sentence, and every way to come to Redis.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use qqrelay_proto::id::AppId;
use qqrelay_runtime::config::{Redis, RedisMode};
use qqrelay_runtime::state::redis::{ConnectError, RedisState};
use qqrelay_runtime::state::{Flight, State, StateError};
use qqrelay_tests::servers::redis::{MASTER, RedisCluster, RedisServer, RedisWatched};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use redis::Value;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

fn section(server: &RedisServer) -> Redis {
    Redis { urls: vec![server.url()], ..Redis::default() }
}

/// The whole sentence of a refusal, with its causes.
async fn refused(redis: &Redis) -> (ConnectError, String) {
    let error = RedisState::connect(redis).await.expect_err("it has to be refused");
    let sentence = error.to_string();
    (error, sentence)
}

/// Something only a state that works can do.
async fn assert_works(state: &RedisState) {
    let flight = state.token_flight(&"102".into(), &"me".into(), Duration::from_secs(1)).await;
    assert_eq!(flight.expect("it answers"), Flight::Ours);
}

fn secret(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("secret");
    fs::write(&path, format!("{text}\n")).expect("a file");
    path
}

#[tokio::test]
async fn nobody_there_and_somebody_else_are_told_apart() {
    let server = RedisServer::start("").await.expect("a server starts");
    let mut gone = section(&server);
    drop(server);
    gone.connect_timeout = Duration::from_secs(1);
    let (error, sentence) = refused(&gone).await;
    assert!(error.is_passing() && sentence.contains("redis.urls"), "{sentence}");
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_one_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start("requirepass open-sesame").await.expect("a server starts");
    let (error, sentence) = refused(&section(&server)).await;
    assert!(!error.is_passing() && sentence.contains("redis.password_file"), "{error:?}");
    let with = |password| {
        let password_file = Some(secret(&folder, password));
        Redis { password_file, ..section(&server) }
    };
    let (error, sentence) = refused(&with("wrong")).await;
    assert!(!error.is_passing() && sentence.contains("redis.password_file"), "{error:?}");
    assert!(!format!("{error:?}").contains("wrong-"), "no password in an error");
    let state = RedisState::connect(&with("open-sesame")).await.expect("the right one");
    assert_works(&state).await;
}

/// The rule of docs/OPERATIONS.md is enough, and less of it is named.
#[tokio::test]
async fn a_user_needs_what_the_documents_say() {
    const RULE: &str = "~qq:* +@read +@write +@scripting +info +ping +select +time";
    let text = include_str!("../../docs/OPERATIONS.md");
    assert!(text.contains(RULE), "docs/OPERATIONS.md has another rule");
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start("").await.expect("a server starts");
    let user = |name: &str, rule: &str| {
        let rule = rule.split_whitespace();
        let words: Vec<&str> =
            ["ACL", "SETUSER", name, "on", ">pass"].into_iter().chain(rule).collect();
        server.command::<Value>(&words).expect("a user");
        let (user, password_file) = (Some(name.to_owned()), Some(secret(&folder, "pass")));
        Redis { user, password_file, ..section(&server) }
    };
    let enough = RedisState::connect(&user("enough", RULE)).await.expect("it is enough");
    assert_works(&enough).await;
    let app = AppId::from("102");
    assert_eq!(enough.resumes(Some(&app)).await.expect("it may look for keys"), []);
    let (error, sentence) = refused(&user("less", "~qq:* +info +select")).await;
    assert!(!error.is_passing() && sentence.contains("may not"), "{error:?}");
}

#[tokio::test]
async fn a_cluster_and_a_server_alone_are_not_mistaken_for_each_other() {
    let server = RedisServer::start("").await.expect("a server starts");
    let (error, sentence) = refused(&Redis { mode: RedisMode::Cluster, ..section(&server) }).await;
    assert!(!error.is_passing() && sentence.contains("mode = \"single\""), "{error:?}");
    let cluster = RedisCluster::start().await.expect("three servers start");
    let (error, sentence) = refused(&section(&cluster.servers[0])).await;
    assert!(!error.is_passing() && sentence.contains("mode = \"cluster\""), "{error:?}");
}

#[tokio::test]
async fn a_certificate_has_to_be_vouched_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let server = server.signed_by(&key, &authority).expect("a certificate");
    fs::write(path("ca.pem"), authority.pem()).expect("a file");
    fs::write(path("cert.pem"), server.pem()).expect("a file");
    fs::write(path("key.pem"), key.serialize_pem()).expect("a file");

    let config = format!(
        "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no\n",
        path("cert.pem").display(),
        path("key.pem").display(),
        path("ca.pem").display(),
    );
    let (server, port) = RedisServer::start_with_tls(&config).await.expect("a server starts");
    let url = format!("rediss://127.0.0.1:{port}");
    let mut redis = Redis { urls: vec![url], ..Redis::default() };
    let (error, sentence) = refused(&redis).await;
    assert!(!error.is_passing() && sentence.contains("redis.ca_file"), "{error:?}");
    redis.ca_file = Some(path("ca.pem"));
    let state = RedisState::connect(&redis).await.expect("it is vouched for");
    assert_works(&state).await;
    drop(server);
}

/// The replica takes over, and the same state goes on.
#[tokio::test]
async fn a_master_that_is_killed_is_followed_by_its_replica() {
    let mut watched = RedisWatched::start().await.expect("the three start");
    let redis = Redis {
        urls: vec![watched.sentinel.url()],
        mode: RedisMode::Sentinel,
        master: Some(MASTER.to_owned()),
        request_timeout: Duration::from_secs(1),
        ..Redis::default()
    };
    let unknown = Redis { master: Some("other".to_owned()), ..redis.clone() };
    let (error, sentence) = refused(&unknown).await;
    assert!(!error.is_passing() && sentence.contains("redis.master"), "{error:?}");
    let state = RedisState::connect(&redis).await.expect("the sentinel knows the master");
    assert_works(&state).await;
    watched.master.kill();
    let (owner, ttl) = ("me".into(), Duration::from_secs(1));
    let follows = async {
        while state.token_flight(&"102".into(), &owner, ttl).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, follows).await.expect("the replica answers");
}

/// Whatever Redis does, an answer is an error in time, and nothing needs a restart of ours.
#[tokio::test]
async fn a_server_that_stands_still_or_goes_is_an_error_in_time_until_it_is_back() {
    let mut server = RedisServer::start("").await.expect("a server starts");
    let request_timeout = Duration::from_millis(500);
    let redis = Redis { request_timeout, ..section(&server) };
    let state = RedisState::connect(&redis).await.expect("a server that will do");
    let (app, owner) = (AppId::from("102"), "me".into());
    let ask = || state.token_flight(&app, &owner, Duration::from_secs(1));
    server.stand_still().expect("it runs");
    let began = Instant::now();
    assert!(matches!(ask().await, Err(StateError::Unavailable(_))));
    assert!(began.elapsed() >= request_timeout, "it was waited for");
    server.go_on().expect("it runs");
    let works = async { while ask().await.is_err() {} };
    timeout(PATIENCE, works).await.expect("it goes on");
    server.kill();
    assert!(matches!(ask().await, Err(StateError::Unavailable(_))));
    server.restart().await.expect("it starts again");
    let works = async {
        while ask().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, works).await.expect("it is found again");
}

/// What somebody else wrote under a key of ours is named and left alone.
#[tokio::test]
async fn a_value_that_is_not_ours_is_named() {
    let server = RedisServer::start("").await.expect("a server starts");
    let state = RedisState::connect(&section(&server)).await.expect("a server that will do");
    for (key, words) in [
        ("qq:token:{102}", ["SET", "qq:token:{102}", "something"]),
        ("qq:flight:{102}", ["LPUSH", "qq:flight:{102}", "something"]),
        ("qq:identify:{102}", ["SET", "qq:identify:{102}", "7"]),
    ] {
        server.command::<Value>(&words).expect("it is written");
        let app = AppId::from("102");
        let found = match key {
            "qq:token:{102}" => state.token(&app).await.map(drop),
            "qq:flight:{102}" => {
                state.token_flight(&app, &"me".into(), Duration::from_secs(1)).await.map(drop)
            }
            _ => {
                let asker = qqrelay_proto::identify::Asker::Relay;
                state.permit_identify(&app, None, asker).await.map(drop)
            }
        };
        let Err(StateError::Foreign { key: named }) = found else { panic!("{key}: {found:?}") };
        assert_eq!(named, key);
    }
}
