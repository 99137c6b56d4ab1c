//! What is promised, beside exact sums.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SPAN: Duration = Duration::from_nanos(1000);

/// The machine, and beside it what everybody weighs.
struct Rig {
    heaviest: Heaviest<u64>,
    counters: u64,
    exact: BTreeMap<u64, u64>,
    total: u64,
    now: u64,
}

impl Rig {
    fn new(counters: usize) -> Self {
        let (heaviest, exact) = (Heaviest::new(counters, SPAN), BTreeMap::new());
        Self { heaviest, counters: counters as u64, exact, total: 0, now: 0 }
    }

    fn note(&mut self, id: u64, weight: u64) {
        let had = self.heaviest.has(id, self.now);
        let mut was_asked = false;
        let gone = self.heaviest.note(id, weight, self.now, || {
            was_asked = true;
            id
        });
        assert_eq!(was_asked, !had && weight > 0, "{id} is asked for its name where it comes on the list");
        assert!(gone.is_none_or(|gone| !self.heaviest.has(gone, self.now) && gone != id));
        *self.exact.entry(id).or_default() += weight;
        self.total += weight;
    }

    fn wait(&mut self, nanos: u64) {
        for _ in self.now / 1000..(self.now + nanos) / 1000 {
            self.exact.values_mut().for_each(|weight| *weight /= 2);
            self.total /= 2;
        }
        self.now += nanos;
    }

    /// All that is promised.
    fn check(&mut self) {
        let (now, counters) = (self.now, self.counters);
        assert_eq!(self.heaviest.total(now), self.total);
        let (share, rest) = (self.total / counters, self.heaviest.rest(now));
        assert!(rest <= share, "{rest} of {}", self.total);
        let top: Vec<(u64, u64, u64)> = self
            .heaviest
            .top(now, usize::MAX)
            .iter()
            .map(|one| (*one.item, one.at_most, one.at_least))
            .collect();
        assert!(top.len() as u64 <= counters);
        assert!(top.is_sorted_by(|one, next| one.1 >= next.1));
        for &(id, at_most, at_least) in &top {
            let exact = self.exact[&id];
            assert!((at_least..=at_most).contains(&exact), "{id}: {exact} in {at_least}..={at_most}");
            assert!(at_most - at_least <= share + 2, "{at_most} - {at_least}, {}", self.total);
        }
        for (id, &exact) in self.exact.iter().filter(|(id, _)| !top.iter().any(|one| one.0 == **id)) {
            assert!(exact <= rest, "{id} weighs {exact} and is not on the list");
        }
        for k in 0..top.len() {
            let least = top[k].1;
            let heavier = self.exact.iter().filter(|(_, exact)| **exact > least);
            assert!(heavier.map(|(id, _)| id).all(|id| top[..k].iter().any(|one| one.0 == *id)));
        }
        let at = |at: usize| self.heaviest.weight(at);
        assert!((1..self.heaviest.heap.len()).all(|place| at((place - 1) / 2) <= at(place)), "a heap");
    }
}

proptest! {
    #[test]
    fn any_stream(
        counters in 1..20_usize,
        ids in 1..60_u64,
        stream in prop::collection::vec((any::<u64>(), 0..50_u64, 0..200_u64), 0..400),
    ) {
        let mut rig = Rig::new(counters);
        for (id, weight, nanos) in stream {
            rig.note(id % ids, weight);
            // Not all the time: whoever comes after a pause may be the first to look at the clock.
            rig.wait(if nanos < 20 { nanos * 100 } else { 0 });
            if nanos % 4 == 0 {
                rig.check();
            }
        }
        rig.check();
    }

    /// One of two comes again, one of six comes second, and so on.
    #[test]
    fn a_stream_by_zipf_s_law(stream in prop::collection::vec(0..1000_u64, 1..3000)) {
        let mut rig = Rig::new(16);
        for nth in stream {
            rig.note(1000 / (1 + nth), 1);
            rig.wait(1);
        }
        rig.check();
    }
}

#[test]
fn whoever_comes_in_the_worst_order() {
    // Round and round, one more than there are counters: each takes over from the one that comes next.
    let mut rig = Rig::new(8);
    (0..900).for_each(|nth| rig.note(nth % 9, 1));
    rig.check();
    // Somebody heavy, and then a flood of those who come once.
    let mut rig = Rig::new(8);
    rig.note(u64::MAX, 100);
    (0..700).for_each(|nth| rig.note(nth, 1));
    rig.check();
    assert!(rig.heaviest.has(u64::MAX, 0), "the others share seven counters, which have just caught up");
    // The flood first, and the heavy one between them.
    let mut rig = Rig::new(8);
    for nth in 0..700 {
        rig.note(nth, 1);
        if nth % 4 == 0 {
            rig.note(u64::MAX, 1);
        }
        rig.check();
    }
    assert_eq!(*rig.heaviest.top(0, 1)[0].item, u64::MAX);
}

#[test]
fn what_is_long_ago_fades_and_is_forgotten() {
    let mut heaviest = Heaviest::new(2, SPAN);
    heaviest.note(1, 100, 0, || "old");
    heaviest.note(2, 3, 999, || "small");
    assert_eq!(heaviest.total(999), 103);
    heaviest.note(1, 1, 1000, || "other");
    let weights = |heaviest: &mut Heaviest<&'static str>, now| -> Vec<(&str, u64)> {
        heaviest.top(now, 9).iter().map(|one| (*one.item, one.at_least)).collect()
    };
    assert_eq!(weights(&mut heaviest, 1000), [("old", 51), ("small", 1)]);
    assert_eq!(weights(&mut heaviest, 500), [("old", 51), ("small", 1)], "a clock that steps back");
    assert_eq!(weights(&mut heaviest, 2999), [("old", 25)]);
    assert_eq!(heaviest.rest(2999), 0, "there is room, so nobody was left out");
    // It was many spans ago that anybody looked.
    heaviest.note(3, 5, 1000 * 60, || "new");
    assert_eq!(weights(&mut heaviest, 1000 * 60), [("new", 5)]);
    assert_eq!(weights(&mut heaviest, u64::MAX), []);
    assert_eq!(heaviest.total(u64::MAX), 0);
}

#[test]
fn nothing_overflows_and_nobody_is_needed() {
    let mut heaviest = Heaviest::new(1, Duration::ZERO);
    for _ in 0..3 {
        heaviest.note(7, u64::MAX, u64::MAX, || ());
        heaviest.note(8, u64::MAX, 0, || ());
    }
    let only = heaviest.top(u64::MAX, 9);
    assert_eq!((only.len(), only[0].at_most, only[0].at_least), (1, u64::MAX, u64::MAX));
    let mut none = Heaviest::new(0, SPAN);
    none.note(7, 1, 0, || ());
    assert_eq!((none.top(0, 9).len(), none.rest(0), none.has(7, 0)), (0, u64::MAX, false));
}

#[test]
fn who_leaves_the_list_is_handed_out() {
    let mut heaviest = Heaviest::new(1, SPAN);
    assert_eq!(heaviest.note(1, 5, 0, || "one"), None);
    assert_eq!(heaviest.note(2, 1, 0, || "two"), Some("one"));
    assert_eq!(heaviest.note(2, 1, 0, || unreachable!("it has its name")), None);
    let top = heaviest.top(0, 1);
    assert_eq!((*top[0].item, top[0].at_most, top[0].at_least), ("two", 7, 2));
}
