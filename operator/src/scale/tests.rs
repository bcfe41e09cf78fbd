//! Looks at a service, a few seconds apart, then what is decided.

use proptest::prelude::*;

use super::{steps::share, *};

const LOOK: Duration = Duration::from_secs(5);

/// A service under an autoscaler. Replicas are ready at the next look, unless they are held up.
struct Service {
    scaler: Scaler,
    autoscaling: Autoscaling,
    lanes: Lanes,
    now: Instant,
    replicas: i32,
    ready: i32,
}

fn service(min_replicas: i32, max_replicas: i32) -> Service {
    let autoscaling =
        Autoscaling { min_replicas, max_replicas, target_backlog_seconds: 5, scale_down_stabilization_seconds: 60 };
    let lanes = Lanes::new(12).expect("in range");
    let scaler = Scaler::default();
    Service { scaler, autoscaling, lanes, now: Instant::now(), replicas: min_replicas, ready: min_replicas }
}

impl Service {
    fn with(mut self, replicas: i32) -> Self {
        (self.replicas, self.ready) = (replicas, replicas);
        self
    }

    /// One look; what it decides is done at once.
    fn sees(&mut self, backlog: impl Into<Option<Backlog>>) -> Decision {
        let backlog = backlog.into();
        self.now += LOOK;
        let (autoscaling, now) = (&self.autoscaling, self.now);
        let decision = self.scaler.decide(now, autoscaling, self.lanes, self.replicas, self.ready, backlog.as_ref());
        self.replicas = decision.replicas;
        decision
    }

    fn becomes_ready(&mut self) {
        self.ready = self.replicas;
    }

    /// Looks for so long, and what is decided last.
    fn sees_for(&mut self, time: Duration, backlog: impl Into<Option<Backlog>>) -> Decision {
        let backlog = backlog.into();
        let mut last = self.sees(backlog);
        for _ in 1..time.as_secs() / LOOK.as_secs() {
            self.becomes_ready();
            last = self.sees(backlog);
        }
        self.becomes_ready();
        last
    }
}

/// Nothing waits; so much comes per second.
fn calm(arrival_per_second: f64) -> Backlog {
    Backlog { arrival_per_second, ..Backlog::default() }
}

/// So many wait, for twenty seconds, while so much comes and is read per second.
fn waiting(records: i64, arrival_per_second: f64, service_per_second: f64) -> Backlog {
    Backlog { records, seconds: 20.0, arrival_per_second, service_per_second: Some(service_per_second) }
}

#[test]
fn an_idle_service_has_the_minimum() {
    let mut service = service(1, 12);
    assert_eq!(service.sees(calm(0.0)), decision(1, None, Why::Enough));
}

#[test]
fn what_comes_and_what_waits_decide_at_once() {
    // 3,000/s come and 5,000 wait, to be read in 5 s: 4,000/s, of which a replica reads 1,000.
    let mut service = service(1, 12);
    assert_eq!(service.sees(waiting(5_000, 3_000.0, 1_000.0)), decision(4, None, Why::LoadRose));
}

#[test]
fn a_need_between_two_steps_takes_the_higher() {
    let mut service = service(1, 12);
    assert_eq!(service.sees(waiting(5_000, 4_000.0, 1_000.0)).replicas, 6);
}

#[test]
fn no_step_is_taken_before_the_last_is_ready() {
    let mut service = service(1, 12);
    service.sees(waiting(5_000, 1_000.0, 1_000.0));
    assert_eq!(service.replicas, 2);
    let backlog = waiting(50_000, 1_000.0, 1_000.0);
    assert_eq!(service.sees(backlog), decision(2, Some(Limit::NotReady), Why::NotReady));
    service.becomes_ready();
    assert_eq!(service.sees(backlog), decision(12, None, Why::LoadRose));
}

#[test]
fn without_a_measure_an_old_backlog_takes_one_step_at_a_time() {
    let mut service = service(1, 12);
    let stuck = waiting(100, 10.0, 0.0);
    assert_eq!(service.sees(stuck), decision(2, None, Why::BacklogTooOld));
    service.becomes_ready();
    assert_eq!(service.sees(stuck), decision(2, None, Why::Enough), "the step has had no time to show");
    service.sees_for(RATE_WINDOW, stuck);
    assert_eq!(service.replicas, 3);
}

#[test]
fn without_a_measure_a_young_backlog_is_left_to_those_who_are_there() {
    let mut service = service(1, 12);
    let young = Backlog { records: 100, seconds: 3.0, arrival_per_second: 50.0, service_per_second: None };
    assert_eq!(service.sees(young), decision(1, None, Why::Enough));
}

