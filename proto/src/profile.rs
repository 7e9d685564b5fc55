//! Where the platform lives: hosts as data, because they change more often than we release.
//!
//! A profile is what a configuration starts from; every address in it can be written over.

/// The path of the token request on a token host.
///
/// Source: PLATFORM.md, "access token".
pub const TOKEN_PATH: &str = "/app/getAppAccessToken";

/// The path of the gateway look-up that also gives shards and identify limits.
///
/// Source: PLATFORM.md, "gateway discovery".
pub const GATEWAY_BOT_PATH: &str = "/gateway/bot";

/// One environment of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// The name used in configuration and logs.
    pub name: &'static str,
    /// Base address of the token endpoint, without a path.
    pub token_url: &'static str,
    /// Base address of the REST API, without a path.
    pub api_url: &'static str,
    /// Hosts that a gateway address may lie on, each with everything below it.
    ///
    /// The gateway address comes from a REST answer; a tampered one must not be able to make us
    /// show a token to another host.
    pub gateway_hosts: &'static [&'static str],
}

impl Profile {
    /// The real platform. Bots that were launched live here.
    ///
    /// The hosts are those of the documents since 2026-08-10. Whether the older ones
    /// (`bots.qq.com`, `api.sgroup.qq.com`) still answer is told differently by different sources;
    /// a gateway address on them is taken all the same.
    ///
    /// Source: PLATFORM.md, "hosts".
    pub const PRODUCTION: Self = Self {
        name: "production",
        token_url: "https://api.bot.qq.com",
        api_url: "https://api.bot.qq.com",
        gateway_hosts: &["bot.qq.com", "sgroup.qq.com"],
    };

    /// The platform's test environment: events from sandbox guilds, groups and accounts only, and
    /// no IP list. Tokens come from the production host; there is no other.
    ///
    /// Source: PLATFORM.md, "hosts".
    pub const SANDBOX: Self = Self {
        name: "sandbox",
        token_url: "https://api.bot.qq.com",
        api_url: "https://sandbox.api.sgroup.qq.com",
        gateway_hosts: &["bot.qq.com", "sgroup.qq.com"],
    };
}

/// Whether `host` is `suffix` or lies below it. Case and a trailing dot do not matter.
#[must_use]
pub fn lies_on(host: &str, suffix: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let suffix = suffix.trim_matches('.').to_ascii_lowercase();
    if suffix.is_empty() {
        return false;
    }
    host.strip_suffix(suffix.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') && rest != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_lies_on_a_suffix_only_at_a_label_boundary() {
        let check = |host, suffix, expected| {
            assert_eq!(lies_on(host, suffix), expected, "{host} on {suffix}");
        };
        check("sgroup.qq.com", "sgroup.qq.com", true);
        check("sandbox.api.sgroup.qq.com", "sgroup.qq.com", true);
        check("API.SGROUP.QQ.COM.", ".sgroup.qq.com", true);
        check("evilsgroup.qq.com", "sgroup.qq.com", false);
        check("sgroup.qq.com.evil.example", "sgroup.qq.com", false);
        check(".sgroup.qq.com", "sgroup.qq.com", false);
        check("qq.com", "sgroup.qq.com", false);
        check("anything", "", false);
        check("", "", false);
    }
}
