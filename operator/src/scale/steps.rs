//! The numbers of replicas that make a difference.

use contract::Lanes;

use super::Limit;
use crate::resource::Autoscaling;

/// The numbers of replicas within bounds that have a smaller share of the lanes than the number before, and the minimum.
pub(super) struct Steps {
    /// Rising, and never none.
    all: Vec<i32>,
    max: i32,
    lanes: i32,
}

impl Steps {
    pub fn new(autoscaling: &Autoscaling, lanes: Lanes) -> Self {
        let lanes = i32::from(lanes.count());
        let max = autoscaling.max_replicas.clamp(1, lanes);
        let min = autoscaling.min_replicas.clamp(1, max);
        let all = (min..=max).filter(|count| *count == min || share(lanes, *count) < share(lanes, count - 1)).collect();
        Self { all, max, lanes }
    }

    /// The nearest number within the bounds. It need not be a step.
    pub fn within(&self, replicas: i32) -> i32 {
        replicas.clamp(self.all[0], self.max)
    }

    /// The lowest step that is not below. If all are, the highest, or as many as there are now.
    pub fn at_least(&self, replicas: i32, now: i32) -> i32 {
        self.all.iter().copied().find(|step| *step >= replicas).unwrap_or(self.highest().max(now))
    }

    /// The highest step that is below; the lowest if none is.
    pub fn below(&self, replicas: i32) -> i32 {
        self.all.iter().copied().rev().find(|step| *step < replicas).unwrap_or(self.all[0])
    }

    /// Whether it makes a difference to go down to a step.
    pub fn differ(&self, from: i32, to: i32) -> bool {
        to == self.all[0] || share(self.lanes, from) != share(self.lanes, to)
    }

    /// What is in the way of this many.
    pub fn limit(&self, needed: i32) -> Option<Limit> {
        let limit = if self.max == self.lanes { Limit::Lanes } else { Limit::MaxReplicas };
        (needed > self.highest()).then_some(limit)
    }

    fn highest(&self) -> i32 {
        self.all[self.all.len() - 1]
    }
}

/// The most lanes that one of so many replicas has.
pub(super) fn share(lanes: i32, replicas: i32) -> i32 {
    (lanes + replicas - 1) / replicas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(lanes: u16, min_replicas: i32, max_replicas: i32) -> Steps {
        let autoscaling = Autoscaling {
            min_replicas,
            max_replicas,
            target_backlog_seconds: 5,
            scale_down_stabilization_seconds: 300,
        };
        Steps::new(&autoscaling, Lanes::new(lanes).expect("in range"))
    }

    #[test]
    fn only_numbers_that_change_the_share_are_steps() {
        assert_eq!(steps(12, 1, 12).all, [1, 2, 3, 4, 6, 12]);
        assert_eq!(steps(7, 1, 7).all, [1, 2, 3, 4, 7]);
        assert_eq!(steps(1, 1, 1).all, [1]);
    }

    #[test]
    fn the_bounds_are_kept() {
        assert_eq!(steps(12, 2, 10).all, [2, 3, 4, 6]);
        assert_eq!(steps(12, 5, 12).all, [5, 6, 12]);
        assert_eq!(steps(12, 7, 11).all, [7]);
    }

    #[test]
    fn bounds_that_contradict_the_lanes_are_narrowed() {
        assert_eq!(steps(3, 1, 200).all, [1, 2, 3]);
        assert_eq!(steps(3, 9, 200).all, [3]);
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        assert_eq!(steps(12, 1, 12).limit(12), None);
        assert_eq!(steps(12, 1, 12).limit(13), Some(Limit::Lanes));
        assert_eq!(steps(12, 1, 10).limit(6), None);
        assert_eq!(steps(12, 1, 10).limit(7), Some(Limit::MaxReplicas));
    }
}
