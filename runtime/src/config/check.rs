//! Rules between and beyond single values: ranges, addresses, and what must fit into what.
//!
//! A rule names the field that is written in the file, not the default that it is compared with.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::Uri;
use tracing_subscriber::EnvFilter;

use super::form::{Size, Span};
use super::platform::ProfileName;
use super::problem::{Findings, Origin};
use super::source::Tree;
use super::{Config, HandlerName};

/// Where findings go, with the places they need.
pub(super) struct Checked<'a> {
    tree: &'a Tree,
    findings: &'a mut Findings,
}

impl<'a> Checked<'a> {
    pub(super) fn new(tree: &'a Tree, findings: &'a mut Findings) -> Self {
        Self { tree, findings }
    }

    pub(super) fn report(&mut self, field: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.findings.add(self.tree.origin(field), field, what, fix);
    }

    fn range<T: PartialOrd + Display>(&mut self, field: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            let fix = format!("write a number from {} to {}", range.start(), range.end());
            self.report(field, format!("{value} is out of range"), fix);
        }
    }

    pub(super) fn span(&mut self, field: &str, value: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&value) {
            let (from, to) = (Span::format(*range.start()), Span::format(*range.end()));
            let what = format!("{} is out of range", Span::format(value));
            self.report(field, what, format!("write a duration from {from} to {to}"));
        }
    }

    fn size(&mut self, field: &str, value: u64, range: RangeInclusive<u64>) {
        if !range.contains(&value) {
            let (from, to) = (Size::format(*range.start()), Size::format(*range.end()));
            let what = format!("{} is out of range", Size::format(value));
            self.report(field, what, format!("write a size from {from} to {to}"));
        }
    }

    /// Reports a relation between two fields at the one that was written; the first, if both were.
    fn relation(&mut self, holds: bool, fields: [&str; 2], what: String, fix: String) {
        let blamed = fields.iter().find(|field| self.tree.is_written(field)).unwrap_or(&fields[0]);
        if !holds && !fields.iter().any(|field| self.findings.has(field)) {
            self.report(blamed, what, fix);
        }
    }

    fn shorter(&mut self, (short, a): (&str, Duration), (long, b): (&str, Duration)) {
        let what = format!("{short} is {} and {long} {}", Span::format(a), Span::format(b));
        let fix = format!("make {short} shorter than {long}");
        self.relation(a < b, [short, long], what, fix);
    }
}

/// Checks everything that the types leave open.
pub(super) fn check(config: &Config, to: &mut Checked<'_>) {
    platform(config, to);
    log(config, to);
    if let Some(redis) = &config.redis {
        super::redis::check(redis, to);
        if config.nats.is_none() {
            let fix = "write both for servers, or none for the embedded file";
            to.report("nats", "is missing, and there is a section redis", fix);
        }
    }
    if let Some(nats) = &config.nats {
        super::nats::check(nats, to);
    }
    gateway(config, to);
    worker(config, to);
    egress(config, to);
    telemetry(config, to);
    bots(config, to);
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn platform(config: &Config, to: &mut Checked<'_>) {
    let platform = &config.platform;
    let custom = platform.profile == ProfileName::Custom;
    for (field, url) in
        [("platform.token_url", &platform.token_url), ("platform.api_url", &platform.api_url)]
    {
        match url {
            Some(url) => base_address(field, url, custom, to),
            None if custom => {
                let fix = "write a base address, such as \"http://127.0.0.1:8080\"";
                to.report(field, "is missing, and the custom profile has none", fix);
            }
            None => {}
        }
    }
    for (index, host) in platform.gateway_hosts.iter().enumerate() {
        let labels = host.trim_start_matches('.').split('.');
        let plain = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !labels.into_iter().all(plain) {
            let field = format!("platform.gateway_hosts[{index}]");
            let fix = "write a host name alone, such as \"sgroup.qq.com\"";
            to.report(&field, format!("{host:?} is not a host name"), fix);
        }
    }
}

fn base_address(field: &str, url: &str, custom: bool, to: &mut Checked<'_>) {
    let Some(address) = address(field, url, to) else { return };
    let plain = address.scheme_str() == Some("http");
    if plain && !custom && !is_loopback(address.host().unwrap_or_default()) {
        let fix = "write https, or profile = \"custom\" for a platform of your own";
        to.report(field, "would send the bot's secret unencrypted", fix);
    }
}

/// Reads an address with a host and without a user, a query or a fragment.
fn address(field: &str, url: &str, to: &mut Checked<'_>) -> Option<Uri> {
    let fix = "write an address such as \"https://example.com\"";
    let Ok(address) = url.parse::<Uri>() else {
        to.report(field, "is not an address", fix);
        return None;
    };
    let authority = address.authority().map_or("", |authority| authority.as_str());
    let what = if !matches!(address.scheme_str(), Some("http" | "https")) {
        "does not begin with http:// or https://"
    } else if address.host().is_none_or(str::is_empty) {
        "names no host"
    } else if authority.contains('@') {
        "has a user name in it"
    } else if address.query().is_some() || url.contains('#') {
        "has a query or a fragment in it"
    } else {
        return Some(address);
    };
    to.report(field, what, fix);
    None
}

/// Whether a host of an address is this machine, without asking a resolver.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn log(config: &Config, to: &mut Checked<'_>) {
    let log = &config.log;
    // A marker batch is one record more than the window, and holds at most 1,000.
    to.range("log.window", log.window, 1..=999);
    // Quiet shards are kept alive by a record every 15 minutes; less than some of them is no log.
    to.span("log.max_age", log.max_age, HOUR..=HOUR * 24 * 365);
    to.size("log.record_limit", log.record_limit, 64 * KIB..=900 * KIB);
    let least = 2 * u64::from(log.window) * log.record_limit;
    let what = format!(
        "{} is less than two windows of the largest records, {}",
        Size::format(log.max_bytes),
        Size::format(least)
    );
    let fix = "raise log.max_bytes, or lower log.window or log.record_limit".to_owned();
    to.relation(log.max_bytes >= least, ["log.max_bytes", "log.window"], what, fix);
    if config.embedded.path.as_os_str().is_empty() {
        to.report("embedded.path", "is empty", "write a file's path, such as \"qqrelay.redb\"");
    }
}

