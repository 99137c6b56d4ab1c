//! What a retry may not do, whatever happens.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MILLI: u64 = 1_000_000;

fn settings() -> Settings {
    Settings::new(3, Duration::from_millis(100), Duration::from_secs(1)).unwrap()
}

fn perhaps(retry: &mut Retry, tries: &mut Tries, random: u64) -> Next {
    retry.failed(tries, Failed::Perhaps, 0, random)
}

#[test]
fn a_wait_is_any_time_from_nothing_to_a_bound_that_doubles_up_to_the_longest() {
    let settings = Settings::new(9, Duration::from_millis(100), Duration::from_millis(500)).unwrap();
    let mut retry = Retry::new(settings);
    let (mut least, mut most) = (retry.begin(None), retry.begin(None));
    for bound in [100, 200, 400, 500, 500] {
        assert_eq!(perhaps(&mut retry, &mut least, 0), Next::Try(0));
        assert_eq!(perhaps(&mut retry, &mut most, u64::MAX), Next::Try(bound * MILLI - 1));
    }
}

#[test]
fn other_settings_bring_no_budget_back_and_who_has_begun_has_as_many_tries_as_before() {
    let mut retry = Retry::new(settings());
    let mut first = retry.begin(None);
    assert!(matches!(perhaps(&mut retry, &mut first, 7), Next::Try(_)));
    for _ in 0..15 {
        let mut tries = retry.begin(None);
        assert!(matches!(perhaps(&mut retry, &mut tries, 7), Next::Try(_)));
    }
    let left = retry.budget();
    assert!(left < 10);
    for tries in [2, 9] {
        retry.apply(Settings::new(tries, Duration::from_millis(10), Duration::from_secs(1)).unwrap());
        assert_eq!((retry.budget(), first.is_last()), (left, false));
    }
    assert!(matches!(perhaps(&mut retry, &mut first, 7), Next::Try(_)));
    assert!(first.is_last(), "three, as when it began");
    let mut next = retry.begin(None);
    assert_eq!(perhaps(&mut retry, &mut next, u64::MAX), Next::Try(10 * MILLI - 1));
}

#[test]
fn a_thousand_that_fail_together_are_charged_before_they_wait() {
    let mut retry = Retry::new(settings());
    let mut all: Vec<_> = (0..1000).map(|_| retry.begin(None)).collect();
    // All fail before the first comes back. The budget was full: what they brought was not saved up.
    let next = all.iter_mut().map(|tries| perhaps(&mut retry, tries, 7));
    assert_eq!(next.filter(|next| matches!(next, Next::Try(_))).count(), 20);
    assert_eq!(perhaps(&mut retry, &mut all[999], 7), Next::Stop(Why::Budget));
}

#[test]
fn an_outage_is_met_with_a_tenth_more_requests_and_no_more() {
    let mut retry = Retry::new(settings());
    let mut retries = 0;
    for _ in 0..10_000 {
        let mut tries = retry.begin(None);
        while let Next::Try(_) = perhaps(&mut retry, &mut tries, 7) {
            retries += 1;
        }
    }
    assert!((1000..=1020).contains(&retries), "{retries}");
}

#[test]
fn retry_after_is_never_early_and_not_all_come_at_that_instant() {
    let told = 300 * MILLI;
    let mut retry = Retry::new(settings());
    let mut at = |random| {
        let mut tries = retry.begin(None);
        match retry.failed(&mut tries, Failed::After(told), 5, random) {
            Next::Try(at) => at,
            Next::Stop(why) => panic!("{why:?}"),
        }
    };
    assert_eq!(at(0), 5 + told);
    assert_eq!(at(u64::MAX), 5 + told + 100 * MILLI - 1);
}

#[test]
fn who_is_told_to_come_back_in_an_hour_gives_up_and_nothing_is_charged() {
    let mut retry = Retry::new(settings());
    let mut tries = retry.begin(None);
    let hour = Failed::After(3_600_000 * MILLI);
    assert_eq!(retry.failed(&mut tries, hour, 0, 0), Next::Stop(Why::TooLong));
    let mut patient = Retry::new(settings().with_patience(Duration::from_secs(3600)));
    assert_eq!(patient.failed(&mut tries, hour, 0, 0), Next::Try(3_600_000 * MILLI));
    assert_eq!((retry.budget(), patient.budget()), (20, 19));
}

#[test]
fn a_try_that_would_begin_at_the_deadline_is_not_waited_for_and_not_charged() {
    let mut retry = Retry::new(settings());
    let mut tries = retry.begin(Some(50 * MILLI));
    let half = 1 << 63;
    assert_eq!(perhaps(&mut retry, &mut tries, half), Next::Stop(Why::Deadline));
    assert_eq!(retry.failed(&mut tries, Failed::After(u64::MAX), 0, 0), Next::Stop(Why::TooLong));
    assert_eq!((retry.budget(), tries.made()), (20, 1));
    assert_eq!(perhaps(&mut retry, &mut tries, half - 1), Next::Try(50 * MILLI - 1));
}

#[test]
fn what_fails_for_good_is_not_tried_again() {
    let mut retry = Retry::new(settings());
    let mut tries = retry.begin(None);
    assert_eq!(retry.failed(&mut tries, Failed::ForGood, 0, 0), Next::Stop(Why::ForGood));
    assert_eq!(retry.budget(), 20);
}

#[test]
fn a_try_that_is_not_made_gives_its_token_back() {
    let mut retry = Retry::new(settings());
    let mut tries = retry.begin(None);
    for _ in 0..100 {
        assert!(matches!(perhaps(&mut retry, &mut tries, 0), Next::Try(_)));
        retry.abandon(&mut tries);
    }
    assert_eq!((retry.budget(), tries.made()), (20, 1));
}

#[test]
fn what_cannot_be_is_told_with_its_field() {
    let (some, more) = (Duration::from_millis(1), Duration::from_millis(2));
    let fields = [
        Settings::new(0, some, more),
        Settings::new(1, Duration::ZERO, more),
        Settings::new(1, more, some),
        settings().with_budget(-0.5, 1),
        settings().with_budget(0.5, 0),
    ];
    let fields = fields.map(|settings| settings.unwrap_err().field());
    assert_eq!(fields, ["tries", "base", "longest", "share", "cap"]);
}

proptest! {
    #[test]
    fn no_try_is_early_late_or_one_too_many(
        limit in 1_u32..200, base in 1_u64..u64::MAX / 2, now in any::<u64>(), told in any::<u64>(),
        deadline in proptest::option::of(any::<u64>()), random in any::<u64>(),
    ) {
        let settings = Settings::new(limit, Duration::from_nanos(base), Duration::MAX).unwrap();
        let settings = settings.with_patience(Duration::MAX).with_budget(0.0, 1000).unwrap();
        let mut retry = Retry::new(settings);
        let mut tries = retry.begin(deadline);
        let mut made = 1;
        while let Next::Try(at) = retry.failed(&mut tries, Failed::After(told), now, random) {
            made += 1;
            prop_assert!(at >= now.saturating_add(told));
            prop_assert!(deadline.is_none_or(|deadline| at < deadline));
        }
        prop_assert!(made <= limit);
        prop_assert_eq!(retry.budget(), 1001 - u64::from(made));
    }
}
