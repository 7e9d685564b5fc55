//! Looking for what must never be seen: secrets, tokens, and the text of messages.

/// Something that must not appear, with its name for a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// What it is.
    pub name: &'static str,
    /// How it reads.
    pub text: String,
}

/// A canary where it must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// Which.
    pub name: &'static str,
    /// The line that has it.
    pub line: String,
}

/// Every line that shows one of the canaries, as it is or in the escapes of JSON and URLs.
#[must_use]
pub fn leaks(text: &str, canaries: &[Canary]) -> Vec<Leak> {
    let found = |line: &str| {
        let shown = canaries.iter().find(|canary| {
            let Canary { text, .. } = canary;
            let as_json = serde_json::to_string(text).expect("a text is JSON");
            let as_json = as_json.trim_matches('"');
            line.contains(text.as_str()) || line.contains(as_json) || line.contains(&escaped(text))
        });
        shown.map(|canary| Leak { name: canary.name, line: line.to_owned() })
    };
    text.lines().filter_map(found).collect()
}

/// Words that are long enough to be a token.
pub fn long_words(text: &str) -> impl Iterator<Item = &str> {
    let is_long = |word: &&str| word.len() >= 24;
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_long)
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(text: &str) -> Vec<Canary> {
        vec![Canary { name: "secret", text: text.to_owned() }]
    }

    #[test]
    fn a_canary_is_found_in_each_of_its_forms() {
        let check = |line: &str, found: bool| {
            let text = format!("a line\n{line}\nanother");
            assert_eq!(!leaks(&text, &canary("s3cret \"x\"")).is_empty(), found, "{line}");
        };
        check("msg=s3cret \"x\"!", true);
        check(r#"{"msg":"s3cret \"x\""}"#, true);
        check("https://x/?q=s3cret%20%22x%22", true);
        check("s3cret", false);
    }

    #[test]
    fn a_leak_names_its_line() {
        let found = leaks("fine\nnot SECRET fine", &canary("SECRET"));
        assert_eq!(found, [Leak { name: "secret", line: "not SECRET fine".to_owned() }]);
    }

    #[test]
    fn a_token_is_a_long_word() {
        let text = "token=0123456789abcdef01234567, id 42";
        assert_eq!(long_words(text).collect::<Vec<_>>(), ["0123456789abcdef01234567"]);
    }
}
