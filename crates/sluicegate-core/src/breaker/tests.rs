//! The breaker against a plain model that keeps all that has happened; shares of a quota against a store that is away now and
//! then.

use proptest::prelude::*;

use super::*;
use crate::bucket::Bucket;
use crate::quota::Quota;

const MILLI: u64 = 1_000_000;

fn breaker() -> Breaker {
    Breaker::new(Settings::new(3, Duration::from_millis(100), Duration::from_secs(10)).unwrap())
}

fn go(breaker: &mut Breaker, now: u64) -> Ticket {
    match breaker.ask(now) {
        Ask::Go(ticket) | Ask::Probe(ticket) => ticket,
        Ask::Away(away) => panic!("away: {away:?}"),
    }
}

#[test]
fn one_timeout_in_silence_opens_it_and_one_among_answers_does_not() {
    let mut breaker = breaker();
    let (slow, quick) = (go(&mut breaker, 0), go(&mut breaker, 0));
    assert_eq!(breaker.tell(quick, Answer::Came, 1, 0), Change::None);
    assert_eq!(breaker.tell(slow, Answer::TimedOut, 2, 0), Change::None, "others were answered meanwhile");
    let (one, two) = (go(&mut breaker, 3), go(&mut breaker, 3));
    assert_eq!(breaker.tell(one, Answer::TimedOut, 4, 0), Change::Opened);
    assert_eq!(breaker.tell(two, Answer::Came, 5, 0), Change::None, "of another era");
    assert!(matches!(breaker.standing(5), Standing::Open { .. }));
}

#[test]
fn failures_open_it_only_in_a_row() {
    let mut breaker = breaker();
    for answer in [Answer::Failed, Answer::Failed, Answer::Came, Answer::Failed, Answer::Failed] {
        let ticket = go(&mut breaker, 0);
        assert_eq!(breaker.tell(ticket, answer, 0, 0), Change::None);
    }
    let ticket = go(&mut breaker, 0);
    assert_eq!(breaker.tell(ticket, Answer::Failed, 0, 0), Change::Opened);
}

#[test]
fn a_probe_whose_caller_leaves_frees_its_place() {
    let mut breaker = breaker();
    let ticket = go(&mut breaker, 0);
    assert_eq!(breaker.tell(ticket, Answer::TimedOut, 0, u64::MAX), Change::Opened);
    let Ask::Probe(probe) = breaker.ask(100 * MILLI) else { panic!() };
    assert!(matches!(breaker.ask(1000 * MILLI), Ask::Away(Away { wait: 0 })));
    breaker.abandon(probe, 100 * MILLI);
    assert!(
        matches!(breaker.ask_closed(100 * MILLI), Ask::Away(Away { wait: 0 })),
        "no probe for who wants none"
    );
    assert!(matches!(breaker.ask(100 * MILLI), Ask::Probe(_)));
}

#[test]
fn pauses_grow_to_the_bound_and_a_store_that_comes_and_goes_has_longer_ones() {
    let mut breaker = breaker();
    let ticket = go(&mut breaker, 0);
    let mut now = 0;
    assert_eq!(breaker.tell(ticket, Answer::TimedOut, now, u64::MAX), Change::Opened);
    let mut pauses = Vec::new();
    let pause = |breaker: &Breaker, now| match breaker.standing(now) {
        Standing::Open { wait } => wait / MILLI,
        other => panic!("{other:?}"),
    };
    for _ in 0..9 {
        pauses.push(pause(&breaker, now));
        now += 20_000 * MILLI;
        let ticket = go(&mut breaker, now);
        assert_eq!(breaker.tell(ticket, Answer::Failed, now, u64::MAX), Change::StaysOpen);
    }
    // Half a pause less a nanosecond, for the random number is just below 1.
    assert_eq!(pauses, [99, 199, 399, 799, 1599, 3199, 6399, 9999, 9999]);
    for (closed_for, expected) in [(1, 9999), (20_000, 99)] {
        now += 20_000 * MILLI;
        let ticket = go(&mut breaker, now);
        assert_eq!(breaker.tell(ticket, Answer::Came, now, 0), Change::Closed);
        now += closed_for * MILLI;
        let ticket = go(&mut breaker, now);
        assert_eq!(breaker.tell(ticket, Answer::TimedOut, now, u64::MAX), Change::Opened);
        assert_eq!(pause(&breaker, now), expected);
    }
}

#[test]
fn a_clock_that_steps_back_does_not_keep_it_open() {
    let mut breaker = breaker();
    let ticket = go(&mut breaker, 1 << 50);
    assert_eq!(breaker.tell(ticket, Answer::TimedOut, 1 << 50, 0), Change::Opened);
    assert!(matches!(breaker.ask(5), Ask::Probe(_)));
}

