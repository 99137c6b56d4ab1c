//! What is kept of the names of a limiter's keys.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluicegate_core::clock::ManualClock;

use super::*;
use crate::keyed::{Keyed, KeyedBuilder};
use crate::memory::Limit;

const MINUTE: u64 = 60_000_000_000;

/// Far beyond what chance explains: ten standard errors of `n` decisions.
fn slack(n: u64) -> u64 {
    40 * n.isqrt()
}

fn is_about(counted: u64, n: u64) -> bool {
    counted.abs_diff(n) < slack(n)
}

fn builder<K: std::hash::Hash + ?Sized>() -> KeyedBuilder<K> {
    Keyed::builder().class(["stock 1".parse().unwrap()])
}

#[test]
fn refused_decisions_weigh_and_minutes_fade() {
    let keyed = builder::<str>().heaviest(3).build_with(ManualClock::new()).unwrap();
    for nth in 0..60_000_u32 {
        let _ = keyed.try_take_at(["eve", "bob", "eve"][nth as usize % 3], 1, 0);
        let _ = keyed.take_up_to_at(&format!("user {nth}"), 1, 0);
    }
    assert_eq!(keyed.counts().refused, 59_998, "but for the first of each");
    let heaviest = keyed.heaviest_at(0);
    let names: Vec<&str> = heaviest.iter().map(|heavy| heavy.key.as_str()).collect();
    assert_eq!((&names[..2], names.len()), (&["eve", "bob"][..], 3));
    for (heavy, n) in heaviest.iter().zip([40_000, 20_000]) {
        // 24 counters for 120 000: so much of what is counted may be others'.
        let (slack, others) = (slack(n), 120_000 / 24);
        assert!((n - slack..=n + others + slack).contains(&heavy.at_most), "{heavy:?}");
        assert!((n - others - slack..=n + slack).contains(&heavy.at_least), "{heavy:?}");
        assert!(heavy.at_least <= heavy.at_most && heavy.at_most % ONE_IN == 0, "{heavy:?}");
    }
    let later = keyed.heaviest_at(2 * MINUTE);
    assert_eq!(later[0].at_most, heaviest[0].at_most / 4);
    assert!(keyed.heaviest_at(100 * MINUTE).is_empty());
}

#[test]
fn one_of_sixteen_is_looked_at() {
    let sampled = Sampled::new(1);
    (0..160_000).for_each(|_| sampled.note(|| Digest([1, 2]), 0, || "only"));
    let top = sampled.top(0);
    assert!(is_about(top[0].at_most, 160_000), "{top:?}");
    assert_eq!(top[0].at_most, top[0].at_least);
}

#[test]
fn nobody_waits_for_it() {
    let sampled = Sampled::new(1);
    let held = sampled.sketch.lock().unwrap();
    (0..1000).for_each(|_| sampled.note(|| Digest([1, 2]), 0, || "waited"));
    drop(held);
    assert!(sampled.top(0).is_empty());
}

/// A key that counts its copies, and has its limiter asked when it is first copied.
#[derive(Hash)]
struct Counted(u64);

static COPIES: AtomicUsize = AtomicUsize::new(0);
static LIMITER: OnceLock<Keyed<Counted, ManualClock>> = OnceLock::new();

impl Clone for Counted {
    fn clone(&self) -> Self {
        if COPIES.fetch_add(1, Ordering::Relaxed) == 0 {
            // Were the sketch or the key's place locked, this would wait for itself.
            let limiter = LIMITER.get().unwrap();
            assert!(limiter.heaviest_at(0).is_empty() && !limiter.peek_at(self, 1, 0).is_granted());
        }
        Self(self.0)
    }
}

#[test]
fn a_key_is_copied_where_it_comes_on_the_list() {
    LIMITER.set(builder().heaviest(2).build_with(ManualClock::new()).unwrap()).ok();
    let limiter = LIMITER.get().unwrap();
    for _ in 0..10_000 {
        let _ = limiter.try_take_at(&Counted(7), 1, 0);
    }
    assert_eq!(COPIES.load(Ordering::Relaxed), 1);
    assert_eq!(limiter.heaviest_at(0)[0].key.0, 7);
    assert_eq!(COPIES.load(Ordering::Relaxed), 2, "and where it is handed out");
}

#[test]
fn off_it_keeps_nothing_and_any_key_will_do() {
    #[derive(Hash)]
    struct NotCloned(u64);
    let keyed = builder::<NotCloned>().build().unwrap();
    assert!(keyed.try_take(&NotCloned(1), 1).is_granted());
    for keyed in [builder::<u64>().build().unwrap(), builder::<u64>().heaviest(0).build().unwrap()] {
        (0..1000).for_each(|key| assert!(keyed.try_take(&key, 1).is_granted()));
        assert!(keyed.heaviest().is_empty());
    }
}

#[test]
fn a_prepared_limit_s_keys_have_the_name_that_was_said() {
    let limit = Limit::new("2/s".parse().unwrap(), 10, 0);
    let charge = |limit: &Limit, name: &str| {
        let key = limit.key([Some(name.as_bytes())]);
        let _ = key.named(0, || name.to_owned()).take(1, 0);
    };
    (0..1000).for_each(|_| charge(&limit, "nobody asked"));
    assert!(limit.heaviest(0).is_empty());

    limit.keep_heaviest(3);
    limit.clone().keep_heaviest(1);
    let long = "ä".repeat(100);
    for nth in 0..60_000_u32 {
        charge(&limit, ["eve", "bob", "eve"][nth as usize % 3]);
        charge(&limit, &format!("{long} {}", nth % 9));
    }
    let heaviest = limit.heaviest(0);
    let names: Vec<&str> = heaviest.iter().map(|heavy| &*heavy.key).collect();
    assert_eq!((&names[..2], names.len()), (&["eve", "bob"][..], 3), "whoever asks second gets no fewer");
    assert_eq!(names[2], format!("{}…", "ä".repeat(62)), "128 bytes at most");
    assert!(is_about(heaviest[0].at_most, 40_000) && is_about(heaviest[1].at_most, 20_000), "{heaviest:?}");
}
