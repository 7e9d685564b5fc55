//! The forms of commands and results are checked in, so that a consumer in another language can
//! rely on them, and a change of one is seen.
//!
//! `UPDATE_FIXTURES=1 cargo test -p qqrelay-proto` writes them anew; look at the difference.
#![expect(clippy::disallowed_methods, reason = "a test reads what is checked in")]

use std::path::Path;

use qqrelay_proto::command::Command;
use qqrelay_proto::outcome::ResultRecord;
use schemars::Schema;
use serde_json::Value;

fn check(name: &str, schema: Schema) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    if std::env::var("UPDATE_FIXTURES").is_ok() {
        let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
        std::fs::write(&path, text).expect("the folder is there");
    }
    let checked_in = std::fs::read(&path).expect("it is checked in");
    let checked_in: Value = serde_json::from_slice(&checked_in).expect("it is JSON");
    assert_eq!(checked_in, schema.to_value(), "{name} differs");
}

#[test]
fn the_forms_that_are_checked_in_are_the_codes_own() {
    check("command.v1.json", Command::schema());
    check("result.v1.json", ResultRecord::schema());
}
