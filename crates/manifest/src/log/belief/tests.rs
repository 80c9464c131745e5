use super::*;

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;
const T: i64 = 1_700_000_000_000;

fn belief(slot: u64, date_ms: i64) -> Belief {
    Belief::new(Waits::default(), Some(Evidence { slot: Slot(slot), date_ms }))
}

fn answer(slot: u64, date_ms: i64, what: What) -> Answer {
    Answer { slot: Slot(slot), op: 1, date_ms: Some(date_ms), what }
}

fn found() -> What {
    What::Found { bytes: Bytes::new(), total_len: 0 }
}

#[test]
fn evidence_covers_its_slot_and_later_ones_for_an_hour() {
    let cases = [
        ("the same moment", 7, T, true),
        ("a later slot", 99, T, true),
        ("an earlier slot", 6, T, false),
        ("an hour later", 7, T + HOUR, true),
        ("more than an hour later", 7, T + HOUR + 1, false),
        ("five minutes before", 7, T - 5 * MINUTE, true),
        ("more than five minutes before", 7, T - 5 * MINUTE - 1, false),
    ];
    for (what, slot, date_ms, expected) in cases {
        for kind in [What::Created, What::Length(1), found(), What::Absent] {
            let mut belief = belief(7, T);
            let believed = belief.judge(answer(slot, date_ms, kind), 5).is_some();
            assert_eq!((believed, belief.in_doubt()), (expected, !expected), "{what}");
        }
    }
}

#[test]
fn a_reply_without_a_date_is_never_covered() {
    let mut belief = belief(7, T);
    let undated = Answer { slot: Slot(7), op: 1, date_ms: None, what: What::Absent };
    assert!(belief.judge(undated, 1).is_none());
    assert_eq!(belief.on_floor(2, Slot(7)).expect("not passed").len(), 1);
    // Believed, but it proves nothing for later.
    assert!(belief.judge(answer(7, T + 2 * HOUR, found()), 2).is_none());
}

#[test]
fn only_a_create_and_a_404_are_evidence() {
    for (kind, proves) in [(What::Created, true), (What::Absent, true), (found(), false), (What::Length(1), false)] {
        let mut belief = belief(7, T);
        assert!(belief.judge(answer(7, T + HOUR, kind), 1).is_some());
        let later = belief.judge(answer(8, T + 2 * HOUR, found()), 1).is_some();
        assert_eq!(later, proves);
    }
}

#[test]
fn what_current_vouched_for_proves_by_its_own_date_and_current_itself_proves_nothing() {
    let mut belief = Belief::new(Waits::default(), None);
    assert!(belief.judge(answer(7, T, found()), 1).is_none());
    assert_eq!(belief.on_floor(2, Slot(1)).expect("not passed").len(), 1);
    assert!(belief.judge(answer(8, T, found()), 2).is_none(), "neither CURRENT nor a commit that was read is evidence");
    assert!(belief.judge(answer(9, T, What::Absent), 2).is_none());
    assert_eq!(belief.on_floor(3, Slot(8)).expect("not passed").len(), 2);
    assert!(belief.judge(answer(9, T + HOUR, found()), 3).is_some(), "the 404 is, dated by its own reply");
    assert!(belief.judge(answer(9, T + HOUR + 1, found()), 3).is_none());
}

#[test]
fn only_a_read_sent_after_the_answer_vouches_for_it() {
    let mut belief = Belief::new(Waits::default(), None);
    assert!(belief.judge(answer(7, T, found()), 4).is_none());
    // Request 5 reads CURRENT; this answer comes while it is under way.
    assert!(belief.judge(answer(8, T, found()), 5).is_none());
    let believed = belief.on_floor(5, Slot(3)).expect("not passed");
    assert_eq!(believed.into_iter().map(|b| b.into_answer().slot).collect::<Vec<_>>(), [Slot(7)]);
    assert!(belief.in_doubt());
    assert_eq!(belief.on_floor(6, Slot(3)).expect("not passed").len(), 1);
    assert!(!belief.in_doubt());
}

#[test]
fn a_slot_below_the_floor_is_given_up() {
    for (floor, expected) in [(6, Some(1)), (7, Some(1)), (8, None)] {
        let mut belief = Belief::new(Waits::default(), None);
        assert!(belief.judge(answer(7, T, What::Created), 1).is_none());
        assert_eq!(belief.on_floor(2, Slot(floor)).ok().map(|b| b.len()), expected, "floor {floor}");
    }
}

#[test]
fn pipelined_creates_answered_out_of_order_need_no_check() {
    let mut belief = belief(5, T);
    for (slot, date_ms) in [(7, T + HOUR), (6, T + HOUR), (5, T + HOUR)] {
        assert!(belief.judge(answer(slot, date_ms, What::Created), 1).is_some());
    }
    belief.advance(Slot(8));
    assert_eq!(belief.last(), Some(Evidence { slot: Slot(7), date_ms: T + HOUR }));
    assert!(belief.judge(answer(8, T + 2 * HOUR, What::Created), 1).is_some());
}

#[test]
fn an_idle_node_renews_its_evidence_by_each_probe() {
    let mut belief = belief(5, T);
    for i in 1..100 {
        assert!(belief.judge(answer(5, T + i * HOUR, What::Absent), 1).is_some(), "probe {i}");
    }
    // A clock that is set back makes the next answer doubtful, and the one after it is fine again.
    let back = T - 48 * HOUR;
    assert!(belief.judge(answer(5, back, What::Absent), 1).is_none());
    assert_eq!(belief.on_floor(2, Slot(5)).expect("not passed").len(), 1);
    assert!(belief.judge(answer(5, back + 1, What::Absent), 2).is_some());
}

#[test]
fn what_is_applied_is_in_doubt_no_more() {
    let mut belief = Belief::new(Waits::default(), None);
    assert!(belief.judge(answer(7, T, found()), 1).is_none());
    belief.advance(Slot(8));
    assert!(!belief.in_doubt());
    assert!(belief.on_floor(2, Slot(100)).expect("nothing to pass").is_empty());
}
