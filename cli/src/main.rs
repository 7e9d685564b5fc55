//! The relay's one binary.
fn main() {}
