//! What an error has to do with TLS.

use std::error::Error;
use std::io;

/// Whether a connection failed for its TLS: clients wrap that as deep as they like, and often call
/// it a failed read.
pub(crate) fn is_to_blame(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}
