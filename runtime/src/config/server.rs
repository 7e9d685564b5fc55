//! What the sections of servers have in common: addresses, and files that hold one secret.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::check::Checked;

/// More is no credential and no certificate.
const FILE_MAX: u64 = 64 << 10;

/// What the addresses of a section look like.
pub(super) struct Addresses {
    /// `nats`
    pub(super) section: &'static str,
    /// Without and with TLS.
    pub(super) schemes: [&'static str; 2],
    /// One for an example, `nats://127.0.0.1:4222`.
    pub(super) example: &'static str,
}

impl Addresses {
    /// Reports what is wrong with a list of addresses.
    pub(super) fn check(&self, urls: &[String], to: &mut Checked<'_>) {
        let Self { section, schemes: [plain, secure], example } = self;
        if urls.is_empty() {
            let fix = format!("write one, such as [\"{example}\"]");
            to.report(&format!("{section}.urls"), "names no server", fix);
        }
        for (index, url) in urls.iter().enumerate() {
            if let Some(what) = self.wrong_with(url) {
                let fix = format!(
                    "write a server such as \"{example}\" or \"{secure}://{plain}.example.com\""
                );
                to.report(&format!("{section}.urls[{index}]"), what, fix);
            }
        }
    }

    /// What is wrong with an address. Its text is not repeated: a password could be in it.
    fn wrong_with(&self, url: &str) -> Option<String> {
        let Self { section, schemes: [plain, secure], .. } = self;
        let Ok(address) = url.parse::<http::Uri>() else { return Some("is not an address".into()) };
        let authority = address.authority().map_or("", |authority| authority.as_str());
        let further = address.path_and_query().map_or("", |path| path.as_str());
        if !address.scheme_str().is_some_and(|scheme| self.schemes.contains(&scheme)) {
            Some(format!("does not begin with {plain}:// or {secure}://"))
        } else if address.host().is_none_or(str::is_empty) {
            Some("names no host".into())
        } else if authority.contains('@') {
            Some(format!(
                "has a user in it, which {section}.user and {section}.password_file are for"
            ))
        } else if !matches!(further, "" | "/") {
            Some("has a path in it".into())
        } else {
            None
        }
    }
}

/// Reports files of a section that are named and cannot be read.
pub(super) fn files<'a>(
    section: &str,
    named: impl IntoIterator<Item = (&'static str, Option<&'a Path>)>,
    to: &mut Checked<'_>,
) {
    for (field, path) in named {
        let Some(path) = path else { continue };
        if let Err(error) = File::open(path) {
            let what = format!("{} cannot be read: {error}", path.display());
            to.report(&format!("{section}.{field}"), what, "name a file that this user may read");
        }
    }
}

/// Reports a half of a pair that is given without the other.
pub(super) fn pair(one: (&str, bool), other: (&str, bool), to: &mut Checked<'_>) {
    let (missing, written) = match (one, other) {
        ((one, true), (other, false)) => (other, one),
        ((one, false), (other, true)) => (one, other),
        _ => return,
    };
    to.report(missing, format!("is missing, and {written} is given"), "give both or none");
}

/// What a small file holds.
pub(crate) fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What a file of one secret holds, without the line break at its end.
pub(crate) fn read_credential(path: &Path) -> io::Result<String> {
    Ok(read_file(path)?.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_address_is_a_scheme_and_a_host() {
        let nats = Addresses {
            section: "nats",
            schemes: ["nats", "tls"],
            example: "nats://127.0.0.1:4222",
        };
        let check = |url, expected: Option<&str>| {
            let found = nats.wrong_with(url);
            assert_eq!(found.is_some(), expected.is_some(), "{url}: {found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{url}");
        };
        check("nats://127.0.0.1:4222", None);
        check("tls://nats.example.com", None);
        check("nats://[::1]:4222", None);
        check("127.0.0.1:4222", Some("nats://"));
        check("http://nats:4222", Some("nats://"));
        check("nats://user:secret@nats:4222", Some("nats.user"));
        check("nats://nats:4222/qq", Some("path"));
        check("nats://", Some("not an address"));
    }
}
