//! The places that a session's events happen in, all on its own shard.

use std::io::Write;

use crate::dice::Dice;
use crate::shard::{Shard, fnv1a64};

/// Digits of a guild id.
pub(super) const GUILD: usize = 18;
/// Hex digits of an open id.
pub(super) const OPEN_ID: usize = 32;

/// Guilds, groups and users of one shard.
#[derive(Debug)]
pub(super) struct Scopes {
    guilds: Vec<[u8; GUILD]>,
    open_ids: Vec<[u8; OPEN_ID]>,
}

impl Scopes {
    /// As many of each kind, placed by the documented formula and by hash.
    pub(super) fn of(shard: Shard, count: usize, dice: &Dice) -> Self {
        let shards = u64::from(shard.count.max(1));
        let guilds = (0..count).map(|_| {
            // Eighteen digits: the upper part of the id decides the shard, the lower is noise.
            let upper = 100_000_000_000_000_000 >> 22;
            let upper = upper + shards + dice.below(100_000_000_000);
            let upper = upper - upper % shards + u64::from(shard.index);
            let mut digits = [b'0'; GUILD];
            let id = upper << 22 | dice.below(1 << 22);
            // The id has exactly as many digits as the array has room for.
            let _ = write!(&mut digits[..], "{id}");
            digits
        });
        let guilds = guilds.collect();
        let open_ids = (0..count).map(|_| {
            loop {
                let id = dice.hex(OPEN_ID);
                if fnv1a64(id.as_bytes()) % shards == u64::from(shard.index) {
                    break id.as_bytes().try_into().expect("as many digits as were asked for");
                }
            }
        });
        Self { guilds, open_ids: open_ids.collect() }
    }

    pub(super) const fn count(&self) -> usize {
        self.guilds.len()
    }

    pub(super) fn guild(&self, index: usize) -> &[u8] {
        &self.guilds[index]
    }

    pub(super) fn open_id(&self, index: usize) -> &[u8] {
        &self.open_ids[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_on_its_shard_and_as_long_as_its_place() {
        for count in [1, 2, 7, 2_000] {
            for index in [0, count / 2, count - 1] {
                let scopes = Scopes::of(Shard { index, count }, 8, &Dice::new(3));
                for n in 0..8 {
                    let guild = std::str::from_utf8(scopes.guild(n)).unwrap();
                    let id: u64 = guild.parse().unwrap();
                    assert_eq!(id.to_string().len(), GUILD);
                    assert_eq!((id >> 22) % u64::from(count), u64::from(index));
                    assert_eq!(fnv1a64(scopes.open_id(n)) % u64::from(count), u64::from(index));
                }
            }
        }
    }
}
