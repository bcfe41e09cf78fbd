//! What was touched lately, kept in memory within a bound.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// Rows that were touched lately, by their key: the last of them, a generation at least and twice as many at most.
#[derive(Debug)]
pub struct Recent<K, V> {
    generation: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

/// Rows of what is touched a few times within a second, at thousands of new ones a second.
const GENERATION: usize = 2048;

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self::of(GENERATION)
    }
}

impl<K, V> Recent<K, V> {
    /// Keeps this many at least.
    pub fn of(generation: usize) -> Self {
        Self { generation, young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// The row, if it is here.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Those of the keys whose row is not here, each once, in order.
    pub fn missing<Q: Borrow<K> + Ord>(&self, keys: impl IntoIterator<Item = Q>) -> Vec<Q> {
        let mut missing: Vec<Q> = keys.into_iter().filter(|key| self.get(key.borrow()).is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Takes the row out.
    pub fn take(&mut self, key: &K) -> Option<V> {
        let old = self.old.remove(key);
        self.young.remove(key).or(old)
    }

    /// Keeps the row; if there is no room, those go that were not touched for longest.
    pub fn keep(&mut self, key: K, row: V) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_it_was_kept_last_until_it_is_taken() {
        let mut rows = Recent::of(2);
        rows.keep("a", 1);
        rows.keep("b", 1);
        rows.keep("a", 2);
        rows.keep("c", 1);
        assert_eq!(rows.get(&"a"), Some(&2));
        assert_eq!((rows.take(&"a"), rows.get(&"a")), (Some(2), None));
        assert_eq!(rows.get(&"b"), Some(&1));
    }

    #[test]
    fn what_was_touched_last_is_kept_and_no_more_than_there_is_room_for() {
        let mut rows = Recent::of(10);
        for key in 0..1000 {
            rows.keep(key, ());
            let kept = (0..=key).filter(|key| rows.get(key).is_some()).count();
            assert!((key - 9..=key).all(|key| key < 0 || rows.get(&key).is_some()), "of the last ten, at {key}");
            assert!(kept <= 20, "{kept} at {key}");
        }
    }
}
