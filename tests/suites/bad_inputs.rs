//! Peers that break the protocol: no panic, bounded, and the session is kept where it can be.
//!
//! What is wrong with a frame's JSON, an envelope, an id, a configuration or a REST answer is tested
//! beside the code that reads it; here is what only a socket can show. Each row has a shard of its
//! own, so that the rows do not wait for one another.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qqrelay_simulator::control::RawBytes;
use qqrelay_simulator::journal::Entry;
use qqrelay_simulator::{Action, Config as PlatformConfig, Injection, Target};
use qqrelay_tests::door::{Door, Welcome};
use qqrelay_tests::stage::{APP, Stage};
use qqrelay_tests::wait::eventually;

const MIB: usize = 1 << 20;

/// What a peer gets rid of before nobody listens any more: the two kernels' buffers take some
/// mebibytes, the relay itself no more than a handshake's head.
const HEAD_TAKEN_MAX: usize = 10 * MIB;

/// A frame as it stands on the wire: the first byte, then a payload with its right length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(length as u8),
        126..=0xFFFF => {
            bytes.push(126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// A text frame's head that promises so many bytes, and none of them.
fn promise(length: u64) -> Vec<u8> {
    [&[0x81, 127][..], &length.to_be_bytes()].concat()
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason].concat())
}

async fn stage(shards: usize) -> Stage {
    let count = u16::try_from(shards).expect("a short table");
    let mut platform = PlatformConfig::default();
    platform.gateway.max_concurrency = u32::from(count) * 4;
    let mut stage = Stage::of(platform, count, |_| {}).await;
    stage.expected.identifies = Some(shards);
    stage
}

/// Sends each row to a shard of its own.
async fn send(rows: &[(&str, Vec<u8>)]) -> Stage {
    let mut stage = stage(rows.len()).await;
    stage.start().await;
    stage.all_live().await;
    for (index, (_, bytes)) in (0..).zip(rows) {
        let target = Target::shard(APP, index, rows.len() as u32);
        let bytes = RawBytes::Base64(STANDARD.encode(bytes));
        stage.perform(&Action::Raw { target, bytes });
    }
    stage
}

/// Says something to everybody, and sees that it is stored and the sessions are those of before.
async fn goes_on(stage: Stage) {
    for number in 0..64 {
        stage.inject(&Injection::c2c(&format!("user-{number}"), "still there?"));
    }
    stage.finish().await;
}

