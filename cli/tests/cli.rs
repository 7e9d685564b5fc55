//! The binary as a user meets it: what it prints, how it ends, and that it can be stopped.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn qqrelay(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qqrelay"));
    command.args(args).env("NO_COLOR", "1");
    command
}

fn run(args: &[&str]) -> Output {
    qqrelay(args).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that is killed with the test.
struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = qqrelay(args).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    /// The first line that has `part` in it.
    fn line_with(&mut self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut line = String::new();
        while Instant::now() < end {
            line.clear();
            assert_ne!(
                self.lines.read_line(&mut line).expect("text"),
                0,
                "it ended without {part}"
            );
            if line.contains(part) {
                return line.trim().to_owned();
            }
        }
        panic!("no line with {part}");
    }

    /// Asks it to stop; gives its exit code and what it still had to say.
    fn stop(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(killed.success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// A relay's configuration against a simulated platform.
fn config(folder: &Path, platform: &str) -> PathBuf {
    let path = folder.join("qqrelay.toml");
    let log = folder.join("log.redb");
    let text = format!(
        "[platform]\nprofile = \"custom\"\ntoken_url = \"{platform}\"\napi_url = \"{platform}\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[embedded]\npath = {log:?}\n\
         [worker]\nhandler = \"echo\"\n\
         [[bots]]\napp_id = \"102000001\"\nsecret = \"a-secret-of-a-bot\"\nshards = 1\n"
    );
    fs::write(&path, text).expect("a file");
    path
}

fn simulator() -> (Process, String) {
    let listen = ["simulate", "--listen", "127.0.0.1:0", "--app", "102000001:a-secret-of-a-bot"];
    let mut platform = Process::start(&listen);
    let url = platform.line_with("http://");
    (platform, url)
}

fn relay(config: &Path) -> (Process, String) {
    let mut relay = Process::start(&["standalone", "-c", config.to_str().expect("a plain path")]);
    let ready = relay.line_with("\"msg\":\"ready\"");
    let admin = ready.split("\"admin\":\"").nth(1).and_then(|rest| rest.split('"').next());
    (relay, admin.expect("the admin port's address").to_owned())
}

/// How many IDENTIFYs the platform has had.
fn identifies(platform: &str) -> u64 {
    let curl = Command::new("curl").args(["-sf", &format!("{platform}/_sim/counters")]).output();
    let counters = text(&curl.expect("curl runs").stdout);
    let count = counters.split("\"identify\":").nth(1).unwrap_or("0");
    let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[test]
fn a_wrong_configuration_is_told_whole_and_ends_with_78() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.toml");
    let wrong = "[gatewy]\n[gateway]\nclose_code = 1000\nhello_timeout = \"soon\"\n\
                 [[bots]]\napp_id = \"102\"\nsecret = \"short\"\nshards = 0\n";
    fs::write(&path, wrong).expect("a file");
    let output = run(&["config", "check", "-c", path.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    for part in ["bad.toml:1", "gatewy", "close_code", "hello_timeout", "secret", "shards"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("short"), "no secret is shown: {said}");
}

#[test]
fn the_example_is_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("example.toml");
    fs::write(&path, run(&["config", "example"]).stdout).expect("a file");
    let output = run(&["config", "check", "-c", path.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_reader_who_leaves_ends_the_work_and_is_no_error() {
    for args in [["config", "schema"], ["config", "example"], ["completions", "bash"]] {
        let mut child = qqrelay(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_pages_are_there() {
    assert_eq!(run(&["no-such-command"]).status.code(), Some(2));
    assert!(text(&run(&["man"]).stdout).contains("qqrelay"));
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man");
    let output = run(&["man", "--dir", pages.to_str().expect("a plain path")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for page in ["qqrelay.1", "qqrelay-demo.1", "qqrelay-config-check.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
}

#[test]
fn nobody_there_is_said_in_a_sentence() {
    let output = run(&["shards", "--admin", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("nothing answers on 127.0.0.1:1"));
}

#[test]
fn a_relay_answers_can_be_asked_and_stops_so_that_its_session_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_platform, url) = simulator();
    let config = config(folder.path(), &url);
    let (mut first, admin) = relay(&config);
    first.line_with("\"how\":\"identified\"");

    let second = run(&["standalone", "-c", config.to_str().expect("a plain path")]);
    assert_eq!(second.status.code(), Some(69));
    assert!(text(&second.stderr).contains("is open in another process"));

    let shards = text(&run(&["shards", "--admin", &admin]).stdout);
    assert!(shards.contains("102000001") && shards.contains("live"), "{shards}");
    let mut tail =
        Process::start(&["tail", "--admin", &admin, "--from-start", "--json", "-n", "1"]);
    let event = r#"{"inject":{"app":"102000001","event":{"t":"C2C_MESSAGE_CREATE",
        "d":{"author":{"user_openid":"user-1"},"content":"hello"}}}}"#;
    let action = format!("{url}/_sim/actions");
    let injected = Command::new("curl").args(["-sf", "-X", "POST", &action, "-d", event]).status();
    assert!(injected.expect("curl runs").success());
    let line = tail.line_with("message_create");
    let message = line.split("\"msg_id\":\"").nth(1).and_then(|rest| rest.split('"').next());

    let to = ["--app", "102000001", "--scene", "c2c", "--scope", "user-1", "--text", "and more"];
    let mut args = vec!["send", "--admin", &admin, "--reply-to", message.expect("a reply right")];
    args.extend(to);
    let sent = run(&args);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    assert!(text(&sent.stdout).contains("sent as"), "{}", text(&sent.stdout));

    let before = identifies(&url);
    let (code, said) = first.stop();
    assert_eq!(code, Some(0), "{said}");
    let (mut again, _) = relay(&config);
    again.line_with("\"how\":\"resumed\"");
    assert_eq!(identifies(&url), before, "a restart spends no IDENTIFY");
    assert_eq!(again.stop().0, Some(0));
}

#[test]
fn the_demo_loses_nothing() {
    let output = run(&["demo", "--events", "120", "--rate", "40", "--shards", "1", "--quiet"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(said.contains("lost                   0"), "{said}");
}
