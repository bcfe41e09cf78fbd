//! Chance that can be repeated: the same seed, the same numbers.

use std::time::Duration;

use crate::random;

/// A stream of numbers that a seed and a name determine.
#[derive(Clone, Debug)]
pub struct Random(random::Random);

impl Random {
    /// The stream called `name` of a seed; another name is another stream.
    pub fn of(seed: u64, name: &str) -> Self {
        let named = name.bytes().fold(seed, |sofar, byte| random::Random::of(sofar ^ u64::from(byte)).draw());
        Self(random::Random::of(named))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.index(end.max(1))
    }

    /// Whether it happens that happens so many times in a hundred.
    pub fn happens(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these, of which there is at least one.
    pub fn one_of<'t, T>(&mut self, these: &'t [T]) -> &'t T {
        self.0.pick(these)
    }

    /// A time from `shortest` to `longest` milliseconds.
    pub fn millis(&mut self, shortest: u64, longest: u64) -> Duration {
        Duration::from_millis(self.0.between(shortest, longest))
    }

    /// These in any order.
    pub fn shuffled<T: Clone>(&mut self, these: &[T]) -> Vec<T> {
        let mut shuffled = these.to_vec();
        for place in (1..shuffled.len()).rev() {
            shuffled.swap(place, self.below(place + 1));
        }
        shuffled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, name: &str) -> Vec<u64> {
        let mut random = Random::of(seed, name);
        (0..100).map(|_| random.number()).collect()
    }

    #[test]
    fn a_seed_and_a_name_give_the_same_numbers_every_time_and_others_give_others() {
        assert_eq!(numbers(1, "load"), numbers(1, "load"));
        assert_ne!(numbers(1, "load"), numbers(2, "load"));
        assert_ne!(numbers(1, "load"), numbers(1, "broker"));
    }

    #[test]
    fn what_is_shuffled_is_all_there() {
        let these: Vec<u32> = (0..50).collect();
        let mut shuffled = Random::of(7, "shuffle").shuffled(&these);
        assert_ne!(shuffled, these);
        shuffled.sort_unstable();
        assert_eq!(shuffled, these);
    }
}