/// Whether each row's shard has sent a RESUME.
fn resumed(stage: &Stage, rows: usize) -> Vec<bool> {
    let journal = stage.journal();
    let shard_of = |wanted: &str| {
        journal.iter().find_map(|line| match &line.entry {
            Entry::Ready { session, shard, .. } if session.as_str() == wanted => Some(shard.index),
            _ => None,
        })
    };
    let resumed = journal.iter().filter_map(|line| match &line.entry {
        Entry::Resume { session, .. } => shard_of(session),
        _ => None,
    });
    let resumed: Vec<_> = resumed.collect();
    (0..).take(rows).map(|index| resumed.contains(&index)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_breaks_the_framing_is_left_and_the_session_resumed() {
    let ping = frame(0x89, b"");
    let rows = [
        ("a reserved bit: nobody negotiated compression", frame(0xC1, b"x")),
        ("all reserved bits", frame(0xF1, b"")),
        ("an unknown data opcode", frame(0x83, b"")),
        ("an unknown control opcode", frame(0x8B, b"")),
        ("a masked frame from a server", vec![0x81, 0x82, 1, 2, 3, 4, b'{' ^ 1, b'}' ^ 2]),
        ("a fragmented ping", frame(0x09, b"")),
        ("a ping of 126 bytes", frame(0x89, &[0; 126])),
        ("a continuation of nothing", frame(0x80, b"x")),
        ("a text within a text", [frame(0x01, b"{"), text("{}")].concat()),
        ("text that is no UTF-8", frame(0x81, &[0xC3, 0x28])),
        (
            "text that is no UTF-8 over two frames, a ping between them",
            [frame(0x01, &[0xC3]), ping, frame(0x80, &[0x28])].concat(),
        ),
        ("a length with its top bit set", promise(1 << 63)),
        ("the largest length", promise(u64::MAX)),
        ("a length of a tebibyte", promise(1 << 40)),
        ("a length just beyond a frame's bound", promise(MIB as u64 + 1)),
        (
            "fragments that add up beyond a message's bound",
            [frame(0x01, &vec![b' '; MIB]), frame(0x00, &vec![b' '; MIB]).repeat(4)].concat(),
        ),
        ("a close of one byte", frame(0x88, &[3])),
        ("a close with code 0", close(0, b"")),
        ("a close with code 999", close(999, b"")),
        ("a close with code 1005", close(1005, b"")),
        ("a close with code 1006", close(1006, b"")),
        ("a close with code 65535", close(65_535, b"")),
        ("a close whose reason is no UTF-8", close(4009, &[0xFF, 0xFE])),
        ("a close with a reason of a mebibyte", close(4009, &vec![b'x'; MIB])),
        (
            "an event after the close",
            [close(4009, b""), text(r#"{"op":0,"s":2,"t":"X"}"#)].concat(),
        ),
    ];
    let stage = send(&rows).await;
    let all = eventually("every row is resumed", async || {
        resumed(&stage, rows.len()).into_iter().all(|resumed| resumed).then_some(())
    });
    if let Err(error) = all.await {
        let rows = rows.iter().zip(resumed(&stage, rows.len()));
        let not_resumed = rows.filter(|(_, resumed)| !resumed).map(|((what, _), _)| what);
        panic!("{error}: {:?}", not_resumed.collect::<Vec<_>>());
    }
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_only_odd_is_listened_to_further() {
    let ack = br#"{"op":11}"#;
    let wide: Vec<_> = (0..50_000).map(|number| format!("\"k{number}\":{number}")).collect();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let rows = [
        ("a ping", frame(0x89, b"are you there")),
        ("a ping that writes its length in more bytes than it needs", vec![0x89, 126, 0, 1, 0]),
        ("a pong that nobody asked for", frame(0x8A, b"")),
        ("a binary frame", frame(0x82, &[0, 1, 2])),
        (
            "a ping between two fragments",
            [frame(0x01, &ack[..4]), frame(0x89, b""), frame(0x80, &ack[4..])].concat(),
        ),
        (
            "a million fragments of nothing",
            [frame(0x01, b""), frame(0x00, b"").repeat(1_000_000), frame(0x80, b"")].concat(),
        ),
        ("nothing", text("")),
        ("null", text("null")),
        ("an array", text("[]")),
        ("a byte order mark", text("\u{FEFF}{\"op\":11}")),
        ("a NUL", text("\0")),
        ("half of a frame", text(r#"{"op":0,"d":"#)),
        ("one comma too many", text(r#"{"op":11,}"#)),
        ("an opcode that is a text", text(r#"{"op":"0"}"#)),
        ("an opcode twice", text(r#"{"op":11,"op":7}"#)),
        ("fifty thousand members", text(&format!("{{{},\"op\":11}}", wide.join(",")))),
        ("a hundred thousand levels", text(&deep)),
    ];
    let stage = send(&rows).await;
    for number in 0..64 {
        stage.inject(&Injection::c2c(&format!("user-{number}"), "still there?"));
    }
    stage.settle().await;
    for ((what, _), resumed) in rows.iter().zip(resumed(&stage, rows.len())) {
        assert!(!resumed, "{what}");
    }
    goes_on(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_cannot_even_shake_hands_costs_an_attempt_and_little_memory() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\n";
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let bytes = |text: String| Welcome::Bytes(text.into_bytes());
    let many: String = (0..100_000).map(|number| format!("X-{number}: y\r\n")).collect();
    let welcomes = vec![
        bytes(format!(
            "{switching}{upgrade}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
        )),
        bytes(format!("{switching}{upgrade}\r\n")),
        bytes(format!("{switching}Sec-WebSocket-Accept: x\r\n\r\n")),
        bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned()),
        bytes(
            "HTTP/1.1 301 Moved\r\nLocation: ftp://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
        ),
        bytes("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n".to_owned()),
        bytes("SSH-2.0-OpenSSH_9.9\r\n".to_owned()),
        Welcome::Bytes(vec![0; 64]),
        Welcome::Bytes(Vec::new()),
        Welcome::Upgraded(b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec()),
        Welcome::Upgraded(frame(0x83, b"")),
        bytes(format!("{switching}{upgrade}X: {}", "a".repeat(32 * MIB))),
        bytes(format!("{switching}{upgrade}{many}\r\n")),
    ];
    let count = welcomes.len();
    let mut stage = stage(count).await;
    let door = Door::before(stage.platform.platform().address(), welcomes).await.expect("a port");
    stage.enter_by(&door.base_url());
    stage.start().await;
    stage.all_live().await;
    let written = door.written();
    assert_eq!(written.len(), count, "each has met somebody");
    assert!(written.iter().all(|taken| *taken <= HEAD_TAKEN_MAX), "{written:?} bytes were taken");
    goes_on(stage).await;
}
