use super::*;

use crate::order::fixtures;

fn lanes() -> Lanes {
    Lanes::new(6).expect("in range")
}

#[test]
fn an_order_with_a_key_is_in_the_lane_of_its_key() {
    for text in ["a", "b", "c", "d"] {
        let key = store::key(text, &fixtures::place(None));
        assert_eq!(lanes().of_order(new_id(lanes(), &[], Some(&key))), lanes().of_key(text));
    }
}

#[test]
fn an_order_without_a_key_is_in_a_lane_of_ours_if_there_is_one() {
    let lane_of = |owned: &[Lane]| lanes().of_order(new_id(lanes(), owned, None));
    for lane in lanes().all() {
        assert!((0..20).filter(|_| lane_of(&[lane]) == lane).count() >= 19);
    }
    assert!(lanes().contains(lane_of(&[])));
}

#[test]
fn ids_grow_with_time() {
    let ids: Vec<Uuid> = (0..100).map(|_| new_id(lanes(), &[], None)).collect();
    assert!(ids.is_sorted());
    assert!(ids.iter().all(|id| id.get_version_num() == 7));
}
