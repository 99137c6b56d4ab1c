//! Against a plain map of machines that forgets nothing: a million operations in random order, with a cap or without.
//!
//! Where the cap is reached, a key that is not there may or may not find a place, depending on what has been swept; there the
//! model is told what the limiter counted, and answers as it must then.

use std::collections::HashMap;

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::clock::{ManualClock, nanos};

use super::super::*;
use crate::keyed::overflow::Overflow;
use crate::keyed::{AtCap, lock};

const MINUTE: u64 = 60_000_000_000;

const QUOTAS: [&str; 12] = [
    "5/s burst 10",
    "3/s",
    "20 every 4s",
    "2/s burst 6 initial 2",
    "50/m",
    "12345/m burst 9",
    "1/s burst 3",
    "100/s burst 12",
    "7 every 500ms burst 8",
    "unlimited",
    "40/m burst 4 initial 0",
    "1/7s burst 2",
];

/// What is known of one of a key's buckets: its state, and in which minute it is no longer kept.
#[derive(Clone, Copy)]
struct Band {
    state: State,
    kept: u64,
}

#[derive(Clone)]
struct Known {
    class: usize,
    is_given: bool,
    bands: Vec<Band>,
}

struct Model {
    classes: Vec<Vec<Bucket>>,
    keys: HashMap<u64, Known>,
    overflow: Overflow,
    random: u64,
}

impl Model {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below
    }

    fn pick(&mut self, below: usize) -> usize {
        usize::try_from(self.random(below as u64)).unwrap()
    }

    fn quotas(&mut self, most: u64) -> Vec<Quota> {
        let count = self.random(most) + 1;
        (0..count).map(|_| QUOTAS[self.pick(QUOTAS.len())].parse().unwrap()).collect()
    }

    fn is_unused(&self, known: &Known, band: usize, now: u64) -> bool {
        let Band { state, kept } = known.bands[band];
        let is_kept = known.is_given && band == 0 || now / MINUTE < kept;
        self.classes[known.class][band].is_unused(state, now) && !is_kept
    }

    fn fresh(&self, class: usize) -> Known {
        let start = |bucket: &Bucket| Band { state: bucket.start(), kept: 0 };
        Known { class, is_given: false, bands: self.classes[class].iter().map(start).collect() }
    }

    /// What is known of a key, from where on it is decided.
    fn look(&self, key: u64, now: u64) -> Known {
        let known = self.keys.get(&key).filter(|known| !self.is_forgotten(known, now));
        known.cloned().unwrap_or_else(|| self.fresh(class_of(key)))
    }

    fn is_forgotten(&self, known: &Known, now: u64) -> bool {
        (0..known.bands.len()).all(|band| self.is_unused(known, band, now))
    }

    /// The key as one of a class whose quotas are these.
    fn moved(&self, known: &Known, class: usize, to: &[Bucket], now: u64) -> Known {
        let band = |(place, bucket): (usize, &Bucket)| {
            if place >= known.bands.len() || self.is_unused(known, place, now) {
                return Band { state: bucket.start(), kept: 0 };
            }
            let (was, from) = (known.bands[place], &self.classes[known.class][place]);
            let full_after = from.peek(was.state, now).reset_after().map_or(u64::MAX, nanos);
            let until = (now + full_after.min(60 * MINUTE)).div_ceil(MINUTE);
            Band { state: from.carry(was.state, bucket, now), kept: was.kept.max(until) }
        };
        Known { class, is_given: known.is_given, bands: to.iter().enumerate().map(band).collect() }
    }

    /// Takes from a key's buckets, of which the limiter found no place for some: those are decided by what is shared, or refused.
    fn take(&mut self, key: u64, n: u64, now: u64, unplaced: &[usize], at_cap: AtCap) -> Decision {
        let mut known = self.look(key, now);
        let buckets = &self.classes[known.class];
        if !unplaced.is_empty() {
            self.overflow.tidy(now);
        }
        let mut outcomes: Vec<(Decision, State, State, Option<usize>)> = Vec::new();
        for (band, bucket) in buckets.iter().enumerate() {
            let state = known.bands[band].state;
            let (decision, next) = bucket.take(state, n, now);
            outcomes.push((decision, state, next, None));
            if !unplaced.contains(&band) {
                continue;
            }
            outcomes[band] = if at_cap == AtCap::Refuse {
                let limit = bucket.quota().capacity();
                let later = Decision::Later { retry_after: None, limit, remaining: 0, reset_after: None };
                (later, state, state, None)
            } else {
                let place = self.overflow.place(Some(bucket.quota()), now);
                let last = outcomes.iter().rfind(|other| other.3 == Some(place)).map(|other| other.2);
                let shared = self.overflow.at(place);
                let (decision, next) = shared.bucket.take(last.unwrap_or(shared.state), n, now);
                (decision, shared.state, next, Some(place))
            };
        }
        let granted = outcomes.iter().all(|outcome| outcome.0.is_granted());
        let mut all = Decision::UNLIMITED;
        for (band, (decision, stay, next, place)) in outcomes.into_iter().enumerate() {
            let state = if granted { next } else { stay };
            let bucket = match place {
                None => {
                    known.bands[band].state = state;
                    &buckets[band]
                }
                Some(place) => {
                    let shared = self.overflow.at(place);
                    shared.state = state;
                    &shared.bucket
                }
            };
            let stands = if decision.is_granted() && !granted { bucket.peek(stay, now) } else { decision };
            all = all.and(stands);
        }
        self.keys.insert(key, known);
        all
    }
}

