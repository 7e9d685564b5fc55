//! The sockets that are open now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::link::Link;
use crate::lock;

/// Every open socket, by number.
#[derive(Debug, Default, Clone)]
pub struct Links(Arc<Mutex<BTreeMap<u64, Arc<Link>>>>);

/// A socket is open for as long as this is held.
#[derive(Debug)]
pub(super) struct Open {
    links: Links,
    number: u64,
}

impl Links {
    pub(super) fn enter(&self, link: Arc<Link>) -> Open {
        let number = link.number;
        lock(&self.0).insert(number, link);
        Open { links: self.clone(), number }
    }

    /// The open sockets, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Link>> {
        lock(&self.0).values().cloned().collect()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.links.0).remove(&self.number);
    }
}
