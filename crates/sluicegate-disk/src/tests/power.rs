//! The power goes, at any write and any sync: what was not synced is there or not, in any mixture.

use std::time::Duration;

use sluicegate::store::{Charge, Store};

use super::drive::Drive;
use super::{left, open, quota, strict, wait};

/// Pseudorandom bits: a seed is a sequence.
fn coin(seed: u64) -> impl FnMut() -> bool {
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice & 1 == 1
    }
}

#[test]
fn strict_forgets_nothing_that_was_answered_wherever_the_power_goes() {
    let (more, less) = (quota("stock 1000"), quota("stock 500"));
    let charges = [Charge::new("a", b"k", &more), Charge::new("b", b"k", &less)];
    let mut answered = 0;
    for cut in 0..70 {
        let drive = Drive::default();
        let (disk, _) = open(&strict(), &drive);
        drive.cut_after(cut);
        let mut granted = 0;
        while wait(disk.take(&charges)).is_ok_and(|verdict| verdict.is_granted()) {
            granted += 1;
        }
        drop(disk);
        answered += granted;
        for seed in 0..4 {
            let (disk, _) = open(&strict(), &drive.after_the_cut(coin(seed)));
            let taken = [1000, 500].into_iter().zip(left(&disk, &charges)).map(|(all, left)| all - left);
            let taken: Vec<u64> = taken.collect();
            assert_eq!(taken[0], taken[1], "all of a decision, or nothing");
            assert!(
                (granted..=granted + 1).contains(&taken[0]),
                "cut {cut}: {granted} answered, {taken:?} taken"
            );
        }
    }
    assert!(answered > 70, "hardly anything was granted: {answered}");
}

#[test]
fn write_behind_forgets_a_span_at_the_most_wherever_the_power_goes() {
    let stock = quota("stock 1000");
    let charge = [Charge::new("a", b"k", &stock)];
    let mut forgotten_most = 0;
    for cut in 0..40 {
        let drive = Drive::default();
        let (disk, time) = open(&strict().write_behind(Duration::from_millis(10)), &drive);
        drive.cut_after(cut);
        let mut granted = 0_u64;
        // One each millisecond, and so ten a span.
        while wait(disk.take(&charge)).is_ok_and(|verdict| verdict.is_granted()) {
            granted += 1;
            time.advance(Duration::from_millis(1));
        }
        drop(disk);
        for seed in 0..3 {
            let (disk, _) = open(&strict(), &drive.after_the_cut(coin(seed)));
            let taken = 1000 - left(&disk, &charge)[0];
            let forgotten = granted.saturating_sub(taken);
            assert!(forgotten <= 10, "cut {cut}: {granted} answered, {taken} taken");
            forgotten_most = forgotten_most.max(forgotten);
        }
    }
    assert!(forgotten_most > 5, "it is not written behind: {forgotten_most}");
}
