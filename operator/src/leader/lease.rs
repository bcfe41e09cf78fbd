//! Whose the lease is. Pure.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};

/// How long the lease holds without being renewed.
pub const HOLDS: Duration = Duration::from_secs(15);

/// What was seen of a lease that another holds. It ends when it was not renewed for as long as it holds by our own clock,
/// so that the clocks of two nodes need not agree.
#[derive(Default)]
pub struct Sight(Option<(Option<String>, Instant)>);

impl Sight {
    /// Whether `identity` may take the lease, or keep it.
    pub fn is_ours_to_take(&mut self, lease: &Lease, identity: &str, now: Instant) -> bool {
        let holder = holder(lease);
        if holder.is_none_or(|holder| holder == identity) {
            return true;
        }
        let version = &lease.metadata.resource_version;
        match &self.0 {
            Some((seen, since)) if seen == version => now.duration_since(*since) >= duration(lease),
            _ => {
                self.0 = Some((version.clone(), now));
                false
            }
        }
    }
}

/// Who holds the lease.
pub fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

fn duration(lease: &Lease) -> Duration {
    let told = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    told.and_then(|seconds| u64::try_from(seconds).ok()).map_or(HOLDS, Duration::from_secs)
}

/// The lease as `identity` holds it from now on. It is written only if nobody has changed it since `lease` was read.
pub fn held(lease: Lease, identity: &str, now: Timestamp) -> Lease {
    let is_kept = holder(&lease) == Some(identity);
    let before = lease.spec.unwrap_or_default();
    let spec = LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(HOLDS.as_secs()).ok(),
        acquire_time: before.acquire_time.filter(|_| is_kept).or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!is_kept)),
        ..LeaseSpec::default()
    };
    Lease { spec: Some(spec), ..lease }
}

/// The lease as nobody holds it.
pub fn released(lease: Lease) -> Lease {
    let transitions = lease.spec.and_then(|spec| spec.lease_transitions);
    Lease { spec: Some(LeaseSpec { lease_transitions: transitions, ..LeaseSpec::default() }), ..lease }
}

/// A lease that nobody has held yet.
pub fn unheld(name: &str) -> Lease {
    Lease { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, spec: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(holder: &str, version: &str) -> Lease {
        let mut lease = held(unheld("operator"), holder, Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken_and_ones_own_is_kept() {
        let (mut sight, now) = (Sight::default(), Instant::now());
        assert!(sight.is_ours_to_take(&unheld("operator"), "a", now));
        assert!(sight.is_ours_to_take(&by("a", "1"), "a", now));
        assert!(sight.is_ours_to_take(&released(by("b", "2")), "a", now));
    }

    #[test]
    fn anothers_lease_is_taken_when_it_was_not_renewed_for_as_long_as_it_holds() {
        let (mut sight, now) = (Sight::default(), Instant::now());
        let almost = HOLDS.saturating_sub(Duration::from_millis(1));
        assert!(!sight.is_ours_to_take(&by("b", "1"), "a", now));
        assert!(!sight.is_ours_to_take(&by("b", "1"), "a", now + almost));
        assert!(!sight.is_ours_to_take(&by("b", "2"), "a", now + HOLDS), "it was renewed");
        assert!(!sight.is_ours_to_take(&by("b", "2"), "a", now + HOLDS + almost));
        assert!(sight.is_ours_to_take(&by("b", "2"), "a", now + HOLDS + HOLDS));
    }

    #[test]
    fn a_lease_tells_since_when_it_is_held_and_how_often_it_changed_hands() {
        let spec = |lease: &Lease| lease.spec.clone().expect("it is held");
        let (first, later) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).expect("a time"));
        let taken = held(unheld("operator"), "a", first);
        let kept = held(taken.clone(), "a", later);
        assert_eq!(spec(&kept).acquire_time, spec(&taken).acquire_time);
        assert_eq!(spec(&kept).renew_time, Some(MicroTime(later)));
        assert_eq!(spec(&kept).lease_transitions, Some(1));
        let passed_on = held(released(kept), "b", later);
        assert_eq!(spec(&passed_on).acquire_time, Some(MicroTime(later)));
        assert_eq!(spec(&passed_on).lease_transitions, Some(2));
    }
}
