//! The pool against a platform of a few lines, on loopback: what becomes of each kind of answer.

mod answers;
mod discovery;
mod fake;
mod tokens;
