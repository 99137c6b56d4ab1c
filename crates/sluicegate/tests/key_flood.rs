//! Keys without an end, as an attacker makes them up: the table stays within its cap, in memory too, and who is limited
//! stays limited. Fifty million of them with `SLUICEGATE_HEAVY`, in a release build where the time a decision takes matters:
//! `SLUICEGATE_HEAVY=1 cargo test --release -p sluicegate --test key_flood -- --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test: what fails here is the test")]

use std::sync::{Mutex, PoisonError};

use sluicegate::clock::{Clock, SystemClock};
use sluicegate::keyed::{AtCap, Keyed};
use sluicegate::memory::Limit;

const MAX_KEYS: usize = 100_000;

/// What a key may take, all in all.
const KEY: u64 = 32;

/// What the allocator and the test itself may take besides.
const SLACK: u64 = 1 << 20;

/// One at a time, since each looks at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// How much memory of this process is resident, in bytes: now, and at its most.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// How many keys come.
fn flood(moderate: u64) -> u64 {
    if std::env::var_os("SLUICEGATE_HEAVY").is_some() { 50_000_000 } else { moderate }
}

/// Distinct, and in no order.
const fn name(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// They come within a minute of an hour's quota, which refills nobody.
const fn at(n: u64) -> u64 {
    n * 1000
}

#[test]
fn fifty_million_keys_take_no_more_than_the_cap_and_free_nobody() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = flood(300_000);
    let keyed = Limit::new("5/h".parse().unwrap(), MAX_KEYS, 0);
    let ask = |name: &[u8], now| keyed.key([Some(name)]).take(1, now).is_granted();

    // Somebody who has used up its quota, and goes on asking.
    assert_eq!((0..10).filter(|_| ask(b"heavy", 0)).count(), 5);
    let (before, _) = resident();
    let clock = SystemClock::new();
    let began = clock.now();
    let (mut granted, mut most) = (0_u64, 0);
    for n in 0..keys {
        let now = at(n);
        granted += u64::from(ask(&name(n).to_le_bytes(), now));
        if n % 10_000 == 0 {
            assert!(!ask(b"heavy", now), "after {n} keys, who was limited has got a fresh bucket");
            most = most.max(keyed.keys());
        }
    }
    let took = clock.now() - began;
    let (_, peak) = resident();
    let grown = peak.saturating_sub(before);
    println!(
        "{keys} distinct keys, {MAX_KEYS} kept at most: {} kept, {granted} granted, {} decisions on the shared bucket, memory \
         grew by {} KiB, {} ns a decision",
        keyed.keys(),
        keyed.overflowed(),
        grown / 1024,
        took / keys,
    );
    assert!(most <= MAX_KEYS && keyed.keys() == MAX_KEYS, "{most} keys");
    // Those that found no place share one bucket of the same quota: five, and what a few seconds refill.
    assert!((MAX_KEYS as u64 - 1..MAX_KEYS as u64 + 5).contains(&granted), "{granted} granted");
    assert!(grown <= MAX_KEYS as u64 * KEY + SLACK, "the table took {grown} bytes");
    assert!(!ask(b"heavy", at(keys)));
}

/// The same flood by each policy, of keys that are full again and forgotten while others come. Nobody calls `sweep`.
#[test]
fn whatever_becomes_of_them_memory_is_bounded() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = flood(200_000);
    for at_cap in [AtCap::Share, AtCap::Refuse, AtCap::Evict] {
        let builder =
            Keyed::<u64>::builder().class(["1/s".parse().unwrap()]).max_keys(MAX_KEYS).at_cap(at_cap);
        let keyed = builder.build_with(sluicegate::clock::ManualClock::new()).unwrap();
        let (before, _) = resident();
        let clock = SystemClock::new();
        let began = clock.now();
        let mut most = 0;
        for n in 0..keys {
            // Full again after 200 000 others.
            let _ = keyed.try_take_at(&name(n), 1, n * 5000);
            if n % 10_000 == 0 {
                most = most.max(keyed.len());
            }
        }
        let took = clock.now() - began;
        let grown = resident().0.saturating_sub(before);
        println!(
            "{at_cap:?}: memory grew by {} KiB, {} ns a decision, {:?}",
            grown / 1024,
            took / keys,
            keyed.counts()
        );
        assert!(most <= MAX_KEYS, "{most} keys");
        assert!(grown <= MAX_KEYS as u64 * KEY + SLACK, "the table took {grown} bytes");
        (0..10).for_each(|part| keyed.sweep_at(part, 10, keys * 5000 + 1_000_000_000));
        assert!(keyed.is_empty());
    }
}