#[test]
fn a_measure_is_not_taken_while_replicas_come_and_go() {
    let mut service = service(1, 12);
    service.sees(waiting(5_000, 1_000.0, 1_000.0));
    service.becomes_ready();
    // The window of the rate still holds the time when there was one.
    service.sees(waiting(100, 1_000.0, 1_000.0));
    let rate = service.scaler.rate.expect("it was measured").0;
    assert!((rate - 1_000.0).abs() < 1e-6, "{rate}");
}

#[test]
fn the_bounds_limit_what_is_needed() {
    let flood = waiting(1_000_000, 5_000.0, 1_000.0);
    assert_eq!(service(1, 12).sees(flood), decision(12, Some(Limit::Lanes), Why::LoadRose));
    assert_eq!(service(1, 4).sees(flood), decision(4, Some(Limit::MaxReplicas), Why::LoadRose));
    // 10 of 12 lanes' replicas would have no smaller share than 6.
    assert_eq!(service(1, 10).sees(flood), decision(6, Some(Limit::MaxReplicas), Why::LoadRose));
}

#[test]
fn it_goes_down_when_less_was_enough_for_the_whole_window() {
    let mut service = service(1, 12);
    service.sees(waiting(5_000, 3_000.0, 1_000.0));
    service.becomes_ready();
    let late = service.sees_for(Duration::from_secs(55), calm(1_500.0));
    assert_eq!(late, decision(4, None, Why::Stabilizing));
    assert_eq!(service.sees(calm(1_500.0)), decision(2, None, Why::LoadFell));
}

#[test]
fn a_moment_of_load_begins_the_window_anew() {
    let mut service = service(1, 12);
    service.sees(waiting(5_000, 3_000.0, 1_000.0));
    service.becomes_ready();
    service.sees_for(Duration::from_secs(50), calm(100.0));
    service.sees(calm(2_500.0));
    assert_eq!(service.sees(calm(100.0)), decision(3, None, Why::LoadFell), "3 were needed a moment ago");
    let late = service.sees_for(Duration::from_secs(50), calm(100.0));
    assert_eq!(late, decision(3, None, Why::Stabilizing));
    assert_eq!(service.sees(calm(100.0)), decision(1, None, Why::LoadFell));
}

#[test]
fn an_operator_that_just_started_does_not_go_down_at_once() {
    let mut service = service(1, 12).with(6);
    assert_eq!(service.sees(calm(0.0)), decision(6, None, Why::Stabilizing));
    assert_eq!(service.sees_for(Duration::from_mins(1), calm(0.0)).why, Why::LoadFell);
    assert_eq!(service.replicas, 1);
}

#[test]
fn who_has_not_looked_for_a_while_does_not_go_down_at_once() {
    let mut service = service(1, 12).with(6);
    service.sees_for(Duration::from_secs(30), calm(0.0));
    service.now += BLIND_AFTER * 2;
    assert_eq!(service.sees(calm(0.0)), decision(6, None, Why::Stabilizing));
}

#[test]
fn without_backlog_data_it_stays_as_it_is() {
    let mut service = service(1, 12).with(4);
    assert_eq!(service.sees_for(Duration::from_mins(10), None::<Backlog>), decision(4, None, Why::NoBacklogData));
    assert_eq!(service.sees(calm(0.0)), decision(4, None, Why::Stabilizing), "nobody knows what was needed");
}

#[test]
fn numbers_out_of_bounds_are_put_right_even_without_backlog_data() {
    assert_eq!(service(2, 6).with(9).sees(None::<Backlog>), decision(6, None, Why::OutOfBounds));
    assert_eq!(service(2, 6).with(0).sees(calm(0.0)), decision(2, None, Why::OutOfBounds));
}

#[test]
fn a_measure_that_is_old_is_tried_out_one_step_at_a_time() {
    // In a bad hour of the database a replica read 10/s; a trickle of 50/s would keep 6 of them for ever.
    let mut service = service(1, 12).with(6);
    service.sees(waiting(10, 50.0, 60.0));
    assert_eq!(service.sees_for(Duration::from_mins(50), calm(50.0)).replicas, 6);
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.push(service.sees_for(Duration::from_mins(1), calm(50.0)).replicas);
    }
    seen.dedup();
    assert_eq!(seen, [6, 4, 3, 2, 1]);
}

#[test]
fn the_needs_that_are_kept_are_as_few_as_there_are_steps() {
    let mut service = service(1, 12);
    for look in 0..1_000 {
        service.sees(waiting(look % 97, f64::from(i32::try_from(look % 89).expect("small")) * 50.0, 500.0));
        service.becomes_ready();
        assert!(service.scaler.needs.len() <= 6);
    }
}

fn backlogs() -> impl Strategy<Value = Option<Backlog>> {
    let waiting = (1_i64..1_000_000, 0.1_f64..4_000.0, prop::option::of(0.0_f64..10_000.0));
    let some = (0.0_f64..10_000.0, prop::option::of(waiting)).prop_map(|(arrival_per_second, waiting)| {
        let (records, seconds, service_per_second) = waiting.unwrap_or_default();
        Backlog { records, seconds, arrival_per_second, service_per_second }
    });
    prop::option::weighted(0.9, some)
}