fn class_of(key: u64) -> usize {
    usize::try_from(key % 3).unwrap()
}

/// Whether each of a key's buckets has a place in the table.
fn places(keyed: &Keyed<u64, ManualClock>, key: u64, bands: usize) -> Vec<bool> {
    let digest = keyed.digest(&key);
    let shard = keyed.keys.shard(digest);
    (0..bands).map(|band| shard.find(digest.band(band)).is_some()).collect()
}

fn check_all(keyed: &Keyed<u64, ManualClock>, model: &Model, max_keys: usize, now: u64) {
    let stored: usize = keyed.keys.shards().iter().map(|part| lock(&part.0).len()).sum();
    assert_eq!(stored, keyed.len());
    assert!(stored <= max_keys);
    let standing = |known: &Known| {
        let used = (0..known.bands.len()).filter(|&band| !model.is_unused(known, band, now));
        let peek = |band: usize| model.classes[known.class][band].peek(known.bands[band].state, now);
        let decision = used.map(peek).reduce(Decision::and)?;
        Some(format!("{:?}", Standing { class: known.class, is_given: known.is_given, decision }))
    };
    let mut expected: Vec<String> = model.keys.values().filter_map(standing).collect();
    let mut found: Vec<String> = keyed.iter_at(now).map(|standing| format!("{standing:?}")).collect();
    expected.sort();
    found.sort();
    assert!(found == expected, "{found:#?}\nare not\n{expected:#?}");
}

