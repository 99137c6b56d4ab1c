//! A client and a service that accepts so many a second.

use super::*;
use crate::numbers::Numbers;

const SECOND: u64 = 1_000_000_000;

/// A second in which `wanted` are asked for and up to `accepted` of those that are sent. Returns how many are sent.
fn second(throttle: &mut Throttle, numbers: &mut Numbers, now: u64, wanted: u64, accepted: u64) -> u64 {
    let mut sent = 0;
    for n in 0..wanted {
        let now = now * SECOND + n * SECOND / wanted;
        if throttle.ask(now, numbers.next()) {
            sent += 1;
            let answer = if sent <= accepted { Answer::Accepted } else { Answer::Refused };
            throttle.tell(answer, now);
        }
    }
    sent
}

#[test]
fn with_ten_times_what_is_accepted_about_twice_of_it_is_sent() {
    let (mut throttle, mut numbers) = (Throttle::new(Settings::default()), Numbers(1));
    let mut sent = 0;
    for now in 0..480 {
        let in_this = second(&mut throttle, &mut numbers, now, 1000, 100);
        sent += if now < 240 { 0 } else { in_this };
    }
    let a_second = sent / 240;
    assert!((190..=230).contains(&a_second), "{a_second}");
}

#[test]
fn while_half_is_accepted_all_are_sent() {
    let (mut throttle, mut numbers) = (Throttle::new(Settings::default()), Numbers(2));
    for now in 0..240 {
        for n in 0..100 {
            assert!(throttle.ask(now * SECOND, numbers.next()));
            let answer = if n % 2 == 0 { Answer::Accepted } else { Answer::Refused };
            throttle.tell(answer, now * SECOND);
        }
    }
    assert_eq!(throttle.chance(240 * SECOND), 0.0);
}

#[test]
fn an_outage_that_is_over_is_noticed_and_nothing_latches() {
    for k in [1.5, 2.0] {
        let settings = Settings::new(k, Duration::from_secs(120)).unwrap();
        let (mut throttle, mut numbers) = (Throttle::new(settings), Numbers(3));
        let mut sent = 0;
        for now in 0..300 {
            sent += second(&mut throttle, &mut numbers, now, 100, 0);
        }
        assert!((1400..1900).contains(&sent), "one in twenty: {sent}");
        // The next five or ten minutes.
        for now in 300..900 {
            second(&mut throttle, &mut numbers, now, 100, 100);
        }
        assert_eq!(second(&mut throttle, &mut numbers, 900, 100, 100), 100, "{k}");
    }
}

#[test]
fn who_begins_with_many_at_once_does_not_refuse_itself() {
    let mut throttle = Throttle::new(Settings::default());
    assert!((0..1000).all(|_| throttle.ask(0, 0)), "none is answered yet");
    (0..1000).for_each(|_| throttle.tell(Answer::Accepted, SECOND));
    assert!(throttle.ask(SECOND, 0));
}

#[test]
fn what_is_older_than_the_window_is_forgotten_a_part_at_a_time() {
    let mut throttle = Throttle::new(Settings::default());
    for now in (0..120).step_by(5) {
        throttle.tell(Answer::Refused, now * SECOND);
    }
    for gone in 0..24_u32 {
        let left = f64::from(24 - gone);
        let chance = (left / (left + 1.0)).min(0.95);
        assert_eq!(throttle.chance((119 + u64::from(gone) * 5) * SECOND), chance);
    }
    assert_eq!(throttle.chance(u64::MAX), 0.0);
}

#[test]
fn a_clock_that_steps_back_forgets_nothing_and_counts_nothing_twice() {
    let mut throttle = Throttle::new(Settings::default());
    throttle.tell(Answer::Refused, 500 * SECOND);
    throttle.tell(Answer::Refused, 0);
    assert_eq!(throttle.chance(0), 2.0 / 3.0);
    assert_eq!(throttle.chance(500 * SECOND), 2.0 / 3.0);
    assert_eq!(throttle.chance(620 * SECOND), 0.0);
}

#[test]
fn what_cannot_be_is_told_with_its_field() {
    for k in [1.0, 0.0, f64::NAN, 101.0] {
        assert_eq!(Settings::new(k, Duration::from_secs(1)).unwrap_err().field(), "k");
    }
    assert_eq!(Settings::new(2.0, Duration::from_nanos(3)).unwrap_err().field(), "window");
}
