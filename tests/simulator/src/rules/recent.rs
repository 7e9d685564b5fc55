//! A map that remembers only so much: at its bound the oldest is forgotten.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Values by key, in the order they were first inserted.
#[derive(Debug, Clone)]
pub struct Recent<K, V> {
    bound: usize,
    values: HashMap<K, V>,
    /// The keys of `values`, oldest first.
    order: VecDeque<K>,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    /// An empty map of at most `bound` values, at least one.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { bound: bound.max(1), values: HashMap::new(), order: VecDeque::new() }
    }

    /// Sets a value; a key that is there keeps its age.
    pub fn insert(&mut self, key: K, value: V) {
        if let Some(held) = self.values.get_mut(&key) {
            *held = value;
            return;
        }
        while self.order.len() >= self.bound {
            if let Some(oldest) = self.order.pop_front() {
                self.values.remove(&oldest);
            }
        }
        self.order.push_back(key.clone());
        self.values.insert(key, value);
    }

    /// The value, made first where there is none.
    pub fn entry(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        if !self.values.contains_key(key) {
            self.insert(key.clone(), make());
        }
        self.values.get_mut(key).expect("it was inserted just now")
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key)
    }

    /// Whether the key is remembered.
    pub fn contains(&self, key: &K) -> bool {
        self.values.contains_key(key)
    }

    /// Forgets a key at once.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.values.remove(key)?;
        self.order.retain(|held| held != key);
        Some(value)
    }

    /// Everything, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().rev().filter_map(|key| self.values.get_key_value(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_is_forgotten_at_the_bound_and_a_change_makes_nothing_younger() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        recent.insert("a", 3);
        recent.insert("c", 4);
        let held: Vec<_> = recent.newest_first().collect();
        assert_eq!(held, [(&"c", &4), (&"b", &2)]);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_bound(
            bound in 1_usize..8,
            steps in prop::collection::vec((any::<bool>(), 0_u8..16), 0..100),
        ) {
            let mut recent = Recent::new(bound);
            for (insert, key) in steps {
                if insert {
                    recent.insert(key, ());
                } else {
                    recent.remove(&key);
                }
                prop_assert!(recent.values.len() <= bound);
                prop_assert_eq!(recent.values.len(), recent.order.len());
            }
        }
    }
}
