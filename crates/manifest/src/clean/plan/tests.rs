use lakebed_record::Incarnation;
use lakebed_store::{Fault, FaultKind, Version};

use super::*;
use crate::control::SnapshotRef;

const DAY: i64 = 86_400_000;
const NODE: Incarnation = Incarnation(7);

fn reply(last_modified_ms: i64, date_ms: Option<i64>) -> Reply<Result<Meta, ReadError>> {
    Reply { value: Ok(Meta { total_len: 1, version: Version("v".into()), last_modified_ms }), date_ms }
}

#[test]
fn a_slot_s_age_is_what_its_own_response_says() {
    let fault = Fault { kind: FaultKind::Timeout, message: "no reply".into() };
    let cases = [
        (reply(0, Some(DAY)), Seen::Old),
        (reply(0, Some(DAY - 1)), Seen::Young(1)),
        (reply(1_000, Some(DAY)), Seen::Young(1_000)),
        (reply(DAY, Some(0)), Seen::Young(2 * DAY)),
        (reply(i64::MAX, Some(i64::MIN)), Seen::Young(i64::MAX)),
        (reply(0, None), Seen::Unknown),
        (Reply { value: Err(ReadError::NotFound), date_ms: Some(DAY) }, Seen::Gone),
        (Reply { value: Err(ReadError::Fault(fault)), date_ms: None }, Seen::Unknown),
    ];
    for (reply, expected) in cases {
        assert_eq!(seen(&reply, DAY), expected, "{reply:?}");
    }
}

#[test]
fn the_floor_stops_at_the_first_slot_that_it_may_not_pass() {
    use Seen::{Gone, Old, Unknown, Young};
    let cases = [
        (&[][..], 5, Stop::End),
        (&[Old, Old], 7, Stop::End),
        (&[Old, Young(9), Old, Old], 6, Stop::Young(9)),
        (&[Young(9), Old], 5, Stop::Young(9)),
        (&[Old, Gone, Old], 6, Stop::Gone(Slot(6))),
        (&[Old, Old, Unknown, Old], 7, Stop::Unknown),
    ];
    for (seen, floor, stop) in cases {
        assert_eq!(floor_after(Slot(5), seen), (Slot(floor), stop), "{seen:?}");
    }
}

fn current(floor: u64, snapshots: &[u64]) -> Current {
    let index = |slot| keys::snapshot_index(Slot(slot), NODE, 1).as_str().to_owned();
    let snapshots = snapshots.iter().map(|slot| SnapshotRef { slot: *slot, index: index(*slot) }).collect();
    Current { log_floor: floor, snapshots, ..Current::first(1) }
}

#[test]
fn without_a_snapshot_the_floor_stays() {
    assert_eq!(limit(&current(1, &[]), &State::new()), Slot(0));
    // Nor does a state that lags allow more than it has applied.
    assert_eq!(limit(&current(1, &[30, 20, 10]), &State::new()), Slot(1));
    assert_eq!(limit(&current(1, &[u64::MAX]), &State::new()), Slot(1));
}

#[test]
fn only_slots_below_a_standing_floor_may_be_deleted() {
    let floor = StandingFloor::of(&current(7, &[]));
    let cases = [
        (keys::log(Slot(6)), true),
        (keys::log(Slot(7)), false),
        (keys::current(), false),
        (keys::snapshot_part(Slot(1), NODE, 1), false),
    ];
    for (key, expected) in cases {
        assert_eq!(floor.permits(&key), expected, "{key}");
    }
}

#[test]
fn a_part_goes_if_no_kept_snapshot_names_it_and_the_newest_is_past_it() {
    let current = current(1, &[30, 20, 10]);
    let part = |slot| keys::snapshot_part(Slot(slot), NODE, 2);
    let index = |slot| keys::snapshot_index(Slot(slot), NODE, 1);
    // The oldest kept snapshot alone names the part of slot 3.
    let named = BTreeSet::from([part(3), part(20), part(30)]);
    let cases = [
        (part(3), false),
        (part(4), true),
        (part(20), false),
        (part(29), true),
        // Of an attempt that may be under way, or of the newest snapshot's own.
        (keys::snapshot_part(Slot(30), NODE, 9), false),
        (part(31), false),
        (index(10), false),
        (index(30), false),
        (index(9), true),
        (keys::snapshot_index(Slot(20), NODE, 9), true),
        (index(31), false),
        (keys::log(Slot(1)), false),
        (Key::new("snapshots/other"), false),
    ];
    for (key, expected) in cases {
        assert_eq!(snapshot_garbage(&current, &named, &key), expected, "{key}");
    }
}