#[test]
fn settings_name_what_is_wrong() {
    let (second, milli) = (Duration::from_secs(1), Duration::from_millis(1));
    let error = |settings: Result<Settings, SettingsError>| settings.unwrap_err().to_string();
    assert_eq!(error(Settings::new(0, milli, second)), "failures `0`: expected at least 1");
    assert_eq!(
        error(Settings::new(1, Duration::ZERO, second)),
        "pause `0ns`: expected longer than 0: every call would be a probe"
    );
    assert_eq!(
        error(Settings::new(1, second, milli)),
        "longest `1ms`: expected at least as long as the first pause"
    );
}

/// All that has happened since it closed or opened, and nothing summed up.
#[derive(Default)]
struct Model {
    /// What came of calls, in order.
    log: Vec<Answer>,
    /// Since when it is open, and until when; and how many pauses have been in a row.
    open: Option<(u64, u64)>,
    probing: bool,
    pauses: u32,
    closed_at: u64,
}

impl Model {
    fn pause(&self) -> u64 {
        (100 * MILLI).saturating_mul(1 << self.pauses.saturating_sub(1).min(20)).min(10_000 * MILLI)
    }

    fn open(&mut self, now: u64, random: u64) {
        self.pauses += 1;
        let pause = self.pause();
        // From a half of it, at 0, to all of it.
        let exact =
            u128::from(pause) * (u128::from(u64::MAX) + u128::from(random)) / u128::from(u64::MAX) / 2;
        let until = now + u64::try_from(exact).unwrap();
        *self = Self { open: Some((now, until)), pauses: self.pauses, ..Self::default() };
    }

    /// The failures at the end of the log.
    fn in_a_row(&self) -> usize {
        self.log.iter().rev().take_while(|answer| **answer != Answer::Came).count()
    }
}

proptest! {
    #[test]
    fn it_is_what_a_plain_model_is(
        ops in proptest::collection::vec((0..8_u8, 0..400_u64, any::<u64>(), any::<proptest::sample::Index>()), 1..300)
    ) {
        let (mut breaker, mut model, mut now) = (breaker(), Model::default(), 0);
        // Calls under way, each with whether it is the probe, how long the log was, and which model it belongs to.
        let mut calls: Vec<(Ticket, bool, usize, u32)> = Vec::new();
        let mut era = 0;
        for (op, millis, random, pick) in ops {
            now += millis * MILLI / 10;
            if op < 3 {
                let asked = breaker.ask(now);
                match model.open {
                    None => {
                        let Ask::Go(ticket) = asked else { panic!("{asked:?}") };
                        calls.push((ticket, false, model.log.len(), era));
                    }
                    // The model rounds in another way, by less than a nanosecond.
                    Some((_, until)) if !model.probing && now > until + 1 => {
                        let Ask::Probe(ticket) = asked else { panic!("{asked:?} at {now}, open until {until}") };
                        model.probing = true;
                        calls.push((ticket, true, 0, era));
                    }
                    Some((since, until)) => {
                        if model.probing || now + 1 < until {
                            prop_assert!(matches!(asked, Ask::Away(_)), "{asked:?} since {since} until {until}");
                        } else if let Ask::Probe(ticket) = asked {
                            model.probing = true;
                            calls.push((ticket, true, 0, era));
                        }
                    }
                }
                continue;
            }
            if calls.is_empty() {
                continue;
            }
            let (ticket, is_probe, from, of) = calls.swap_remove(pick.index(calls.len()));
            let answer = [Answer::Came, Answer::Failed, Answer::TimedOut][usize::from(op) % 3];
            if op == 7 {
                breaker.abandon(ticket, now);
                if is_probe && of == era {
                    model.probing = false;
                    model.open = Some((now, now.saturating_sub(1)));
                }
                continue;
            }
            let change = breaker.tell(ticket, answer, now, random);
            if of != era {
                prop_assert_eq!(change, Change::None);
                continue;
            }
            if is_probe {
                era += 1;
                if answer == Answer::Came {
                    prop_assert_eq!(change, Change::Closed);
                    model = Model { pauses: model.pauses, closed_at: now, ..Model::default() };
                } else {
                    prop_assert_eq!(change, Change::StaysOpen);
                    model.open(now, random);
                }
                continue;
            }
            let silent = !model.log[from..].contains(&Answer::Came);
            model.log.push(answer);
            let opens = model.in_a_row() >= 3 || (answer == Answer::TimedOut && silent);
            prop_assert_eq!(change, if opens { Change::Opened } else { Change::None });
            if opens {
                era += 1;
                if now - model.closed_at >= model.pause() || model.pauses == 0 {
                    model.pauses = 0;
                }
                model.open(now, random);
            }
        }
    }

    /// Instances on one store that is away now and then. In a span that begins in an outage or after it, and holds no other's
    /// beginning, no more is granted than by one bucket; and for each beginning that it holds, one capacity more.
    #[test]
    fn shares_and_the_store_together_grant_what_one_bucket_does(
        capacity in 1..40_u64,
        instances in 1..5_u64,
        ops in proptest::collection::vec((0..20_u8, 0..4_u64, 1..4_u64, 0..300_u64), 1..150),
    ) {
        let quota = Quota::per(10, Duration::from_secs(1)).unwrap().burst(capacity).unwrap();
        let bucket = Bucket::new(quota);
        let mut store = bucket.start();
        let mut shares: Vec<Share> = (0..instances).map(|_| Share::new(quota, 0)).collect();
        let (mut now, mut away) = (0, false);
        let mut granted: Vec<(u64, u64)> = Vec::new();
        let mut begun: Vec<u64> = Vec::new();
        for (op, who, n, millis) in ops {
            now += millis * MILLI;
            let share = &mut shares[usize::try_from(who % instances).unwrap()];
            match (op, away) {
                (0, false) => {
                    // Nothing else at this instant, so that it is known on which side of it a grant is.
                    now += 1;
                    away = true;
                    begun.push(now);
                }
                (0 | 1, true) => {
                    away = false;
                    for share in &mut shares {
                        let owed = share.owed(now);
                        store = bucket.owe(store, owed, now);
                        share.told(quota, bucket.available(store, now), now);
                        prop_assert_eq!(share.owed(now), 0);
                    }
                }
                (_, true) => {
                    if share.take(quota, n, instances, now).is_granted() {
                        granted.push((now, n));
                    }
                }
                (_, false) => {
                    let (decision, next) = bucket.take(store, n, now);
                    store = next;
                    share.told(quota, decision.remaining(), now);
                    if decision.is_granted() {
                        granted.push((now, n));
                    }
                }
            }
        }
        let at_once = capacity.max(instances * 3);
        for (place, (from, _)) in granted.iter().enumerate() {
            let mut sum = 0;
            for (to, n) in &granted[place..] {
                sum += n;
                let beginnings = begun.iter().filter(|at| (*from + 1..=*to).contains(at)).count() as u64;
                // At each beginning and each end, tokens are told in whole ones: up to one of each instance is rounded.
                let most = at_once * (1 + beginnings) + (to - from).div_ceil(100 * MILLI) + instances;
                prop_assert!(sum <= most, "{} in {} ms, {} beginnings: {:?}", sum, (to - from) / MILLI, beginnings, granted);
            }
        }
    }
}

