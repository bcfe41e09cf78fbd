//! What holds after any sequence of commands and facts, however senseless.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// One thing that happens to an order.
#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    /// A fact about the revision so many before the current one.
    Fact(i32, News),
    /// Time passes.
    Wait(TimeDelta),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let if_match = prop_oneof![Just(IfMatch::Any), vec(1..8_i32, 0..3).prop_map(IfMatch::Versions)];
    let command = prop_oneof![
        if_match.clone().prop_map(amend_if),
        if_match.prop_map(|if_match| Command::Cancel { if_match, reason: "changed my mind".to_owned() }),
        Just(Command::Expire),
    ];
    let amount = select(vec![499, 500, 700]);
    let news = prop_oneof![4 => select(every_news()), 1 => amount.prop_map(authorized)];
    let step = prop_oneof![
        2 => command.prop_map(Step::Command),
        6 => (prop_oneof![5 => Just(0), 1 => 1..3_i32], news).prop_map(|(behind, news)| Step::Fact(behind, news)),
        1 => (0..600_i64).prop_map(|seconds| Step::Wait(TimeDelta::seconds(seconds))),
    ];
    vec(step, 0..40)
}

/// Takes the steps, and checks every event against the fact or command that it came of.
fn live(steps: Vec<Step>, payment: Option<PaymentMethod>) -> Story {
    let mut story = Story::placed_with(payment);
    for step in steps {
        let event = match &step {
            Step::Wait(time) => {
                story.now += *time;
                None
            }
            Step::Command(command) => story.decide(command).unwrap_or_default(),
            Step::Fact(behind, news) => story.learn_of(story.order.shown.revision - behind, news.clone()).ok(),
        };
        if let Some(event) = event {
            check_step(&story.order, &step, &event);
            story.append(event);
        }
    }
    story
}

fn check_step(before: &Order, step: &Step, event: &OrderEvent) {
    let status = before.shown.status;
    if status.is_dead() {
        assert!(matches!(event, OrderEvent::PaymentUpdated(_)), "a dead order changed by {event:?}");
    }
    match event {
        OrderEvent::Confirmed(_) => {
            let Step::Fact(0, News::PaymentAuthorized { amount, currency, .. }) = step else {
                panic!("confirmed by {step:?}");
            };
            assert_eq!((status, *amount, *currency), (Status::Reserved, before.shown.total, before.shown.currency));
        }
        OrderEvent::Reserved(reserved) => assert_eq!(reserved.revision, before.shown.revision),
        OrderEvent::Amended(amended) => assert_eq!(amended.revision, before.shown.revision + 1),
        _ => {}
    }
}

fn is_terminal(event: &OrderEvent) -> bool {
    matches!(event, OrderEvent::Rejected(_) | OrderEvent::Expired(_) | OrderEvent::Cancelled(_))
}

proptest! {
    #[test]
    fn an_order_is_the_fold_of_its_events(steps in steps(), paid in any::<bool>()) {
        let story = live(steps, paid.then(token));
        prop_assert_eq!(story.folded(), Some(story.order));
    }

    #[test]
    fn versions_count_the_events(steps in steps()) {
        let story = live(steps, Some(token()));
        prop_assert_eq!(usize::try_from(story.order.shown.version), Ok(story.events.len()));
        for (version, (_, order)) in (1..).zip(prefixes(&story)) {
            prop_assert_eq!(order.shown.version, version);
        }
    }

    #[test]
    fn an_order_dies_at_most_once_and_is_confirmed_at_most_once(steps in steps()) {
        let story = live(steps, Some(token()));
        let count = |wanted: fn(&OrderEvent) -> bool| story.events.iter().filter(|(_, event)| wanted(event)).count();
        prop_assert!(count(is_terminal) <= 1);
        prop_assert!(count(|event| matches!(event, OrderEvent::Confirmed(_))) <= 1);
        prop_assert!(count(|event| matches!(event, OrderEvent::Placed(_))) == 1);
    }

    #[test]
    fn an_order_closes_once_and_stays_closed(steps in steps()) {
        let story = live(steps, Some(token()));
        let open: Vec<bool> = prefixes(&story).map(|(_, order)| order.shown.status.is_open()).collect();
        prop_assert!(open.is_sorted_by(|before, after| before >= after));
    }

    #[test]
    fn changes_made_together_are_the_changes_made_one_by_one(steps in steps(), split in 0..40_usize) {
        let story = live(steps, Some(token()));
        let split = split.min(story.events.len() - 1) + 1;
        let (before, after) = story.events.split_at(split);
        let mut shown = fold(ID, before.iter().map(|(at, event)| (*at, event))).expect("placed").shown;
        let changes = after.iter().map(|(_, event)| Change::of(event)).fold(Change::default(), Change::then);
        let last = story.order.shown.updated_at;
        shown.apply(changes, story.order.shown.version, last);
        prop_assert_eq!(shown, story.order.shown);
    }

    #[test]
    fn what_is_allowed_is_not_refused(steps in steps()) {
        let story = live(steps, None);
        let allowed = story.order.shown.allowed_actions();
        let refused = |command: Command| matches!(story.decide(&command), Err(Refusal::Conflict { .. }));
        prop_assert_eq!(refused(amend()), !allowed.contains(&Action::Amend));
        if story.order.shown.status != Status::Cancelled {
            prop_assert_eq!(refused(cancel()), !allowed.contains(&Action::Cancel));
        }
    }
}

/// The order after each of its events.
fn prefixes(story: &Story) -> impl Iterator<Item = (usize, Order)> {
    (1..=story.events.len()).map(|length| {
        let events = story.events.iter().take(length).map(|(at, event)| (*at, event));
        (length, fold(ID, events).expect("placed"))
    })
}
