//! What a file and an environment give, and everything that can be wrong with them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::{Count, HandlerName, Nats, Redis, example};

const BOT: &str = "[[bots]]\napp_id = '102000001'\nsecret = '0123456789abcdef'\n";

/// A directory with files in it, gone with the value.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        #[cfg(unix)]
        set_mode(&path, 0o600);
        path
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn read(text: impl AsRef<[u8]>, environment: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let files = Files::new();
    let path = files.write("relay.toml", text);
    load(Some(&path), environment.iter().map(|(name, text)| ((*name).into(), (*text).into())))
}

/// The findings as `line field: what; fix`, for a file that has some.
fn findings(text: impl AsRef<[u8]>, environment: &[(&str, &str)]) -> Vec<String> {
    let problems = read(text, environment).expect_err("the file has problems");
    let write = |problem: &Problem| {
        let place = match &problem.origin {
            Origin::File { line, .. } => line.to_string(),
            Origin::Environment(name) => name.clone(),
            Origin::Default => "-".into(),
        };
        format!("{place} {}: {}; {}", problem.field, problem.what, problem.fix)
    };
    problems.list().iter().map(write).collect()
}

/// One finding, whose text has all of these pieces in it.
#[track_caller]
fn check_one(text: impl AsRef<[u8]>, pieces: &[&str]) {
    let found = findings(text, &[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    for piece in pieces {
        assert!(found[0].contains(piece), "{piece:?} is not in {:?}", found[0]);
    }
}

#[test]
fn no_file_and_no_environment_is_the_default_and_a_warning() {
    let loaded = load(None, []).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].to_string().contains("no bot is enabled"));
}

#[test]
fn a_file_is_read_into_plain_values() {
    let text =
        format!("[gateway]\nhello_timeout = '5s'\nthreads = 2\n[log]\nmax_bytes = '1GiB'\n{BOT}");
    let config = read(text, &[]).unwrap().config;
    assert_eq!(config.gateway.hello_timeout, Duration::from_secs(5));
    assert_eq!(config.gateway.threads.number().map(u16::from), Some(2));
    assert_eq!(config.log.max_bytes, 1 << 30);
    assert_eq!(config.bots[0].app_id.as_str(), "102000001");
    assert_eq!(config.bots[0].secret.expose(), "0123456789abcdef");
    assert_eq!(config.bots[0].shards, Count::Auto);
    assert_eq!(config.log.window, Config::default().log.window, "what is not written is default");
}

