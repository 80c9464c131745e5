use super::*;

const S: Duration = Duration::from_secs(1);
const DATE: i64 = 1_700_000_000_000;

#[test]
fn runs_on_from_the_last_date() {
    let mut clock = LogClock::default();
    assert_eq!(clock.view(S), None);
    clock.observe(DATE, S, DATE);
    assert_eq!(clock.view(3 * S).map(|t| (t.wall_ms, t.verified)), Some((DATE + 2000, false)));
    // A reply that was asked for earlier says nothing new.
    clock.observe(DATE - 9000, Duration::ZERO, DATE);
    assert_eq!(clock.view(3 * S).map(|t| t.wall_ms), Some(DATE + 2000));
}

#[test]
fn two_replies_two_seconds_apart_verify_it() {
    let mut clock = LogClock::default();
    clock.observe(DATE, S, DATE);
    clock.observe(DATE + 1000, 2 * S, DATE + 1000);
    assert!(!clock.view(2 * S).expect("seen").verified, "too close to each other");
    clock.observe(DATE + 2000, 3 * S, DATE + 2000);
    assert!(clock.view(3 * S).expect("seen").verified);
    assert!(!clock.view(64 * S).expect("seen").verified, "that was long ago");
}

#[test]
fn a_jump_is_not_verified_until_it_is_seen_twice() {
    let mut clock = LogClock::default();
    let day = 86_400_000;
    clock.observe(DATE, S, DATE);
    clock.observe(DATE + day, 4 * S, DATE + day);
    assert!(!clock.view(4 * S).expect("seen").verified);
    clock.observe(DATE + day + 3000, 7 * S, DATE + day + 3000);
    assert!(clock.view(7 * S).expect("seen").verified);
}

#[test]
fn a_host_that_differs_by_more_than_five_minutes_is_named() {
    let mut clock = LogClock::default();
    let ahead = 6 * 60 * 1000;
    clock.observe(DATE, S, DATE + ahead);
    clock.observe(DATE + 3000, 4 * S, DATE + 3000 + ahead);
    assert_eq!(clock.host_disagrees(), Some(ahead));
    clock.observe(DATE + 6000, 7 * S, DATE + 6000);
    assert_eq!(clock.host_disagrees(), None);
}