fn gateway(config: &Config, to: &mut Checked<'_>) {
    let (gateway, lease) = (&config.gateway, &config.lease);
    match gateway.close_code {
        3000..=4999 => {}
        code @ (1000 | 1001) => {
            let what = format!("{code} ends the session that the next start would resume");
            to.report("gateway.close_code", what, "write a code from 3000 to 4999, such as 4000");
        }
        code => to.range("gateway.close_code", code, 3000..=4999),
    }
    for (field, value) in [
        ("gateway.connect_timeout", gateway.connect_timeout),
        ("gateway.hello_timeout", gateway.hello_timeout),
        ("gateway.ready_timeout", gateway.ready_timeout),
        ("gateway.resume_timeout", gateway.resume_timeout),
    ] {
        to.span(field, value, SECOND..=MINUTE * 2);
    }
    if !gateway.silence.is_zero() {
        to.span("gateway.silence", gateway.silence, MINUTE..=MINUTE * 60 * 24);
    }
    to.span("gateway.publish_timeout", gateway.publish_timeout, SECOND / 2..=MINUTE);
    to.span("gateway.drain_grace", gateway.drain_grace, SECOND..=MINUTE * 10);
    to.span("lease.renew", lease.renew, SECOND / 10..=MINUTE);
    to.span("lease.observe", lease.observe, SECOND / 2..=MINUTE * 10);
    to.shorter(
        ("gateway.publish_timeout", gateway.publish_timeout),
        ("gateway.drain_grace", gateway.drain_grace),
    );
    let what = format!(
        "three renewals, each after {}, do not fit into {}",
        Span::format(lease.renew),
        Span::format(lease.observe)
    );
    let fix = "make lease.observe more than three times lease.renew".to_owned();
    to.relation(lease.renew * 3 < lease.observe, ["lease.observe", "lease.renew"], what, fix);
    to.size("gateway.window_bytes", gateway.window_bytes, MIB..=1024 * MIB);
}

fn worker(config: &Config, to: &mut Checked<'_>) {
    let worker = &config.worker;
    to.range("worker.scope_queue", worker.scope_queue, 1..=4_096);
    to.range("worker.parallel", worker.parallel, 1..=65_536);
    to.range("worker.failures", worker.failures, 1..=100);
    to.span("worker.drain_grace", worker.drain_grace, SECOND..=MINUTE * 10);
    let http = &worker.http;
    to.span("worker.http.timeout", http.timeout, SECOND / 10..=MINUTE * 5);
    to.size("worker.http.response_limit", http.response_limit, KIB..=16 * MIB);
    match &http.url {
        Some(url) => drop(handler_address(url, to)),
        None if worker.handler == HandlerName::Http => {
            let fix = "write where events go, such as \"http://127.0.0.1:8080/qq\"";
            to.report("worker.http.url", "is missing, and the handler is \"http\"", fix);
        }
        None => {}
    }
    if worker.handler == HandlerName::Http {
        to.shorter(
            ("worker.http.timeout", http.timeout),
            ("worker.drain_grace", worker.drain_grace),
        );
    }
    nats_handler(config, to);
}

