//! Row C29 of the fault matrix, and C30: what is refused at the start, in one sentence that says the
//! difference and the fix; and what is taken with a warning.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use qqrelay_runtime::bus::Layout;
use qqrelay_runtime::bus::conformance::LAYOUT;
use qqrelay_runtime::bus::embedded::Limits;
use qqrelay_runtime::bus::nats::{ConnectError, NatsBus};
use qqrelay_runtime::config::Nats;
use qqrelay_tests::servers::nats::{NatsCluster, NatsServer, Setup};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tracing_subscriber::util::SubscriberInitExt;

use crate::nats_stage::{ANSWER_WITHIN, api, attempt, client, connect, nats, servers};

/// Checks that a start is refused for good, and how the sentence reads.
fn check(refused: Result<NatsBus, ConnectError>, pieces: &[&str]) {
    let error = refused.expect_err("it is refused");
    assert!(!error.is_passing(), "{error}");
    let text = error.to_string();
    for piece in pieces {
        assert!(text.contains(piece), "{piece:?} is not in \"{text}\"");
    }
    assert!(!text.contains('\n'), "{text}");
}

/// Says that it is a server of this version, and answers each question whether it lives.
async fn old_server(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    let info = json!({ "server_id": "N1", "version": version, "proto": 1, "headers": true,
        "max_payload": 1_048_576, "jetstream": true });
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await?;
        let (from, mut to) = socket.split();
        to.write_all(format!("INFO {info}\r\n").as_bytes()).await?;
        let mut lines = BufReader::new(from).lines();
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("PING") {
                to.write_all(b"PONG\r\n").await?;
            }
        }
        io::Result::Ok(())
    });
    format!("nats://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c29_an_old_server_is_refused() {
    let url = old_server("2.11.9").await;
    check(attempt(&nats(vec![url], 1)).await, &["nats-server 2.11.9 is too old", "2.12"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c29_another_layout_is_refused() {
    let servers = servers(1).await;
    let nats = nats(servers.urls(), 1);
    attempt(&nats).await.expect("the first makes the streams");
    let limits = Limits::default();
    let other = async |layout| NatsBus::connect(&nats, "t", layout, &limits, ANSWER_WITHIN).await;
    let window = other(Layout { window: 128, ..LAYOUT }).await;
    check(window, &["stream QQ_EV_00: window is 256 and has to be 128", "write log.window = 256"]);
    let partitions = other(Layout { partitions: 1, ..LAYOUT }).await;
    check(partitions, &["partitions is 2 and has to be 1", "write log.partitions = 2"]);
}

/// Changes a stream that is as we make it, and says how the next start is refused.
async fn changed(stream: &str, change: impl FnOnce(&mut Value), pieces: &[&str]) {
    let servers = servers(1).await;
    let nats = nats(servers.urls(), 1);
    attempt(&nats).await.expect("the first makes the streams");
    let client = client(&servers).await;
    let info = api(&client, &format!("STREAM.INFO.{stream}"), "").await.expect("it is there");
    let mut config = info["config"].clone();
    change(&mut config);
    // Some settings cannot be changed, so that it is made anew.
    api(&client, &format!("STREAM.DELETE.{stream}"), "").await.expect("it is deleted");
    let question = format!("STREAM.CREATE.{stream}");
    api(&client, &question, config.to_string()).await.expect("it is made");
    check(attempt(&nats).await, pieces);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c29_a_stream_without_atomic_batches_is_refused() {
    let off = |config: &mut Value| config["allow_atomic"] = json!(false);
    changed("QQ_EV_00", off, &["QQ_EV_00", "allow_atomic is false", "--allow-batch"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c29_another_retention_is_refused() {
    let limits = |config: &mut Value| config["retention"] = json!("limits");
    let pieces =
        ["QQ_COMMANDS", "retention is Limits and has to be WorkQueue", "remove the stream"];
    changed("QQ_COMMANDS", limits, &pieces).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c29_another_subject_transform_is_refused() {
    let none = |config: &mut Value| config["subject_transform"] = Value::Null;
    let pieces = ["QQ_COMMANDS", "subject_transform is none", "remove the stream"];
    changed("QQ_COMMANDS", none, &pieces).await;
}

/// A server with an account for us, one without storage, and users with less than they need.
async fn with_users() -> NatsCluster {
    let setup = Setup::with_accounts(
        "QQ { jetstream: enabled, users: [
            { user: right, password: right }
            { user: mute, password: mute, permissions: { publish: { allow: [\"_INBOX.>\"] } } }
            { user: reader, password: reader,
              permissions: { publish: { deny: [\"$JS.API.STREAM.CREATE.>\"] } } }
         ] }
         PLAIN { users: [ { user: plain, password: plain } ] }",
    );
    NatsCluster { servers: vec![NatsServer::start(&setup).await.expect("a server starts")] }
}

/// One attempt of a user with a password.
async fn attempt_as(
    servers: &NatsCluster,
    user: &str,
    password: &str,
) -> Result<NatsBus, ConnectError> {
    let file = tempfile::NamedTempFile::new().expect("there is room");
    std::fs::write(file.path(), password).expect("there is room");
    let nats = Nats {
        user: Some(user.to_owned()),
        password_file: Some(file.path().to_owned()),
        ..nats(servers.urls(), 1)
    };
    attempt(&nats).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn missing_permissions_are_named() {
    let servers = with_users().await;
    let pieces = ["may not do what its role needs", "$JS.API.STREAM.INFO.", "deploy/nats.conf"];
    check(attempt_as(&servers, "mute", "mute").await, &pieces);
}

/// It passes once a gateway has made the streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_may_make_no_streams_waits_for_who_may() {
    let servers = with_users().await;
    let absent = attempt_as(&servers, "reader", "reader").await.expect_err("nothing is there");
    assert!(absent.is_passing(), "{absent}");
    assert!(absent.to_string().contains("start a gateway first"), "{absent}");
    attempt_as(&servers, "right", "right").await.expect("it makes the streams");
    attempt_as(&servers, "reader", "reader").await.expect("they are there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrong_credentials_are_refused() {
    let servers = with_users().await;
    let pieces = ["does not let us in", "check the credentials in the section nats"];
    check(attempt_as(&servers, "right", "wrong").await, &pieces);
    check(attempt(&nats(servers.urls(), 1)).await, &pieces);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_without_storage_is_refused() {
    let servers = with_users().await;
    let pieces = ["has no JetStream for us", "enable it"];
    check(attempt_as(&servers, "plain", "plain").await, &pieces);
}

/// Log lines of one thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// It starts, and every stream is warned of.
#[tokio::test]
async fn c30_one_replica_is_warned_of() {
    let servers = servers(1).await;
    let lines = Lines::default();
    let writer = lines.clone();
    let logging = tracing_subscriber::fmt().with_writer(move || writer.clone()).set_default();
    connect(servers.urls(), 1).await;
    drop(logging);
    let lines = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let lines = String::from_utf8(lines).expect("it is text");
    for stream in ["QQ_EV_00", "QQ_EV_01", "QQ_EV_wh", "QQ_COMMANDS", "QQ_RESULTS", "QQ_DLQ"] {
        let warned = |line: &str| line.contains(stream) && line.contains("only copy");
        assert!(lines.lines().any(warned), "{stream}: {lines}");
    }
}
