//! Reading the log in the file: forwards by number, and the newest by filter.

use qqrelay_proto::record::Stored;
use qqrelay_proto::subject::matches;
use redb::{ReadTransaction, ReadableTable};

use super::record::View;
use super::table::{EVENTS, StreamKey, TAILS, committed_extent, unreadable};
use crate::bus::Extent;

/// Most records looked at in one go.
const LOOKED_AT_MAX: usize = 4096;

/// Most bytes taken in one go, so that a slow reader of large records holds little memory.
const BYTES_MAX: usize = 4 << 20;

/// What a look into the file found.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) taken: Vec<Stored>,
    /// Where to look next. Beyond the stream's end nothing has been looked at.
    pub(super) next: u64,
    pub(super) extent: Extent,
}

/// Takes what `wanted` takes from number `from` on: at most `limit` records, and a bounded look.
pub(super) fn forward(
    tx: &ReadTransaction,
    stream: StreamKey,
    from: u64,
    limit: usize,
    wanted: impl Fn(View<'_>) -> bool,
) -> Result<Scanned, redb::Error> {
    let extent = committed_extent(tx, stream)?;
    let (mut taken, mut bytes) = (Vec::new(), 0);
    let mut next = from.max(extent.first);
    let events = tx.open_table(EVENTS)?;
    for entry in events.range((stream.0, from)..=(stream.0, u64::MAX))?.take(LOOKED_AT_MAX) {
        if taken.len() >= limit || bytes >= BYTES_MAX {
            break;
        }
        let (key, value) = entry?;
        let ((_, number), value) = (key.value(), value.value());
        let view = View::new(value);
        if wanted(view) {
            taken.push(view.read(number).ok_or_else(|| unreadable(stream, number))?);
            bytes += value.len();
        }
        next = number + 1;
    }
    Ok(Scanned { taken, next, extent })
}

/// The newest record whose subject `filter` takes.
///
/// Whose chain's end is asked for, as owners do, is found by name. Only a filter with a wildcard in
/// the middle, or one that goes deeper than a chain, looks through the log from its end.
pub(super) fn newest(
    tx: &ReadTransaction,
    stream: StreamKey,
    filter: &str,
) -> Result<Option<Stored>, redb::Error> {
    let events = tx.open_table(EVENTS)?;
    let upto = match place(tx, stream, filter)? {
        Place::At(number) => {
            let found = events.get((stream.0, number))?;
            let read = |value: &[u8]| View::new(value).read(number);
            let found = found.map(|value| read(value.value()));
            return found
                .map(|stored| stored.ok_or_else(|| unreadable(stream, number)))
                .transpose();
        }
        Place::UpTo(number) => number,
        Place::Nowhere => return Ok(None),
    };
    for entry in events.range((stream.0, 0)..=(stream.0, upto))?.rev() {
        let (key, value) = entry?;
        let ((_, number), view) = (key.value(), View::new(value.value()));
        if view.subject().is_some_and(|subject| matches(filter, subject)) {
            return view.read(number).ok_or_else(|| unreadable(stream, number)).map(Some);
        }
    }
    Ok(None)
}

/// Where the newest record of a filter is.
enum Place {
    At(u64),
    /// There or before.
    UpTo(u64),
    Nowhere,
}

fn place(tx: &ReadTransaction, stream: StreamKey, filter: &str) -> Result<Place, redb::Error> {
    let (prefix, open) = filter.strip_suffix(".>").map_or((filter, false), |prefix| (prefix, true));
    if prefix.contains(['*', '>']) {
        return Ok(Place::UpTo(committed_extent(tx, stream)?.last));
    }
    let tails = tx.open_table(TAILS)?;
    // A chain is named by a prefix of its subjects. Those at or below the filter's prefix hold
    // everything that the filter takes.
    let below = if open { newest_below(&tails, prefix)? } else { None };
    if let Some(number) = below {
        return Ok(Place::At(number));
    }
    if let Some(tail) = tails.get(prefix)?.filter(|_| !open) {
        return Ok(Place::At(tail.value()));
    }
    for (dot, _) in prefix.match_indices('.') {
        if let Some(tail) = tails.get(&prefix[..dot])? {
            return Ok(Place::UpTo(tail.value()));
        }
    }
    Ok(Place::Nowhere)
}

/// The newest number of all chains named `prefix` or `prefix.…`.
fn newest_below(
    tails: &impl ReadableTable<&'static str, u64>,
    prefix: &str,
) -> Result<Option<u64>, redb::Error> {
    let mut newest = tails.get(prefix)?.map(|tail| tail.value());
    let dotted = format!("{prefix}.");
    for entry in tails.range(dotted.as_str()..)? {
        let (name, number) = entry?;
        if !name.value().starts_with(&dotted) {
            break;
        }
        newest = newest.max(Some(number.value()));
    }
    Ok(newest)
}