#[test]
fn what_has_flowed_back_is_not_owed() {
    let quota: Quota = "10/s burst 40".parse().unwrap();
    let mut share = Share::new(quota, 0);
    assert_eq!(share.take_up_to(quota, 100, 4, 0), 10);
    assert_eq!((share.owed(0), share.owed(2_000 * MILLI), share.owed(4_000 * MILLI)), (10, 5, 0));
    assert!(share.is_away());
    share.paid(4, 2_000 * MILLI);
    assert_eq!(share.owed(2_000 * MILLI), 1);
    share.told(quota, 40, 4_000 * MILLI);
    assert!(share.is_unused(4_000 * MILLI));
}

#[test]
fn more_than_a_share_holds_is_granted_of_a_full_one_at_the_share_s_rate() {
    let quota: Quota = "60/m burst 6".parse().unwrap();
    let mut share = Share::new(quota, 0);
    assert!(share.take(quota, 4, 3, 0).is_granted(), "though a share holds two");
    let wait = share.take(quota, 1, 3, 0).retry_after();
    assert_eq!(wait, Some(Duration::from_secs(9)), "12 were taken of 6, and 3 are wanted");
    assert!(share.take(quota, 7, 3, 0).is_never(), "more than anybody may have at once");
    assert_eq!(share.owed(0), 4);
}

#[test]
fn a_booking_waits_for_the_share_and_what_is_settled_goes_back() {
    let quota: Quota = "10/s burst 4".parse().unwrap();
    let mut share = Share::new(quota, 0);
    assert_eq!(share.book(quota, 2, 2, 0, 0).map(|(wait, _)| wait), Ok(0));
    assert_eq!(share.book(quota, 1, 2, 200 * MILLI, 0).map(|(wait, _)| wait), Ok(200 * MILLI));
    assert!(share.book(quota, 1, 2, 399 * MILLI, 0).is_err());
    share.settle(1, 0, 0);
    assert_eq!(share.book(quota, 1, 2, 200 * MILLI, 0).map(|(wait, _)| wait), Ok(200 * MILLI));
    share.settle(1, 3, 0);
    assert_eq!(share.owed(0), 5);
}
