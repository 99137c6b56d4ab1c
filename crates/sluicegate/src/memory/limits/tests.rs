//! Several limits as one: all or none, and what is dropped goes back.

use super::*;
use crate::keyed::{AtCap, Crowding};

fn limit(quota: &str, max_keys: usize) -> Limit {
    Limit::new(quota.parse().unwrap(), max_keys, 0)
}

fn name(limit: &Limit, name: u64) -> Key<'_> {
    limit.key([Some(name.to_le_bytes().as_slice())])
}

fn limits_of<const N: usize>(limits: [Limit; N]) -> Limits {
    Limits::new(limits.into()).unwrap()
}

/// Charges every limit so much on its key of this name.
fn charge<'l>(limits: &'l Limits, key: u64, n: &[u64], now: u64) -> Result<Taken<&'l Limits>, Verdict> {
    Limits::charge(limits, now, |place, limit| Some((name(limit, key), n[place])))
}

fn left(verdict: &Verdict) -> Vec<u64> {
    verdict.each.iter().map(|decision| decision.remaining()).collect()
}

#[test]
fn what_one_limit_refuses_is_charged_to_none() {
    let limits = limits_of([limit("100/s", 10), limit("2/s", 10), limit("100/s", 10)]);
    for _ in 0..2 {
        let _ = charge(&limits, 1, &[1, 1, 1], 0).unwrap().keep();
    }
    for _ in 0..50 {
        let refused = charge(&limits, 1, &[1, 1, 1], 0).unwrap_err();
        assert_eq!(refused.decision.retry_after().unwrap().as_millis(), 500);
        assert_eq!(left(&refused), [98, 0, 98]);
    }
}

#[test]
fn each_limit_is_charged_its_own_and_one_that_does_not_apply_nothing() {
    let limits = limits_of([limit("10/s", 10), limit("stock 700", 10), limit("ban", 10)]);
    let ask = |length| {
        Limits::charge(&limits, 0, |place, limit| (place < 2).then(|| (name(limit, 1), [1, length][place])))
    };
    assert_eq!(left(&ask(500).unwrap().keep()), [9, 200, u64::MAX]);
    assert_eq!(left(&ask(201).unwrap_err()), [9, 200, u64::MAX]);
    assert_eq!(left(&ask(200).unwrap().take_back()), [9, 200, u64::MAX]);
    assert_eq!(
        left(&limits.peek(0, |place, limit| (place == 1).then(|| (name(limit, 1), 5)))),
        [u64::MAX, 200, u64::MAX]
    );
}

#[test]
fn what_is_dropped_is_there_again_also_beyond_the_cap() {
    let limits = limits_of([limit("2/s", 1)]);
    for key in [1, 2] {
        for _ in 0..2 {
            let taken = charge(&limits, key, &[2], 0).unwrap();
            assert!(charge(&limits, key, &[1], 0).is_err());
            drop(taken);
        }
        let _ = charge(&limits, key, &[1], 0).unwrap().keep();
    }
    let first = limits.iter().next().unwrap();
    assert_eq!((first.keys(), first.overflowed()), (1, 5), "the cap is taken from the first key on");
}

#[test]
fn what_goes_back_is_no_more_than_was_taken() {
    let limits = limits_of([limit("stock 5 max 10", 10)]);
    let taken = charge(&limits, 1, &[2], 0).unwrap();
    assert_eq!(left(taken.verdict()), [3]);
    assert_eq!(left(&taken.take_back()), [5]);
    drop(charge(&limits, 1, &[5], 0).unwrap());
    let _ = charge(&limits, 1, &[4], 0).unwrap().keep();
    assert_eq!(left(&charge(&limits, 1, &[2], 0).unwrap_err()), [1]);
}

#[test]
fn threads_that_race_for_two_limits_never_get_more_than_either() {
    let limits = limits_of([limit("stock 1000", 10), limit("stock 700", 10)]);
    let ask = || charge(&limits, 1, &[1, 1], 0).map(Taken::keep).is_ok();
    let granted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..1000).filter(|_| ask()).count())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let verdict = charge(&limits, 1, &[0, 0], 0).unwrap().keep();
    assert_eq!((granted, left(&verdict)), (700, vec![300, 0]));
}

