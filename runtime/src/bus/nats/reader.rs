//! Readers of the whole event log: every partition is followed, each from its own beginning.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{select_all, try_join_all};
use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::Partition;

use super::follow::{Follow, From};
use super::link::Link;
use crate::bus::{BusError, Reader, Records, Start};

/// A reader.
pub(super) struct LogReader {
    link: Arc<Link>,
    follows: Vec<(Partition, Follow)>,
}

impl LogReader {
    pub(super) async fn open(
        link: Arc<Link>,
        partitions: impl Iterator<Item = Partition>,
        reader: Reader,
    ) -> Result<Self, BusError> {
        let from = match reader.start {
            Start::Oldest => From::Oldest,
            Start::New => From::New,
        };
        let open = partitions.filter_map(|partition| {
            let filter = within(&reader.filter, partition)?;
            let link = &link;
            Some(async move {
                let follow = Follow::open(link, &partition.stream(), &filter, from).await?;
                Ok::<_, BusError>((partition, follow))
            })
        });
        let follows = try_join_all(open).await?;
        Ok(Self { link, follows })
    }
}

/// The part of a filter that can be found in a partition, as the server wants it: no wider than
/// what the stream takes. `None` where nothing can be.
fn within(filter: &str, partition: Partition) -> Option<String> {
    let all = partition.all();
    let own: Vec<&str> = all.trim_end_matches(".>").split('.').collect();
    let tokens: Vec<&str> = filter.split('.').collect();
    for (index, own) in own.iter().enumerate() {
        match tokens.get(index) {
            Some(&">") => return Some(all),
            Some(&"*") => {}
            Some(token) if token == own => {}
            _ => return None,
        }
    }
    let rest = &tokens[own.len()..];
    (!rest.is_empty()).then(|| [&own[..], rest].concat().join("."))
}

#[async_trait]
impl Records for LogReader {
    async fn next(&mut self) -> Result<(Partition, Stored), BusError> {
        if self.follows.is_empty() {
            return std::future::pending().await; // a filter that nothing can ever fit
        }
        let link = &self.link;
        let nexts = self.follows.iter_mut().map(|(partition, follow)| {
            async move { Ok((*partition, follow.next(link).await?)) }.boxed()
        });
        let (first, index, rest) = select_all(nexts).await;
        drop(rest);
        // Who was asked first is asked last the next time, so that none starves another.
        self.follows.rotate_left(index + 1);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_narrowed_to_each_partition() {
        let check = |filter, expected: Option<&str>| {
            assert_eq!(within(filter, Partition::Chain(2)).as_deref(), expected, "{filter}");
        };
        check(">", Some("qq.v1.ev.02.>"));
        check("qq.v1.ev.>", Some("qq.v1.ev.02.>"));
        check("qq.v1.ev.*.102.*.e.>", Some("qq.v1.ev.02.102.*.e.>"));
        check("qq.v1.ev.02.own", Some("qq.v1.ev.02.own"));
        check("*.*.*.*.102.>", Some("qq.v1.ev.02.102.>"));
        check("qq.v1.ev.03.>", None);
        check("qq.v1.cmd.>", None);
        check("qq.v1.ev.*", None);
    }
}
