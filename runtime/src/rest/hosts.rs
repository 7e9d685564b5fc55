//! Which addresses we talk to, and which gateway addresses we believe.
//!
//! The gateway address comes from a REST answer. Whoever could change that answer could otherwise
//! have every bot show its access token to another host.

use http::Uri;
use qqrelay_proto::profile::{Profile, lies_on};

use crate::config::{Platform, ProfileName};

/// The platform's addresses, from configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Base of the token endpoint, without a slash at the end.
    pub token: String,
    /// Base of the REST API, without a slash at the end.
    pub api: String,
    /// Where a gateway may be.
    pub hosts: Hosts,
}

impl Endpoints {
    /// The profile's addresses with those of the file written over them.
    ///
    /// The configuration was checked: what is missing here is an empty address, which no call
    /// succeeds with.
    #[must_use]
    pub fn of(platform: &Platform) -> Self {
        let profile = platform.profile.profile();
        let base = |written: &Option<String>, given: fn(&Profile) -> &'static str| {
            let address =
                written.as_deref().or_else(|| profile.as_ref().map(given)).unwrap_or_default();
            address.trim_end_matches('/').to_owned()
        };
        let api = base(&platform.api_url, |profile| profile.api_url);
        let given = profile.map_or(&[][..], |profile| profile.gateway_hosts);
        let written = platform.gateway_hosts.iter().map(String::as_str);
        let api_host = platform.api_url.as_deref().and_then(host_of);
        Self {
            token: base(&platform.token_url, |profile| profile.token_url),
            hosts: Hosts {
                suffixes: given
                    .iter()
                    .copied()
                    .chain(written)
                    .map(ToOwned::to_owned)
                    .chain(api_host)
                    .collect(),
                plain: platform.profile == ProfileName::Custom,
            },
            api,
        }
    }
}

fn host_of(address: &str) -> Option<String> {
    address.parse::<Uri>().ok()?.host().map(ToOwned::to_owned)
}

/// The gateway hosts that are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    suffixes: Vec<String>,
    /// Whether `ws` is taken from anywhere on the list, not only from this machine.
    plain: bool,
}

/// Why a gateway address is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It is no address, or has a user name in it.
    #[error("gateway address is malformed")]
    Malformed,
    /// It is neither `wss` nor, where that is allowed, `ws`.
    #[error("gateway address has the scheme {0:?}, which would not keep the token secret")]
    Scheme(String),
    /// Its host lies on none of the allowed ones.
    #[error("gateway address has the host {0:?}, which platform.gateway_hosts lacks")]
    Foreign(String),
}

impl Hosts {
    /// Believes a gateway address or says why not.
    ///
    /// # Errors
    ///
    /// It may not be connected to; a person should look at it.
    pub fn check(&self, address: &str) -> Result<(), HostError> {
        let uri: Uri = address.parse().map_err(|_| HostError::Malformed)?;
        let authority = uri.authority().ok_or(HostError::Malformed)?;
        if authority.as_str().contains('@') || uri.host().is_none_or(str::is_empty) {
            return Err(HostError::Malformed);
        }
        let host = authority.host();
        match uri.scheme_str().unwrap_or_default() {
            "wss" => {}
            "ws" if self.plain || crate::config::is_loopback(host) => {}
            other => return Err(HostError::Scheme(other.into())),
        }
        if self.suffixes.iter().any(|suffix| lies_on(host, suffix)) {
            return Ok(());
        }
        Err(HostError::Foreign(host.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(platform: &Platform) -> Hosts {
        Endpoints::of(platform).hosts
    }

    #[test]
    fn only_encrypted_addresses_of_the_platform_are_believed() {
        let hosts = hosts(&Platform::default());
        let check = |address: &str, expected: Result<(), HostError>| {
            assert_eq!(hosts.check(address), expected, "{address}");
        };
        let foreign = |host: &str| Err(HostError::Foreign(host.into()));
        check("wss://api.bot.qq.com/websocket/", Ok(()));
        check("wss://api.sgroup.qq.com/websocket", Ok(()));
        check("wss://sandbox.api.sgroup.qq.com/websocket", Ok(()));
        check("ws://api.sgroup.qq.com/websocket", Err(HostError::Scheme("ws".into())));
        check("https://api.sgroup.qq.com/websocket", Err(HostError::Scheme("https".into())));
        check("wss://evil.example/websocket", foreign("evil.example"));
        check("wss://api.sgroup.qq.com.evil.example/", foreign("api.sgroup.qq.com.evil.example"));
        check("wss://evilsgroup.qq.com/", foreign("evilsgroup.qq.com"));
        check("wss://api.sgroup.qq.com@evil.example/", Err(HostError::Malformed));
        check("wss://127.0.0.1/", foreign("127.0.0.1"));
        check("ws://127.0.0.1/", foreign("127.0.0.1"));
        check("/websocket", Err(HostError::Malformed));
        check("", Err(HostError::Malformed));
    }

    #[test]
    fn a_custom_platform_may_be_plain_and_lies_where_its_api_does() {
        let custom = Platform {
            profile: ProfileName::Custom,
            api_url: Some("http://sim.test:8080/".into()),
            token_url: Some("http://sim.test:8080".into()),
            gateway_hosts: vec!["ws.test".into()],
        };
        let endpoints = Endpoints::of(&custom);
        assert_eq!(endpoints.api, "http://sim.test:8080");
        assert_eq!(endpoints.hosts.check("ws://sim.test:9/websocket"), Ok(()));
        assert_eq!(endpoints.hosts.check("ws://a.ws.test/"), Ok(()));
        assert!(endpoints.hosts.check("wss://api.sgroup.qq.com/").is_err());
    }

    #[test]
    fn a_platform_on_this_machine_needs_no_profile_of_its_own() {
        let local =
            Platform { api_url: Some("http://127.0.0.1:8080".into()), ..Platform::default() };
        assert_eq!(hosts(&local).check("ws://127.0.0.1:8080/websocket"), Ok(()));
        assert!(hosts(&local).check("ws://10.0.0.1:8080/websocket").is_err());
        assert_eq!(Endpoints::of(&local).token, "https://api.bot.qq.com");
    }
}