fn nats_handler(config: &Config, to: &mut Checked<'_>) {
    let (worker, nats) = (&config.worker, &config.worker.nats);
    to.span("worker.nats.timeout", nats.timeout, SECOND / 10..=MINUTE * 5);
    to.size("worker.nats.response_limit", nats.response_limit, KIB..=16 * MIB);
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && !b"*>".contains(&b))
    };
    let fix = "write one of your own, such as \"qq.handler.mine\"";
    match &nats.subject {
        Some(subject) if !subject.split('.').all(is_token) => {
            to.report("worker.nats.subject", format!("{subject:?} is no subject"), fix);
        }
        Some(subject) if ["qq.v1.", "$"].iter().any(|ours| subject.starts_with(ours)) => {
            to.report("worker.nats.subject", format!("{subject:?} is not for handlers"), fix);
        }
        None if worker.handler == HandlerName::Nats => {
            to.report("worker.nats.subject", "is missing, and the handler is \"nats\"", fix);
        }
        Some(_) | None => {}
    }
    if worker.handler == HandlerName::Nats {
        to.shorter(
            ("worker.nats.timeout", nats.timeout),
            ("worker.drain_grace", worker.drain_grace),
        );
        if config.nats.is_none() {
            let fix = "write the section nats, or handler = \"http\"";
            to.report("worker.handler", "is \"nats\", and there is no section nats", fix);
        }
    }
}

/// The operator's own address: a query is theirs to have.
fn handler_address(url: &str, to: &mut Checked<'_>) -> Option<Uri> {
    let without_query = url.split('?').next().unwrap_or(url);
    address("worker.http.url", without_query, to)
}

fn egress(config: &Config, to: &mut Checked<'_>) {
    let egress = &config.egress;
    to.span("egress.hold", egress.hold, Duration::ZERO..=MINUTE * 5);
    to.span("egress.connect_timeout", egress.connect_timeout, SECOND / 10..=MINUTE);
    // The platform's documents ask for 5 s: a message may appear although the answer is late.
    to.span("egress.request_timeout", egress.request_timeout, SECOND * 5..=MINUTE);
    to.shorter(
        ("egress.connect_timeout", egress.connect_timeout),
        ("egress.request_timeout", egress.request_timeout),
    );
    to.range("egress.retry.attempts", egress.retry.attempts, 1..=5);
    to.span("egress.retry.base", egress.retry.base, SECOND / 10..=MINUTE);
    to.span("egress.retry.cap", egress.retry.cap, SECOND / 10..=MINUTE * 5);
    to.range("egress.retry.budget_percent", egress.retry.budget_percent, 0..=100);
    let what = format!(
        "the first wait, {}, is longer than the longest, {}",
        Span::format(egress.retry.base),
        Span::format(egress.retry.cap)
    );
    let fix = "raise egress.retry.cap".to_owned();
    let holds = egress.retry.base <= egress.retry.cap;
    to.relation(holds, ["egress.retry.cap", "egress.retry.base"], what, fix);
}

fn telemetry(config: &Config, to: &mut Checked<'_>) {
    let telemetry = &config.telemetry;
    if let Err(error) = EnvFilter::builder().parse(&telemetry.log) {
        let fix = "write a level (error, warn, info, debug, trace) or target=level, with commas";
        to.report("telemetry.log", format!("{:?} is not a filter: {error}", telemetry.log), fix);
    }
    if !(0.0..=1.0).contains(&telemetry.sample_ratio) {
        let what = format!("{} is not a share", telemetry.sample_ratio);
        to.report("telemetry.sample_ratio", what, "write a number from 0.0 to 1.0");
    }
    if let Some(url) = &telemetry.otlp_endpoint {
        address("telemetry.otlp_endpoint", url, to);
    }
}

fn bots(config: &Config, to: &mut Checked<'_>) {
    let mut first: HashMap<&str, (usize, Origin)> = HashMap::new();
    for (index, bot) in config.bots.iter().enumerate() {
        let field = format!("bots[{index}].app_id");
        let id = bot.app_id.as_str();
        let fix = "write the AppID from the platform's console, such as \"102000001\"";
        if id.is_empty() {
            to.report(&field, "is missing or empty", fix);
        } else if id.len() > 20 || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            to.report(&field, format!("{id:?} is not an AppID"), fix);
        } else if let Some((other, place)) = first.get(id) {
            let what = format!("bot {id} is in bots[{other}] already ({place})");
            to.report(&field, what, "keep one of the two sections");
        } else {
            first.insert(id, (index, to.tree.origin(&field)));
        }
        if let Some(name) = &bot.name
            && (name.trim().is_empty()
                || name.chars().count() > 64
                || name.contains(char::is_control))
        {
            let field = format!("bots[{index}].name");
            to.report(&field, "is no name", "write 1 to 64 characters, or leave it out");
        }
    }
}
