use super::*;

const DATE: i64 = 1_700_000_000_000;

fn moment(seconds: u64, wall_ms: i64) -> Moment {
    Moment { monotonic: Duration::from_secs(seconds), wall_ms }
}

/// A reply that was sent and received in the same second, the host's clock so many ms ahead of the store's.
fn reply(seconds: u64, date_ms: i64, host_ahead: i64) -> Dated {
    let at = moment(seconds, date_ms + host_ahead);
    Dated { date_ms, sent: at, received: at }
}

fn at(clock: &LogClock, seconds: u64) -> TimeView {
    clock.view(Duration::from_secs(seconds)).expect("seen")
}

#[test]
fn runs_on_from_the_last_date() {
    let mut clock = LogClock::default();
    assert_eq!(clock.view(Duration::ZERO), None);
    clock.observe(reply(1, DATE, 0));
    assert_eq!((at(&clock, 3).wall_ms, at(&clock, 3).verified), (DATE + 2000, false));
    // The store's clock was set back: believed, but not verified.
    clock.observe(reply(5, DATE - 60_000, 0));
    assert_eq!((at(&clock, 5).wall_ms, at(&clock, 5).verified), (DATE - 60_000, false));
}

#[test]
fn never_ahead_of_the_store() {
    let mut clock = LogClock::default();
    let slow = Dated { date_ms: DATE, sent: moment(1, DATE), received: moment(9, DATE) };
    clock.observe(slow);
    assert_eq!(at(&clock, 9).wall_ms, DATE, "the date may have been taken as late as on receiving");
}

#[test]
fn two_replies_two_seconds_apart_verify_it() {
    let mut clock = LogClock::default();
    clock.observe(reply(1, DATE, 0));
    clock.observe(reply(2, DATE + 1000, 0));
    assert!(!at(&clock, 2).verified, "too close to each other");
    clock.observe(reply(3, DATE + 2000, 0));
    assert!(at(&clock, 3).verified);
    assert!(!at(&clock, 64).verified, "that was long ago");
}

#[test]
fn a_jump_is_not_verified_until_it_is_seen_twice() {
    let mut clock = LogClock::default();
    let day = 86_400_000;
    clock.observe(reply(1, DATE, 0));
    clock.observe(reply(4, DATE + day, 0));
    assert!(!at(&clock, 4).verified);
    clock.observe(reply(7, DATE + day + 3000, 0));
    assert!(at(&clock, 7).verified);
}

#[test]
fn a_host_that_differs_by_more_than_five_minutes_is_named() {
    let mut clock = LogClock::default();
    clock.observe(reply(1, DATE, 6 * 60_000));
    assert_eq!(clock.host_disagrees(), Some(6 * 60_000 - 1000));
    clock.observe(reply(4, DATE + 3000, -6 * 60_000));
    assert_eq!(clock.host_disagrees(), Some(-6 * 60_000));
    clock.observe(reply(7, DATE + 6000, 0));
    assert_eq!(clock.host_disagrees(), None);
}

#[test]
fn a_pause_with_a_reply_under_way_says_nothing_of_the_host() {
    let mut clock = LogClock::default();
    clock.observe(reply(1, DATE, 0));
    let hour = 3_600;
    let received = moment(4 + hour, DATE + 3000 + hour as i64 * 1000);
    clock.observe(Dated { date_ms: DATE + 3000, sent: moment(4, DATE + 3000), received });
    assert_eq!(clock.host_disagrees(), None);
    assert!(!at(&clock, 4 + hour).verified);
}