#[test]
fn tables_in_opposite_orders_never_lock_each_other_out() {
    let (a, b) = (limit("stock 10000", 10), limit("stock 10000", 10));
    let orders = [vec![a.clone(), b.clone()], vec![b, a]];
    let granted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = orders
            .map(|order| {
                scope.spawn(|| {
                    let limits = Limits::new(order).unwrap();
                    (0..10_000).filter(|_| charge(&limits, 1, &[1, 1], 0).map(Taken::keep).is_ok()).count()
                })
            })
            .into();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(granted, 10_000);
}

#[test]
fn one_limit_twice_is_refused() {
    let (one, other) = (limit("1/s", 10), limit("1/s", 10));
    let twice = Limits::new(vec![one.clone(), other, one]).unwrap_err();
    assert_eq!(twice.place, 2);
}

#[test]
fn what_is_settled_late_is_exact_whatever_was_charged_before() {
    let limits = limits_of([limit("stock 100", 10), limit("stock 100", 0)]);
    let charge = || charge(&limits, 1, &[1, 1], 0);
    let taken = charge().unwrap();
    let accounts = [taken.account(0).unwrap(), taken.account(1).unwrap()];
    assert!(taken.account(2).is_none());
    let _ = taken.keep();
    for account in &accounts {
        account.settle(1, 40, 0);
        account.settle(0, 80, 0);
    }
    let refused = charge().unwrap_err();
    assert_eq!(left(&refused), [0, 0], "also on the bucket that keys share");
    accounts.iter().for_each(|account| account.settle(120, 99, 0));
    assert_eq!(left(&charge().unwrap().keep()), [0, 0]);
}

fn full(quota: &str, at_cap: AtCap, keys: &[(u64, u64)]) -> Limit {
    let limit = Limit::with_at_cap(quota.parse().unwrap(), keys.len(), at_cap, 0);
    assert!(keys.iter().all(|&(key, n)| name(&limit, key).take(n, 0).is_granted()));
    limit
}

#[test]
fn a_key_that_is_refused_for_want_of_a_place_is_charged_nowhere() {
    let limits = limits_of([full("10/s", AtCap::Refuse, &[(2, 1)]), limit("10/s", 10)]);
    let refused = charge(&limits, 3, &[1, 1], 0).unwrap_err();
    assert_eq!((left(&refused), refused.decision.retry_after()), (vec![0, 10], None));
    assert_eq!(left(&charge(&limits, 3, &[0, 1], 0).unwrap().keep()), [0, 9]);
    assert_eq!(limits.iter().next().unwrap().crowding().refused, 1);
}

#[test]
fn nobody_is_evicted_for_what_another_limit_refuses_or_for_a_look() {
    let four = full("10/s", AtCap::Evict, &[(1, 9), (3, 8), (4, 7), (5, 10)]);
    let limits = limits_of([four, limit("1/s", 10)]);
    let crowding = || limits.iter().next().unwrap().crowding();
    assert!(charge(&limits, 6, &[1, 2], 0).is_err());
    assert!(limits.peek(0, |_, limit| Some((name(limit, 6), 1))).is_granted());
    assert_eq!(crowding(), Crowding::default());
    let _ = charge(&limits, 6, &[1, 1], 0).unwrap().keep();
    assert_eq!((crowding().evicted, crowding().minted), (1, 7), "the one with 3 left");
}

#[test]
fn a_key_alone_that_is_refused_for_want_of_a_place_is_told_no_instant_and_takes_nothing_in() {
    let limit = full("10/s", AtCap::Refuse, &[(2, 1)]);
    let refused = name(&limit, 3).take(1, 0);
    assert_eq!((refused.is_granted(), refused.retry_after(), name(&limit, 3).put(5, 0)), (false, None, 0));
}