#[test]
fn the_environment_writes_over_the_file() {
    let files = Files::new();
    let secret = files.write("secret", "fedcba9876543210\n");
    let config = read(
        format!("[log]\nwindow = 10\n[worker]\nhandler = 'none'\n{BOT}"),
        &[
            ("QQRELAY_LOG__WINDOW", "512"),
            ("QQRELAY_LOG__MAX_AGE", "48h"),
            ("QQRELAY_WORKER__HANDLER", "echo"),
            ("QQRELAY_TELEMETRY__SAMPLE_RATIO", "0.5"),
            ("QQRELAY_PLATFORM__GATEWAY_HOSTS", "a.example, b.example"),
            ("QQRELAY_BOTS__0__SECRET_FILE", secret.to_str().unwrap()),
            ("QQRELAY_BOTS__0__SHARDS", "4"),
            ("QQRELAY_BOTS__0__INTENTS", "GUILDS,INTERACTION"),
            ("QQRELAY_BOTS__1__APP_ID", "102000002"),
            ("QQRELAY_BOTS__1__SECRET", "0011223344556677"),
            ("QQRELAY_BOTS__1__ENABLED", "false"),
            ("QQRELAY_BOTS__1__NAME", ""),
            ("QQRELAY_SERVICE_HOST", "10.0.0.1"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap()
    .config;
    assert_eq!(config.log.window, 512);
    assert_eq!(config.log.max_age, Duration::from_secs(48 * 3600));
    assert_eq!(config.worker.handler, HandlerName::Echo);
    assert!((config.telemetry.sample_ratio - 0.5).abs() < f64::EPSILON);
    assert_eq!(config.platform.gateway_hosts, ["a.example", "b.example"]);
    assert_eq!(config.bots[0].secret.expose(), "fedcba9876543210", "the file's goes");
    assert_eq!(config.bots[0].shards.number().map(u16::from), Some(4));
    assert_eq!(config.bots[0].intents.bits(), 1 << 26 | 1);
    assert_eq!(config.bots[1].app_id.as_str(), "102000002", "digits stay text");
    assert_eq!(config.bots[1].secret.expose(), "0011223344556677");
    assert!(!config.bots[1].enabled);
    assert_eq!(config.bots[1].name, None, "an empty variable sets nothing");
}

#[test]
fn what_is_wrong_in_the_environment_names_its_variable() {
    let found = findings(
        BOT,
        &[
            ("QQRELAY_LOG__WINDOW", "many"),
            ("QQRELAY_LOG__WINDOWS", "1"),
            ("QQRELAY_GATEWAY_CLOSE_CODE", "4000"),
            ("QQRELAY_BOTS__7__APP_ID", "102000002"),
        ],
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    let check = |name: &str, piece: &str| {
        let line = found.iter().find(|line| line.starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.contains(piece)), "{name}: {found:#?}");
    };
    check("QQRELAY_LOG__WINDOW", "log.window: invalid type");
    check("QQRELAY_LOG__WINDOWS", "write window");
    check("QQRELAY_GATEWAY_CLOSE_CODE", "write QQRELAY_GATEWAY__CLOSE_CODE");
    check("QQRELAY_BOTS__7__APP_ID", "without holes");
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_file() {
    let found = findings(
        "\
[gateway]
close_code = 1000
close_codes = 4000
hello_timeout = 10
threads = 0
[worker]
handler = 'lambda'
[log]
window = 70000
partitions = 0
[kafka]
url = 'kafka://127.0.0.1'
[[bots]]
app_id = 102000001
secret = 'short'
[[bots]]
secret = '0123456789abcdef'
shards = 1000000000
",
        &[],
    );
    let heads: Vec<&str> =
        found.iter().filter_map(|line| line.split_once(": ")).map(|(head, _)| head).collect();
    assert_eq!(
        heads,
        [
            "2 gateway.close_code",
            "3 gateway.close_codes",
            "4 gateway.hello_timeout",
            "5 gateway.threads",
            "7 worker.handler",
            "9 log.window",
            "10 log.partitions",
            "11 kafka",
            "14 bots[0].app_id",
            "15 bots[0].secret",
            "16 bots[1].app_id",
            "18 bots[1].shards",
        ]
    );
    assert!(found.iter().all(|line| line.split_once("; ").is_some_and(|(_, fix)| !fix.is_empty())));
}

#[test]
fn an_unknown_key_is_told_its_nearest_neighbour() {
    check_one("[gateway]\nclose_cod = 4000", &["2 gateway.close_cod: unknown key", "close_code"]);
    check_one("[gatway]\nclose_code = 4000", &["1 gatway: unknown section", "write gateway"]);
    check_one("colour = 'red'", &["unknown section", "take it out; there are platform, log"]);
    check_one("[worker.http]\nurls = 'x'", &["worker.http.urls: unknown key", "write url"]);
}

#[test]
fn a_value_of_the_wrong_type_is_told_the_right_one() {
    check_one(
        "[log]\nwindow = '256'",
        &["2 log.window: invalid type", "write it like window = 256"],
    );
    check_one("[log]\nwindow = 70000", &["invalid value: integer `70000`", "u16"]);
    check_one("[log]\nwindow = -1", &["invalid value: integer `-1`"]);
    check_one("[log]\nmax_age = '24'", &["\"24\" is not a duration", "max_age = \"1d\""]);
    check_one("[log]\nmax_age = '99999999999999999999h'", &["is more than 365d"]);
    check_one("[log]\nmax_bytes = '8GB'", &["is not a size", "max_bytes = \"8GiB\""]);
    check_one("[log]\nmax_bytes = 99999999999999999999", &["is too large a number"]);
    check_one("log = 3", &["1 log: invalid type", "`qqrelay config example`"]);
    check_one("bots = 3", &["1 bots: invalid type"]);
    check_one("bots = [1, 2]", &["1 bots[0]: invalid type"]);
    check_one("[admin]\nlisten = '9600'", &["listen = \"127.0.0.1:9600\""]);
    check_one("[platform]\nprofile = 'prod'", &["unknown variant `prod`", "`production`"]);
}

#[test]
fn what_is_no_file_of_ours_is_refused_whole() {
    let gone = load(Some(Path::new("/nonexistent/relay.toml")), []).unwrap_err();
    assert!(gone.to_string().contains("cannot be read"), "{gone}");
    assert!(load(Some(Path::new("/")), []).is_err(), "a directory");
    check_one([0xff, 0xfe, 0x00], &["it is not UTF-8 text"]);
    check_one("# filler\n".repeat(200_000), &["more than 1048576 bytes"]);
    assert!(findings("[log\nwindow = 1", &[])[0].starts_with("1 : not TOML"));
    check_one("[log]\nwindow = 1\nwindow = 2\n", &["3 : not TOML: duplicate key"]);
    check_one("[log]\n[log]\n", &["2 : not TOML"]);
    let deep = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(!findings(deep, &[]).is_empty());
    assert!(read(format!("\u{feff}{BOT}"), &[]).is_ok(), "editors put a mark before UTF-8");
}

#[test]
fn a_hostile_file_is_answered_within_bounds() {
    let many = "[[bots]]\napp_id = 1\nsecret = 2\nwrong = 3\n".repeat(2_000);
    let problems = read(many, &[]).unwrap_err();
    assert!(problems.list().len() > 2_000);
    assert!(problems.to_string().lines().count() < 60);
}

#[test]
fn every_setting_has_its_bounds() {
    let check = |section: &str, line: &str, piece: &str| {
        check_one(format!("[{section}]\n{line}"), &[&format!("2 {section}."), piece]);
    };
    check("log", "partitions = 101", "1 to 100");
    check("log", "window = 0", "1 to 999");
    check("log", "window = 1000", "1 to 999");
    check("log", "max_age = '59m'", "1h to 365d");
    check("log", "record_limit = '901KiB'", "64KiB to 900KiB");
    check("log", "max_bytes = '1MiB'", "two windows");
    check("embedded", "path = ''", "is empty");
    check("gateway", "close_code = 1001", "ends the session");
    check("gateway", "close_code = 1012", "3000 to 4999");
    check("gateway", "hello_timeout = '0s'", "1s to 2m");
    check("gateway", "publish_timeout = '25s'", "shorter than gateway.drain_grace");
    check("gateway", "window_bytes = '1KiB'", "1MiB to 1GiB");
    check("lease", "renew = '2s'", "three renewals");
    check("lease", "observe = '4500ms'", "three renewals");
    check("worker", "scope_queue = 0", "1 to 4096");
    check("worker", "failures = 0", "1 to 100");
    check("egress", "request_timeout = '4s'", "5s to 1m");
    check("egress", "connect_timeout = '10s'", "shorter than egress.request_timeout");
    check("egress.retry", "attempts = 6", "1 to 5");
    check("egress.retry", "base = '31s'", "raise egress.retry.cap");
    check("telemetry", "log = 'a=b=c'", "is not a filter");
    check("telemetry", "sample_ratio = 1.5", "0.0 to 1.0");
    check("telemetry", "sample_ratio = nan", "is too large a number");
    check("telemetry", "otlp_endpoint = 'localhost'", "http://");
}

#[test]
fn an_address_is_complete_and_keeps_the_secret_on_tls() {
    let check = |line: &str, piece: &str| check_one(format!("[platform]\n{line}"), &[piece]);
    check("api_url = 'not an address'", "is not an address");
    check("api_url = 'ftp://example.com'", "does not begin with http");
    check("api_url = '/path'", "does not begin with http");
    check("api_url = 'https://user:pw@example.com'", "user name");
    check("api_url = 'https://example.com/?a=b'", "query or a fragment");
    check("token_url = 'http://example.com'", "unencrypted");
    check("gateway_hosts = ['wss://example.com']", "is not a host name");
    check("gateway_hosts = ['']", "is not a host name");
    let found = findings("[platform]\nprofile = 'custom'", &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    for url in ["http://127.0.0.1:8080", "http://[::1]:1", "http://localhost"] {
        assert!(read(format!("[platform]\napi_url = '{url}'"), &[]).is_ok(), "{url}");
    }
    let custom = "[platform]\nprofile = 'custom'\ntoken_url = 'http://sim'\napi_url = 'http://sim'";
    assert!(read(custom, &[]).is_ok());
}

#[test]
fn a_handler_by_http_needs_an_address_and_a_secret() {
    let found = findings("[worker]\nhandler = 'http'", &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    let whole = "[worker]\nhandler = 'http'\n[worker.http]\nurl = 'http://h/a?b=c'\nsecret = '0123456789abcdef'";
    assert!(read(whole, &[]).is_ok());
    check_one(format!("{whole}\ntimeout = '25s'"), &["shorter than worker.drain_grace"]);
}

#[test]
fn a_bad_secret_is_refused_without_showing_it() {
    let check = |value: &str, piece: &str| {
        check_one(format!("[[bots]]\napp_id = '1'\nsecret = {value}"), &[piece]);
        let shown = findings(format!("[[bots]]\napp_id = '1'\nsecret = {value}"), &[]).join("\n");
        assert!(!shown.contains("canary"), "{shown}");
    };
    check("'canary'", "has 6 characters");
    check("''", "is missing or empty");
    check("\"canary-canary-canary\\n\"", "line break");
    check("\"canary-canary\\r\\n-canary\"", "line break");
    check("\"\\uFEFFcanary-canary-canary\"", "byte order mark");
    check("' canary-canary-canary'", "blank");
    check("123456789", "is a number");
    check("['canary']", "invalid type");
}

#[test]
fn a_secret_file_holds_one_line() {
    let files = Files::new();
    let bot = |path: &Path| format!("[[bots]]\napp_id = '1'\nsecret_file = '{}'", path.display());
    for (name, bytes) in
        [("a", "0123456789abcdef"), ("b", "0123456789abcdef\n"), ("c", "0123456789abcdef\r\n")]
    {
        let path = files.write(name, bytes);
        let config = read(bot(&path), &[]).unwrap().config;
        assert_eq!(config.bots[0].secret.expose(), "0123456789abcdef", "{name}");
    }
    let check = |bytes: &[u8], piece| {
        let path = files.write("bad", bytes);
        check_one(bot(&path), &["3 bots[0].secret_file", piece]);
    };
    check(b"", "is empty");
    check(b"\n", "is empty");
    check(b"0123456789abcdef\n\n", "line break");
    check(b"\xef\xbb\xbf0123456789abcdef", "byte order mark");
    check(b"\xff\xfe0\x001\x00", "not UTF-8");
    check(&[b'a'; 5_000], "more than 4096 bytes");
    check_one(bot(Path::new("/nonexistent/secret")), &["cannot be read"]);
    let path = files.write("good", "0123456789abcdef");
    check_one(format!("{}\nsecret = 'fedcba9876543210'", bot(&path)), &["is given twice"]);
}

#[test]
fn a_bot_has_an_id_of_its_own() {
    let twice = format!("{BOT}{BOT}");
    check_one(twice, &["5 bots[1].app_id", "is in bots[0] already", "relay.toml:2"]);
    let check = |id: &str, piece: &str| {
        check_one(format!("[[bots]]\napp_id = {id}\nsecret = '0123456789abcdef'"), &[piece]);
    };
    check("''", "is missing or empty");
    check("'10 2'", "is not an AppID");
    check("'102.>'", "is not an AppID");
    check("102000001", "write it like app_id = \"102000001\"");
    check_one(format!("{BOT}name = ''"), &["is no name"]);
    check_one(format!("{BOT}shards = 0"), &["from 1 to 4096"]);
    check_one(format!("{BOT}shards = 'all'"), &["from 1 to 4096"]);
    check_one(format!("{BOT}intents = ['GUILDS', 'PRESENCE']"), &["PRESENCE", "is not an intent"]);
    check_one(format!("{BOT}intents = 0"), &["no intent is set"]);
}

#[cfg(unix)]
#[test]
fn a_secret_in_a_file_that_others_may_read_is_warned_of() {
    let files = Files::new();
    let path = files.write("relay.toml", BOT);
    assert_eq!(load(Some(&path), []).unwrap().warnings, []);
    set_mode(&path, 0o644);
    let warnings = load(Some(&path), []).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].field, "bots[0].secret");
    assert!(!warnings[0].to_string().contains("0123456789abcdef"));
}

#[test]
fn the_example_loads_as_it_is_and_with_every_default_written_out() {
    let text = example();
    let loaded = read(&text, &[]).unwrap();
    let expected = Config { bots: loaded.config.bots.clone(), ..Config::default() };
    assert_eq!(loaded.config, expected);
    assert_eq!(expected.bots.len(), 1);

    let written_out: String = text
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '['))
                .unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_ne!(written_out, text);
    let expected =
        Config { nats: Some(Nats::default()), redis: Some(Redis::default()), ..expected };
    assert_eq!(read(&written_out, &[]).unwrap().config, expected);
    for field in schema::fields(&schema::generate()) {
        let key = field.rsplit('.').next().unwrap_or(&field);
        assert!(text.contains(key), "{field} is not in the example");
    }
}

#[test]
fn a_rate_limit_is_the_operators_to_change_and_ours_to_warn_of() {
    let loaded =
        read(format!("{BOT}[egress.limits]\nchannel = '5/s'\ngroup = 'off'"), &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    let loaded = read(format!("{BOT}[egress.limits]\nchannel = '9/s'"), &[]).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].field, "egress.limits.channel");
    check_one("[egress.limits]\nchanel = '5/s'", &["egress.limits.chanel: unknown key", "channel"]);
    check_one("[egress.limits]\nchannel = '5 a second'", &["egress.limits.channel"]);
}

#[test]
fn a_nats_section_is_there_when_it_is_written_and_only_then() {
    assert_eq!(read(BOT, &[]).unwrap().config.nats, None);
    let nats = read(format!("[nats]\n{BOT}"), &[]).unwrap().config.nats;
    assert_eq!(nats, Some(Nats::default()));
    let variable = [("QQRELAY_NATS__REPLICAS", "3")];
    assert_eq!(read(BOT, &variable).unwrap().config.nats.map(|nats| nats.replicas), Some(3));
}

#[test]
fn what_is_wrong_with_nats_is_named_with_its_fix() {
    let check = |keys: &str, pieces: &[&str]| check_one(format!("[nats]\n{keys}\n{BOT}"), pieces);
    check("urls = []", &["nats.urls", "no server", "nats://127.0.0.1:4222"]);
    check("urls = ['nats://a', 'http://b']", &["nats.urls[1]", "tls://"]);
    check("replicas = 2", &["nats.replicas", "1, 3 or 5"]);
    check("inbox_prefix = 'a.*'", &["nats.inbox_prefix", "letters and digits"]);
    check("user = 'gateway'", &["nats.password_file", "missing", "both or none"]);
    check("cert_file = '/dev/null'", &["nats.key_file", "missing", "nats.cert_file"]);
    check("token_file = '/nowhere/token'", &["nats.token_file", "/nowhere/token", "may read"]);
    check("nkey_file = '/dev/null'\ntoken_file = '/dev/null'", &["nats.token_file", "one way"]);
    check("request_timeout = '10ms'", &["nats.request_timeout", "out of range"]);
}

#[test]
fn what_is_wrong_with_redis_is_named_with_its_fix() {
    let check =
        |keys: &str, pieces: &[&str]| check_one(format!("[nats]\n[redis]\n{keys}\n{BOT}"), pieces);
    check("urls = []", &["redis.urls", "no server", "redis://127.0.0.1:6379"]);
    check("urls = ['http://a']", &["redis.urls[0]", "rediss://"]);
    check("urls = ['redis://u:p@a']", &["redis.urls[0]", "redis.password_file"]);
    check("urls = ['redis://a', 'redis://b']", &["redis.urls", "several", "cluster"]);
    check("mode = 'sentinel'", &["redis.master", "missing", "mymaster"]);
    check("master = 'm'", &["redis.master", "sentinels"]);
    check("mode = 'cluster'\ndatabase = 3", &["redis.database", "cluster"]);
    check("user = 'qqrelay'", &["redis.password_file", "missing"]);
    check("password_file = '/nowhere/p'", &["redis.password_file", "/nowhere/p", "may read"]);
    check("request_timeout = '1ms'", &["redis.request_timeout", "out of range"]);
    check_one(format!("[redis]\n{BOT}"), &["nats", "missing", "both for servers"]);
}

#[test]
fn what_is_wrong_with_the_nats_handler_is_named_with_its_fix() {
    let check = |keys: &str, nats: &str, pieces: &[&str]| {
        check_one(
            format!("{nats}\n{BOT}[worker]\nhandler = 'nats'\n[worker.nats]\n{keys}"),
            pieces,
        );
    };
    check("", "[nats]", &["worker.nats.subject", "missing", "qq.handler.mine"]);
    check("subject = 'a.*'", "[nats]", &["worker.nats.subject", "no subject"]);
    check("subject = 'qq.v1.ev.x'", "[nats]", &["worker.nats.subject", "not for handlers"]);
    check("subject = 'a.b'", "", &["worker.handler", "no section nats", "http"]);
    check("subject = 'a'\ntimeout = '1ms'", "[nats]", &["worker.nats.timeout", "out of range"]);
}
