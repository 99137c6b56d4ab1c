//! The table against a sorted map, and its load while it grows and shrinks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sluicegate_core::bucket::State;

use super::super::Digest;
use super::*;

/// A slot, and by its second word and state which of those with its hash.
fn slot(hash: u64, which: u64) -> Slot {
    Slot::new(digest(hash, which), 3, State::from_word(which))
}

fn digest(hash: u64, which: u64) -> Digest {
    Digest([hash, which << 40])
}

fn find(table: &Table, hash: u64, which: u64) -> Option<usize> {
    table.find(hash, |slot| slot.is(digest(hash, which)))
}

fn stamp(slot: &Slot) -> u64 {
    slot.state.to_word()
}

/// Everything that has to hold at any time: sorted, counted, each between its home and the first gap.
fn check(table: &Table) {
    let (mut seen, mut last, mut gap) = (0, 0, 0);
    for at in 0..table.places() {
        let Some(slot) = table.get(at) else {
            gap = at + 1;
            continue;
        };
        assert!(slot.hash >= last, "sorted");
        let home = table.home(slot.hash);
        assert!(gap <= home && home <= at, "at {at}, its home is {home}, and there is a gap before {gap}");
        (seen, last) = (seen + 1, slot.hash);
    }
    assert_eq!((seen, table.iter().count()), (table.len(), table.len()));
    let full = table.blocks.iter().skip(1).all(|block| block.len() == BLOCK);
    assert!(full && (table.blocks.len() <= 1 || table.blocks[0].len() == BLOCK));
}

/// Hashes as good as those of keys, the same in every run.
fn hashes() -> impl Iterator<Item = u64> {
    (1_u64..).map(|n| {
        let mixed = (n ^ n >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x81da_def4_bc2d_d44d);
        mixed ^ mixed >> 33
    })
}

fn filled(keys: u64) -> Table {
    let mut table = Table::new();
    hashes().zip(1..=keys).for_each(|(hash, n)| table.insert(slot(hash, n), |_, _| false));
    table
}

#[test]
fn while_it_grows_79_to_92_of_100_places_are_taken_and_every_key_is_found() {
    let mut table = Table::new();
    let mut early = 0;
    for (hash, n) in hashes().zip(1..=20_000) {
        let had = table.places();
        table.insert(slot(hash, n), |_, _| false);
        let load = table.len() * 100 / table.places();
        assert!(load <= MOST, "{n}: {load}");
        if table.places() == had {
            continue;
        }
        check(&table);
        // Whole blocks: less exact where there are few.
        if n > 3000 {
            assert!(load >= ROOMY - 6, "{n}: {load}");
        }
        early += u32::from(had > BLOCK && (table.len() - 1) * 100 < had * (MOST - 1));
    }
    assert!(early <= 1, "grew {early} times early");
    for (hash, n) in hashes().zip(1..=20_000) {
        let at = find(&table, hash, n).unwrap();
        assert_eq!(stamp(table.get(at).unwrap()), n);
        assert_eq!(find(&table, hash, n + 1), None);
    }
}

/// How far a search goes, which is what the load costs.
#[test]
fn a_key_stands_near_its_home() {
    let table = filled(20_000);
    let distance = |at: usize| Some(at - table.home(table.get(at)?.hash));
    let distances: Vec<usize> = (0..table.places()).filter_map(distance).collect();
    let (sum, free) = (distances.iter().sum::<usize>(), table.places() - table.len());
    // A key of a table with this load stands len / (2 free) places behind its home on the average.
    assert!(
        sum / table.len() <= table.len() * 3 / (4 * free),
        "{sum} places, {} keys, {free} free",
        table.len()
    );
    assert!(distances.iter().max().unwrap() < &100);
}

#[test]
fn it_gives_memory_back_and_forgets_before_it_grows() {
    let mut table = filled(10_000);
    let most = table.places();
    // All that came before may be forgotten: three times as many keys take no more places.
    for (hash, n) in hashes().zip(1..=30_000).skip(10_000) {
        table.insert(slot(hash, n), |table, at| {
            let old = stamp(table.get(at).unwrap());
            old <= 10_000 || old + 5000 < n
        });
        assert!(table.places() <= most);
    }
    check(&table);
    assert!(table.places() <= most / 5 * 4, "and fewer in the end");
    // A hand that goes round, one step at a time.
    for _ in 0..3 * most {
        table.sweep(1, |table, at| !stamp(table.get(at).unwrap()).is_multiple_of(100));
    }
    check(&table);
    let places = table.places();
    assert!(table.len() <= 100 && places <= 512, "{} keys, {places} places", table.len());
    table.make_room(0, |_, _| true);
    assert_eq!((table.len(), table.places(), table.blocks.spilled()), (0, 0, false));
}