prop_compose! {
    fn bounds()(lanes in 1_u16..=64)(
        lanes in Just(lanes),
        min in 1..=i32::from(lanes),
        max in 1..=i32::from(lanes),
        target_backlog_seconds in 1..60_i32,
        scale_down_stabilization_seconds in 0..600_i32,
    ) -> (Lanes, Autoscaling) {
        let (min_replicas, max_replicas) = (min.min(max), min.max(max));
        let autoscaling =
            Autoscaling { min_replicas, max_replicas, target_backlog_seconds, scale_down_stabilization_seconds };
        (Lanes::new(lanes).expect("in range"), autoscaling)
    }
}

proptest! {
    #[test]
    fn it_keeps_its_bounds_and_takes_only_steps_that_make_a_difference(
        (lanes, autoscaling) in bounds(),
        start in 0..80_i32,
        looks in prop::collection::vec((backlogs(), 0_u64..30, any::<bool>()), 1..200),
    ) {
        let (mut scaler, mut now, mut replicas, mut ready) = (Scaler::default(), Instant::now(), start, start);
        let (min, max, count) = (autoscaling.min_replicas, autoscaling.max_replicas, i32::from(lanes.count()));
        for (backlog, pause, becomes_ready) in looks {
            now += Duration::from_secs(pause);
            ready = if becomes_ready { replicas } else { ready.min(replicas) };
            let decision = scaler.decide(now, &autoscaling, lanes, replicas, ready, backlog.as_ref());
            prop_assert!((min..=max).contains(&decision.replicas), "{decision:?}");
            if decision.replicas != replicas {
                let differ = replicas > 0 && share(count, replicas) != share(count, decision.replicas);
                prop_assert!(differ || [min, max].contains(&decision.replicas), "{replicas} to {decision:?}");
            }
            if decision.replicas > replicas.max(min) {
                prop_assert!(ready >= replicas, "{replicas} to {decision:?} with {ready} ready");
            }
            prop_assert!(backlog.is_some() || decision.replicas == replicas.clamp(min, max));
            replicas = decision.replicas;
        }
    }

    #[test]
    fn it_goes_down_only_to_what_was_enough_for_the_whole_window(
        (lanes, autoscaling) in bounds(),
        looks in prop::collection::vec((backlogs(), 1_u64..30), 1..200),
    ) {
        // Given a replica that reads 1,000/s, so that what was needed is known here as well.
        let mut scaler = Scaler::default();
        let (start, mut now, mut replicas) = (Instant::now(), Instant::now(), autoscaling.max_replicas);
        let window = seconds(autoscaling.scale_down_stabilization_seconds);
        let target = f64::from(autoscaling.target_backlog_seconds);
        let mut needs: Vec<(Instant, f64)> = Vec::new();
        for (backlog, pause) in looks {
            now += Duration::from_secs(pause);
            let backlog = backlog.map(|backlog| Backlog { service_per_second: None, ..backlog });
            scaler.rate = Some((1_000.0, now));
            let need = backlog.map(|it| (it.arrival_per_second + number(it.records) / target) / 1_000.0);
            needs.push((now, need.unwrap_or(f64::from(replicas))));
            let decision = scaler.decide(now, &autoscaling, lanes, replicas, replicas, backlog.as_ref());
            if decision.replicas < replicas {
                prop_assert!(now.duration_since(start) >= window, "{decision:?} after {:?}", now - start);
                let recent = needs.iter().filter(|(at, _)| now.duration_since(*at) < window);
                let highest = recent.map(|(_, need)| *need).fold(0.0, f64::max);
                prop_assert!(f64::from(decision.replicas) >= highest, "{decision:?} though {highest} were needed");
            }
            replicas = decision.replicas;
        }
    }

    #[test]
    fn a_service_that_comes_to_rest_returns_to_the_minimum(
        (lanes, autoscaling) in bounds(),
        looks in prop::collection::vec(backlogs(), 1..100),
    ) {
        let (mut scaler, mut now, mut replicas) = (Scaler::default(), Instant::now(), autoscaling.min_replicas);
        for backlog in looks {
            now += LOOK;
            replicas = scaler.decide(now, &autoscaling, lanes, replicas, replicas, backlog.as_ref()).replicas;
        }
        let rest = calm(0.0);
        let window = seconds(autoscaling.scale_down_stabilization_seconds);
        let end = now + window + LOOK;
        while now < end {
            now += LOOK;
            replicas = scaler.decide(now, &autoscaling, lanes, replicas, replicas, Some(&rest)).replicas;
        }
        prop_assert_eq!(replicas, autoscaling.min_replicas);
    }
}
