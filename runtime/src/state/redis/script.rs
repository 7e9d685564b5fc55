//! The scripts, and calls of them.
//!
//! Each is a file of its own. Those that decide by time begin with `time.lua`, which reads the server's
//! clock; those that read numbers or may meet what is not ours, with `values.lua`.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, ToRedisArgs};

/// A script of the folder `scripts`, by its name there, behind what it uses of the others.
macro_rules! script {
    ($($file:literal),+) => {
        LazyLock::new(|| {
            Script::of(concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+))
        })
    };
}

pub(super) static ADMIT: LazyLock<Script> = script!("time", "values", "admit");
pub(super) static COOL_DOWN: LazyLock<Script> = script!("time", "values", "cool_down");
pub(super) static COUNT: LazyLock<Script> = script!("count");
pub(super) static LEASE: LazyLock<Script> = script!("time", "values", "lease");
pub(super) static LEDGER: LazyLock<Script> = script!("time", "values", "ledger");
pub(super) static MARK_DONE: LazyLock<Script> = script!("mark_done");
pub(super) static PUT_TOKEN: LazyLock<Script> = script!("time", "values", "put_token");
pub(super) static READ: LazyLock<Script> = script!("time", "read");
pub(super) static SEE: LazyLock<Script> = script!("values", "see");
pub(super) static STORED: LazyLock<Script> = script!("stored");
pub(super) static SWAP: LazyLock<Script> = script!("swap");
pub(super) static TOKEN_FLIGHT: LazyLock<Script> = script!("token_flight");

/// A script's text, and the hash that servers know it by.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn of(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// A script with its keys and arguments.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn new(script: &'static Script) -> Self {
        Self { script, keys: Vec::new(), args: Vec::new() }
    }

    /// With its first key.
    pub(super) fn of(script: &'static Script, key: impl Into<String>) -> Self {
        let mut call = Self::new(script);
        call.key(key);
        call
    }

    pub(super) fn key(&mut self, key: impl Into<String>) -> &mut Self {
        self.keys.push(key.into());
        self
    }

    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    /// The key that decides where in a cluster it runs.
    pub(super) fn first_key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }

    /// Runs it by its hash.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// Runs it by its text, after which its hash is known there.
    pub(super) fn by_text(&self) -> Cmd {
        self.command("EVAL", self.script.text)
    }

    fn command(&self, how: &str, what: &str) -> Cmd {
        let mut command = redis::cmd(how);
        command.arg(what).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}

/// As scripts and `PX` take it.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