#[test]
fn keys_of_one_hash_stand_side_by_side() {
    for (hash, keys) in [(0, 300), (u64::MAX / 3, 300), (u64::MAX, 30)] {
        let mut table = Table::new();
        for n in 0..keys {
            table.insert(slot(hash, n), |_, _| false);
            table.insert(slot(hash / 2 + 1, n), |_, _| false);
        }
        check(&table);
        for n in (0..keys).step_by(2) {
            table.remove(find(&table, hash, n).unwrap());
        }
        check(&table);
        let left: Vec<u64> = table.iter().filter(|slot| slot.hash == hash).map(stamp).collect();
        let odd = left.iter().copied().filter(|n| n % 2 == 1);
        assert!(odd.eq((1..keys).step_by(2)));
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u64, u64),
    Remove(u64, u64),
    Sweep(usize, u64),
    MakeRoom(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Few different hashes, at the ends above all, so that they meet; and many.
    let hash = prop_oneof![
        1 => 0_u64..4,
        1 => u64::MAX - 3..=u64::MAX,
        2 => any::<u64>(),
        2 => (0_u64..200).prop_map(|n| n << 56),
    ];
    let key = (hash, 0_u64..6);
    let op = prop_oneof![
        12 => key.clone().prop_map(|(hash, which)| Op::Insert(hash, which)),
        5 => key.prop_map(|(hash, which)| Op::Remove(hash, which)),
        1 => (0_usize..40, 1_u64..7).prop_map(|(count, every)| Op::Sweep(count, every)),
        1 => (30_u64..90).prop_map(Op::MakeRoom),
    ];
    prop::collection::vec(op, 1..1200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn behaves_like_a_sorted_map(ops in ops()) {
        let (mut table, mut map) = (Table::new(), BTreeMap::new());
        for (op, now) in ops.into_iter().zip(1_u64..) {
            let mut gone = Vec::new();
            let mut forget = |table: &Table, at: usize, every: u64| {
                let stamp = stamp(table.get(at).unwrap());
                let forgets = stamp.is_multiple_of(every);
                gone.extend(forgets.then_some(stamp));
                forgets
            };
            match op {
                Op::Insert(hash, which) => {
                    let at = find(&table, hash, which);
                    prop_assert_eq!(at.is_some(), map.insert((hash, which), now).is_some());
                    match at {
                        Some(at) => table.get_mut(at).unwrap().state = State::from_word(now),
                        None => table.insert(Slot::new(digest(hash, which), 1, State::from_word(now)), |_, _| false),
                    }
                }
                Op::Remove(hash, which) => {
                    let at = find(&table, hash, which);
                    prop_assert_eq!(at.is_some(), map.remove(&(hash, which)).is_some());
                    at.into_iter().for_each(|at| table.remove(at));
                }
                Op::Sweep(count, every) => table.sweep(count, |table, at| forget(table, at, every)),
                Op::MakeRoom(every) => {
                    table.make_room(0, |table, at| forget(table, at, every));
                    prop_assert!(map.values().filter(|stamp| stamp.is_multiple_of(every)).count() == gone.len());
                }
            }
            map.retain(|_, stamp| !gone.contains(stamp));
            check(&table);
            prop_assert_eq!(table.len(), map.len());
        }
        for ((hash, which), now) in map {
            let at = find(&table, hash, which);
            prop_assert_eq!(at.and_then(|at| table.get(at)).map(stamp), Some(now));
        }
    }
}

/// Hashes that nobody would have: all homes are in the last sixteenth. Whatever finds no room makes the table grow.
#[test]
fn no_key_is_lost_at_the_end() {
    let mut table = Table::new();
    let last = |hash: u64| hash | 0xf << 60;
    for (hash, n) in hashes().zip(1..=400) {
        table.insert(slot(last(hash), n), |_, _| false);
        check(&table);
    }
    assert!(hashes().zip(1..=400).all(|(hash, n)| find(&table, last(hash), n).is_some()));
}
