//! What every store promises, by name.

mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Reservation, Store, StoreError, Verdict};

use super::Rig;
use crate::wait::within;

pub use waiting::*;

const WORKS: &str = "an operation that should work";

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What is left of each charge's limit.
fn left(verdict: &Verdict) -> Vec<u64> {
    verdict.each.iter().map(Decision::remaining).collect()
}

async fn take<R: Rig>(rig: &R, charges: &[Charge<'_>]) -> Verdict {
    rig.store().take(charges).await.expect(WORKS)
}

async fn available<R: Rig>(rig: &R, charge: Charge<'_>) -> u64 {
    rig.store().peek(&[charge.of(0)]).await.expect(WORKS).decision.remaining()
}

async fn reserve<R: Rig>(
    rig: &R,
    charges: &[Charge<'_>],
    max_wait: Duration,
) -> Result<Reservation<<R::Store as Store>::Hold>, Verdict> {
    let outcome = rig.store().reserve(charges, max_wait).await.expect(WORKS);
    let verdict = outcome.verdict().clone();
    outcome.reserved().ok_or(verdict)
}

/// What one refuses is charged to none, and the wait is the longest.
pub async fn all_or_nothing<R: Rig>(rig: &R) {
    let (many, few, none) = (quota("100/s"), quota("2/s"), quota("ban"));
    let charges =
        [Charge::new("a", b"k", &many), Charge::new("b", b"k", &few), Charge::new("a", b"l", &many)];
    for _ in 0..2 {
        assert!(take(rig, &charges).await.is_granted());
    }
    for _ in 0..20 {
        let refused = take(rig, &charges).await;
        assert_eq!(refused.decision.retry_after(), Some(millis(500)));
        assert_eq!(left(&refused), [98, 0, 98]);
    }
    let never = take(rig, &[charges[0], charges[1], Charge::new("c", b"k", &none)]).await;
    assert!(matches!(never.decision, Decision::Never { .. }));
    assert_eq!(available(rig, charges[0]).await, 98);
}

/// Different numbers in one decision.
pub async fn each_charge_has_its_own_number<R: Rig>(rig: &R) {
    let (requests, volume) = (quota("10/s"), quota("stock 700"));
    let charges =
        |length| [Charge::new("requests", b"k", &requests), Charge::new("volume", b"k", &volume).of(length)];
    assert_eq!(left(&take(rig, &charges(500)).await), [9, 200]);
    assert_eq!(left(&take(rig, &charges(201)).await), [9, 200]);
    assert_eq!(left(&take(rig, &charges(200)).await), [8, 0]);
}

/// A refusal says the first instant that works.
pub async fn a_retry_exactly_when_told_passes_and_no_earlier<R: Rig>(rig: &R) {
    for (at, text) in ["3/s", "7/s burst 2", "5 every 250ms", "12345/s", "1/d"].into_iter().enumerate() {
        let (quota, key) = (quota(text), [u8::try_from(at).expect(WORKS)]);
        let charge = Charge::new("s", &key, &quota);
        if rig.store().supports(&quota).is_err() {
            continue;
        }
        let all = rig.store().take_all(charge).await.expect(WORKS);
        for n in [1, all] {
            let wait = take(rig, &[charge.of(n)]).await.decision.retry_after().expect("an instant");
            rig.advance(wait - R::RESOLUTION).await;
            assert!(!take(rig, &[charge.of(n)]).await.is_granted(), "{text}: a step before {wait:?}");
            rig.advance(R::RESOLUTION).await;
            assert!(take(rig, &[charge.of(n)]).await.is_granted(), "{text}: after {wait:?}");
        }
    }
}

/// The error names the key, and nothing is charged.
pub async fn the_same_key_twice_is_refused_by_name<R: Rig>(rig: &R) {
    let (some, other) = (quota("10/s"), quota("20/s"));
    let charges =
        [Charge::new("s", b"k", &some), Charge::new("s", b"l", &some), Charge::new("s", b"k", &other)];
    for error in [
        rig.store().take(&charges).await.expect_err("twice"),
        rig.store().peek(&charges).await.expect_err("twice"),
        rig.store().reserve(&charges, Duration::ZERO).await.expect_err("twice"),
    ] {
        let named =
            matches!(&error, StoreError::Twice { space, key, place: 2 } if space == "s" && key == "k");
        assert!(named, "{error}");
    }
    assert_eq!(available(rig, charges[0]).await, 10);
}

/// Any bytes are a key, and no two keys are one.
pub async fn keys_and_spaces_are_told_apart<R: Rig>(rig: &R) {
    let one = quota("stock 1");
    let names: [(&str, &[u8]); 12] = [
        ("a", b"bc"),
        ("ab", b"c"),
        ("a", b""),
        ("", b"a"),
        ("a", &[0]),
        ("a", &[0, 0]),
        ("a", &[0xff, 0xfe]),
        ("a:b", b"c"),
        ("a", b":bc"),
        ("a}{b", b"c"),
        ("a", b"b\r\nc"),
        ("ä", "ö".as_bytes()),
    ];
    let charges: Vec<_> = names.iter().map(|(space, key)| Charge::new(space, key, &one)).collect();
    for charge in &charges {
        assert!(take(rig, &[*charge]).await.is_granted(), "{charge:?}");
    }
    for charge in &charges {
        assert!(!take(rig, &[*charge]).await.is_granted(), "{charge:?}");
    }
    rig.store().reset("a", b"bc").await.expect(WORKS);
    for (at, charge) in charges.iter().enumerate() {
        assert_eq!(take(rig, &[*charge]).await.is_granted(), at == 0, "{charge:?}");
    }
}

/// A key keeps what it has, at most what fits, and what it owes.
pub async fn a_changed_quota_mints_nothing<R: Rig>(rig: &R) {
    let (small, large) = (quota("10/s"), quota("100/s burst 1000"));
    let by_small = Charge::new("s", b"k", &small);
    let by_large = Charge::new("s", b"k", &large);
    assert!(take(rig, &[by_small.of(7)]).await.is_granted());
    assert_eq!(available(rig, by_large).await, 3);
    rig.advance(millis(100)).await;
    assert_eq!(available(rig, by_large).await, 13, "from then on the new rate");
    assert_eq!(available(rig, by_small).await, 10, "as many as fit");
    let booked = reserve(rig, &[by_small.of(10)], Duration::ZERO).await.expect("there are ten");
    let owed = reserve(rig, &[by_small.of(5)], millis(500)).await.expect("in half a second");
    let wait = take(rig, &[by_large]).await.decision.retry_after();
    assert_eq!(wait, Some(millis(60)), "what is owed is owed by the new quota");
    owed.cancel().await.expect(WORKS);
    assert_eq!(available(rig, by_large).await, 0);
    let _ = booked.keep();
}

/// Two instances with two configurations, by turns: no more than both together.
pub async fn a_quota_that_flaps_mints_nothing<R: Rig>(rig: &R) {
    let (small, large) = (quota("1/m burst 2"), quota("1/m burst 50"));
    let mut taken = 0;
    for _ in 0..100 {
        taken += rig.store().take_up_to(Charge::new("s", b"k", &large).of(40)).await.expect(WORKS);
        // Full by the small quota, so that it could be forgotten.
        assert!(available(rig, Charge::new("s", b"k", &small)).await <= 2);
        rig.advance(millis(10)).await;
    }
    assert_eq!(taken, 40 + 2, "the large quota's burst, of which two fitted the small one");
}

/// The wait is the longest, and nobody else gets what is booked.
pub async fn a_booking_is_due_when_its_last_charge_is<R: Rig>(rig: &R) {
    let (fast, slow) = (quota("100/s burst 1"), quota("2/s burst 1"));
    let charges = [Charge::new("fast", b"k", &fast), Charge::new("slow", b"k", &slow)];
    let delays = [Duration::ZERO, millis(500), millis(1000)];
    let mut held = Vec::new();
    for delay in delays {
        let reservation = reserve(rig, &charges, Duration::MAX).await.expect("booked");
        assert_eq!(reservation.delay(), delay);
        assert_eq!(reservation.is_due(), delay.is_zero());
        held.push(reservation);
    }
    let refused = take(rig, &charges).await;
    assert_eq!(refused.decision.retry_after(), Some(millis(1500)));
    rig.advance(millis(500)).await;
    assert!(held[1].is_due() && !held[2].is_due());
    held.into_iter().for_each(|reservation| drop(reservation.keep()));
    rig.advance(millis(1000) - R::RESOLUTION).await;
    assert!(!take(rig, &charges).await.is_granted());
    rig.advance(R::RESOLUTION).await;
    assert!(take(rig, &charges).await.is_granted());
}

/// All or none here too; more than a bucket holds is never, and of a stock nobody knows when.
pub async fn a_booking_beyond_the_longest_wait_books_nothing<R: Rig>(rig: &R) {
    let (fast, slow, stock) = (quota("100/s burst 1"), quota("2/s burst 1"), quota("stock 1"));
    let charges = [Charge::new("fast", b"k", &fast), Charge::new("slow", b"k", &slow)];
    let _ = take(rig, &charges[1..]).await;
    let refused = reserve(rig, &charges, millis(500) - R::RESOLUTION).await.expect_err("too long");
    assert_eq!(refused.decision.retry_after(), Some(millis(500)));
    assert_eq!(left(&refused), [1, 0], "not booked either");
    let never = reserve(rig, &[charges[0].of(2), charges[1]], Duration::MAX).await.expect_err("too many");
    assert!(matches!(never.decision, Decision::Never { limit: 1, .. }), "{never:?}");
    let unknown = reserve(rig, &[Charge::new("stock", b"k", &stock).of(1)], Duration::ZERO).await;
    let _ = unknown.expect("there is one").keep();
    let unknown = reserve(rig, &[charges[0], Charge::new("stock", b"k", &stock)], Duration::MAX).await;
    assert!(matches!(unknown.expect_err("none").decision, Decision::Later { retry_after: None, .. }));
    let booked = reserve(rig, &charges, millis(500)).await.expect("exactly as long as allowed");
    assert_eq!(booked.delay(), millis(500));
}

/// In every bucket, before and after the instant.
pub async fn what_is_cancelled_is_there_again<R: Rig>(rig: &R) {
    let (one, two) = (quota("10/s burst 4"), quota("stock 9"));
    let charges = [Charge::new("one", b"k", &one).of(3), Charge::new("two", b"k", &two).of(5)];
    for late in [false, true] {
        let first = reserve(rig, &charges, Duration::ZERO).await.expect("there are enough");
        assert_eq!([available(rig, charges[0]).await, available(rig, charges[1]).await], [1, 4]);
        let debt = reserve(rig, &charges[..1], Duration::MAX).await.expect("in 200 ms");
        assert_eq!(debt.delay(), millis(200));
        if late {
            rig.advance(millis(300)).await;
            debt.cancel().await.expect(WORKS);
        } else {
            debt.give_back();
            rig.store().ping().await.expect(WORKS);
            assert_eq!(available(rig, charges[0]).await, 1, "as it was");
        }
        first.cancel().await.expect(WORKS);
        assert_eq!([available(rig, charges[0]).await, available(rig, charges[1]).await], [4, 9]);
    }
}

/// Less gives back, more is owed.
pub async fn a_booking_is_settled_by_what_it_was<R: Rig>(rig: &R) {
    let (requests, volume) = (quota("10/s"), quota("100/s"));
    let charges = [Charge::new("requests", b"k", &requests), Charge::new("volume", b"k", &volume).of(80)];
    let settled = async |actual: &[u64]| {
        let reservation = reserve(rig, &charges, Duration::ZERO).await.expect("there are enough");
        reservation.settle(actual).await
    };
    settled(&[1, 30]).await.expect(WORKS);
    assert_eq!([available(rig, charges[0]).await, available(rig, charges[1]).await], [9, 70]);
    rig.advance(millis(300)).await;
    settled(&[2, 150]).await.expect(WORKS);
    assert_eq!([available(rig, charges[0]).await, available(rig, charges[1]).await], [8, 0]);
    let wait = take(rig, &[charges[1].of(1)]).await.decision.retry_after();
    assert_eq!(wait, Some(millis(510)), "50 are owed, and one is wanted");
    rig.advance(millis(1500)).await;
    let error = settled(&[1]).await.expect_err("one amount for two charges");
    assert!(matches!(error, StoreError::Amounts { given: 1, expected: 2 }), "{error}");
}

/// Dropping is not using, as long as there was nothing to use.
pub async fn a_dropped_booking_goes_back_before_its_instant_and_is_spent_after<R: Rig>(rig: &R) {
    let slow = quota("1/s burst 1");
    let charge = [Charge::new("s", b"k", &slow)];
    let _ = reserve(rig, &charge, Duration::ZERO).await.expect("there is one");
    assert_eq!(available(rig, charge[0]).await, 0, "due at once, so it is spent");
    for late in [false, true] {
        let reservation = reserve(rig, &charge, Duration::MAX).await.expect("in a second");
        assert_eq!(reservation.delay(), millis(1000));
        rig.advance(if late { millis(1000) } else { Duration::ZERO }).await;
        drop(reservation);
        rig.store().ping().await.expect(WORKS);
    }
    assert_eq!(available(rig, charge[0]).await, 0);
    rig.advance(millis(1000)).await;
    assert_eq!(available(rig, charge[0]).await, 1);
}

/// From several threads at once, on two keys in both orders: as many as there are, and charged to both or to none.
pub async fn takers_at_once_never_exceed<R: Rig>(rig: &R) {
    let (more, less) = (quota("stock 300"), quota("stock 200"));
    let granted = Arc::new(AtomicU64::new(0));
    let takers = (0..8).map(|taker| {
        let (store, granted) = (rig.store().clone(), Arc::clone(&granted));
        tokio::spawn(async move {
            let mut charges = [Charge::new("a", b"k", &more), Charge::new("b", b"k", &less)];
            if taker % 2 == 0 {
                charges.reverse();
            }
            for turn in 0..100 {
                let is_granted = if turn % 3 == 0 {
                    let outcome = store.reserve(&charges, Duration::ZERO).await.expect(WORKS);
                    outcome.reserved().map(Reservation::keep).is_some()
                } else {
                    store.take(&charges).await.expect(WORKS).is_granted()
                };
                granted.fetch_add(u64::from(is_granted), Ordering::Relaxed);
            }
        })
    });
    for taker in takers.collect::<Vec<_>>() {
        within("a taker", taker).await.expect(WORKS);
    }
    assert_eq!(granted.load(Ordering::Relaxed), 200);
    let left = [Charge::new("a", b"k", &more), Charge::new("b", b"k", &less)];
    assert_eq!([available(rig, left[0]).await, available(rig, left[1]).await], [100, 0]);
}

/// Who has said that it is there is counted in its group, until its time is over or it leaves.
pub async fn instances_that_are_there_are_counted<R: Rig>(rig: &R) {
    let beat = async |group: &str, instance: &[u8], lives: u64| {
        rig.store().beat(group, instance, millis(lives)).await.expect(WORKS)
    };
    assert_eq!((beat("g", b"a", 1000).await, beat("g", &[0, 255], 2000).await), (1, 2));
    assert_eq!(beat("h", b"a", 1000).await, 1, "another group");
    rig.advance(millis(1000) - R::RESOLUTION).await;
    assert_eq!(beat("g", &[0, 255], 2000).await, 2, "said once more is one");
    rig.advance(R::RESOLUTION).await;
    assert_eq!(beat("g", &[0, 255], 2000).await, 1, "the other has not said so for a second");
    assert_eq!((beat("g", b"b", 2000).await, beat("g", b"b", 0).await), (2, 1), "it has left");
    assert_eq!(beat("g", &[0, 255], 0).await, 0);
}