fn run(operations: u64, names: u64, max_keys: usize, at_cap: AtCap) -> KeyedCounts {
    let overflow = Overflow::new(Bucket::new(Quota::ban()));
    // The same operations in every run, with other hashes; others if this is set, to look for what they don't find.
    let seed =
        std::env::var("SLUICEGATE_KEYED_SEED").map_or(0x9e37_79b9_7f4a_7c15, |seed| seed.parse().unwrap());
    let mut model = Model { classes: Vec::new(), keys: HashMap::new(), overflow, random: seed };
    let mut builder =
        Keyed::<u64>::builder().classify(|key| class_of(*key)).max_keys(max_keys).at_cap(at_cap);
    for _ in 0..3 {
        let quotas = model.quotas(3);
        model.classes.push(quotas.iter().map(|quota| Bucket::new(*quota)).collect());
        builder = builder.class(quotas);
    }
    let keyed = builder.build_with(ManualClock::new()).unwrap();
    let (mut now, mut skipped) = (0, 0);
    for operation in 0..operations {
        now += if model.random(50_000) == 0 { 4_000_000_000 } else { model.random(4_000_000) };
        let (key, n) = (model.random(names), [0, 1, 1, 1, 2, 3, 20][model.pick(7)]);
        let known = model.look(key, now);
        let placed = places(&keyed, key, known.bands.len());
        let certain = keyed.len() < max_keys - known.bands.len() || placed.iter().all(|placed| *placed);
        match model.random(1000) {
            0..700 => {
                let sweeps_its_own = !placed[0]
                    && (1..placed.len()).any(|band| placed[band] && model.is_unused(&known, band, now));
                if !certain && (sweeps_its_own || n == 0) {
                    skipped += 1;
                    continue;
                }
                let before = keyed.counts().crowding;
                let said = keyed.try_take_at(&key, n, now);
                let after = keyed.counts().crowding;
                let without = after.overflowed - before.overflowed + after.refused - before.refused;
                let without = usize::try_from(without).unwrap();
                // Once one finds no place, those behind it don't either. Only what would take a token is refused for that.
                let takes = |band: usize| {
                    let (bucket, state) = (&model.classes[known.class][band], known.bands[band].state);
                    let (decision, next) = bucket.take(state, n, now);
                    at_cap != AtCap::Refuse || decision.is_granted() && next != state
                };
                let behind = (0..placed.len()).rev().filter(|band| !placed[*band] && takes(*band));
                let unplaced: Vec<usize> = behind.take(without).collect();
                assert_eq!(unplaced.len(), without);
                assert!(without == 0 || !certain, "operation {operation}: there was room");
                let expected = model.take(key, n, now, &unplaced, at_cap);
                assert_eq!(said, expected, "operation {operation}, key {key}");
                if after.evicted > before.evicted {
                    let minted = forget_evicted(&keyed, &mut model, now);
                    assert_eq!(after.minted - before.minted, minted, "operation {operation}");
                }
            }
            700..800 if certain => {
                let expected = model.take(key, n, now, &[], at_cap);
                model.keys.insert(key, known);
                let said = keyed.peek_at(&key, n, now);
                assert_eq!(said.is_granted(), expected.is_granted(), "operation {operation}");
            }
            800..850 if certain => {
                let standing = model.take(key, 0, now, &[], at_cap).remaining();
                let most = standing.min(n);
                assert_eq!(keyed.take_up_to_at(&key, n, now), most, "operation {operation}");
                let _ = model.take(key, most, now, &[], at_cap);
            }
            850..900 if certain => {
                let mut known = known;
                let mut fitted = 0;
                for (band, bucket) in known.bands.iter_mut().zip(&model.classes[known.class]) {
                    let (put, next) = bucket.put(band.state, n, now);
                    (band.state, fitted) = (next, fitted.max(put));
                }
                model.keys.insert(key, known);
                assert_eq!(keyed.put_at(&key, n, now), fitted, "operation {operation}");
            }
            900..920 => {
                let mut fresh = model.fresh(known.class);
                if known.is_given {
                    fresh.is_given = true;
                } else {
                    fresh = model.fresh(class_of(key));
                }
                model.keys.insert(key, fresh);
                keyed.reset(&key);
            }
            920..940 => {
                let is_known = !model.is_forgotten(&known, now);
                assert!(keyed.remove(&key) || !is_known);
                model.keys.remove(&key);
            }
            940..950 => {
                let class = model.pick(3);
                match keyed.set_class_at(&key, class, now) {
                    Ok(()) => {
                        let to = model.classes[class].clone();
                        let mut moved =
                            if class == known.class { known } else { model.moved(&known, class, &to, now) };
                        moved.is_given = true;
                        model.keys.insert(key, moved);
                    }
                    Err(error) => {
                        assert_eq!(error, KeyedError::NoPlace { max_keys });
                        assert!(!certain && !placed[0]);
                    }
                }
            }
            950..975 => {
                keyed.reset_class_at(&key, now);
                if known.is_given {
                    let mut known = known;
                    (known.is_given, known.bands[0].kept) = (false, 0);
                    let class = class_of(key);
                    if class != known.class {
                        known = model.moved(&known, class, &model.classes[class].clone(), now);
                    }
                    model.keys.insert(key, known);
                }
            }
            975 if model.random(20) == 0 => {
                let (class, quotas) = (model.pick(3), model.quotas(3));
                keyed.set_quotas_at(class, quotas.iter().copied(), now).unwrap();
                let to: Vec<Bucket> = quotas.iter().map(|quota| Bucket::new(*quota)).collect();
                let mut keys = std::mem::take(&mut model.keys);
                for known in keys.values_mut().filter(|known| known.class == class) {
                    *known = model.moved(known, class, &to, now);
                }
                (model.keys, model.classes[class]) = (keys, to);
            }
            976..980 => keyed.sweep_at(model.pick(7), 7, now),
            _ => assert_eq!(keyed.class_at(&key, now), known.class, "operation {operation}"),
        }
        if operation.is_multiple_of(10_000) {
            check_all(&keyed, &model, max_keys, now);
        }
    }
    assert!(skipped < operations / 5, "{skipped} skipped");
    check_all(&keyed, &model, max_keys, now);
    keyed.counts()
}

/// Finds who was forgotten though it was not full, has the model forget it too, and says how many tokens it had spent.
fn forget_evicted(keyed: &Keyed<u64, ManualClock>, model: &mut Model, now: u64) -> u64 {
    let mut minted = 0;
    let mut keys = std::mem::take(&mut model.keys);
    for (key, known) in keys.iter_mut().filter(|(_, known)| !model.is_forgotten(known, now)) {
        let placed = places(keyed, *key, known.bands.len());
        for (band, placed) in placed.into_iter().enumerate() {
            if !placed && !model.is_unused(known, band, now) {
                let bucket = &model.classes[known.class][band];
                // Of what is unlimited nothing is ever missing.
                let full = i64::try_from(bucket.quota().capacity()).unwrap_or(i64::MAX);
                minted += u64::try_from(full - bucket.balance(known.bands[band].state, now)).unwrap();
                known.bands[band] = Band { state: bucket.start(), kept: 0 };
            }
        }
    }
    model.keys = keys;
    minted
}

#[test]
fn where_there_is_room_for_all() {
    let counts = run(400_000, 300, 2000, AtCap::Share);
    assert_eq!(counts.crowding, Crowding::default());
    assert!(counts.granted > 100_000 && counts.refused > 50_000, "{counts:?}");
}

#[test]
fn where_those_without_a_place_share() {
    let counts = run(300_000, 300, 120, AtCap::Share);
    assert!(counts.crowding.overflowed > 10_000, "{counts:?}");
}

#[test]
fn where_those_without_a_place_are_refused() {
    let counts = run(200_000, 300, 120, AtCap::Refuse);
    assert!(counts.crowding.refused > 10_000, "{counts:?}");
}

#[test]
fn where_the_fullest_are_forgotten() {
    let counts = run(100_000, 300, 120, AtCap::Evict);
    assert!(counts.crowding.evicted > 10_000, "{counts:?}");
}
