//! What Redis' errors mean.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::state::StateError;

/// What our scripts say of a value that is not ours, before its key.
const FOREIGN: &str = "FOREIGN ";

/// What an answer to a question about `key` means.
pub(super) fn meaning(error: RedisError, key: &str) -> StateError {
    match error.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => foreign(key),
        ErrorKind::Server(_) | ErrorKind::Extension => {
            let text = error.to_string();
            if let Some((_, named)) = text.split_once(FOREIGN) {
                return foreign(named.split_whitespace().next().unwrap_or(key));
            }
            // `HINCRBY` has no code of its own for a value that is no number.
            if error.code() == Some("WRONGTYPE") || text.contains("is not an integer") {
                return foreign(key);
            }
            StateError::Refused(Box::new(error))
        }
        _ => StateError::Unavailable(Box::new(error)),
    }
}

fn foreign(key: &str) -> StateError {
    StateError::Foreign { key: key.to_owned() }
}

/// Whether a script has to be sent whole.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether another server may be the master now.
pub(super) fn is_no_master(error: &RedisError) -> bool {
    let read_only = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    read_only || error.is_io_error() || error.is_connection_dropped() || error.is_timeout()
}
