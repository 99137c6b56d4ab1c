//! A list in order of arrival that knows the sum of what stands before each entry: entries leave from anywhere, and sums and
//! removals take a logarithm of the list's length.
//!
//! The sums are a tree of partial sums over an array (Fenwick, "A New Data Structure for Cumulative Frequency Tables",
//! 1994). What has left stays in the array with a weight of zero until it is half of it; then the array is made anew, so
//! that memory follows the entries that are there, and the cost of it is a constant for each that left.

/// Below this many there is no use in making the array anew.
const FEW: usize = 32;

/// A list with sums. Numbers given to entries grow from one to the next.
#[derive(Debug)]
pub(super) struct Sums<T> {
    slots: Vec<Slot<T>>,
    /// `tree[i]` is the sum of the weights of the last `lowest set bit of i + 1` slots up to slot i.
    tree: Vec<u64>,
    /// Slots before this one are empty.
    front: usize,
    /// Entries that are there.
    len: usize,
    total: u64,
}

#[derive(Debug)]
struct Slot<T> {
    number: u64,
    weight: u64,
    entry: Option<T>,
}

impl<T> Sums<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), tree: Vec::new(), front: 0, len: 0, total: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The weight of all.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Adds an entry at the end. `number` is larger than all before.
    pub(super) fn push(&mut self, number: u64, weight: u64, entry: T) {
        debug_assert!(self.slots.last().is_none_or(|last| last.number < number));
        self.slots.push(Slot { number, weight, entry: Some(entry) });
        self.grow_tree(weight);
        self.len += 1;
        self.total += weight;
    }

    /// The number, weight and entry of the first.
    pub(super) fn first(&self) -> Option<(u64, u64, &T)> {
        let slot = self.slots.get(self.front)?;
        Some((slot.number, slot.weight, slot.entry.as_ref()?))
    }

    /// Takes the first out, and hands out its number, weight and entry.
    pub(super) fn pop_first(&mut self) -> Option<(u64, u64, T)> {
        let (number, weight) = self.first().map(|(number, weight, _)| (number, weight))?;
        let entry = self.take_out(self.front)?;
        Some((number, weight, entry))
    }

    /// Takes an entry out from wherever it is, and hands out its weight too.
    pub(super) fn remove(&mut self, number: u64) -> Option<(u64, T)> {
        let at = self.find(number)?;
        let weight = self.slots[at].weight;
        Some((weight, self.take_out(at)?))
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.find(number).and_then(|at| self.slots[at].entry.as_ref())
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.find(number).and_then(|at| self.slots[at].entry.as_mut())
    }

    /// The sum of the weights up to this entry, its own among them.
    pub(super) fn up_to(&self, number: u64) -> Option<u64> {
        let mut at = self.find(number)? + 1;
        let mut sum = 0;
        while at > 0 {
            sum += self.tree[at - 1];
            at &= at - 1;
        }
        Some(sum)
    }

    /// Makes an entry lighter by so much, or by all it has; says by how much.
    pub(super) fn lighten(&mut self, number: u64, by: u64) -> u64 {
        let Some(at) = self.find(number) else { return 0 };
        let by = by.min(self.slots[at].weight);
        self.lighten_at(at, by);
        by
    }

    /// The last entry.
    pub(super) fn last(&self) -> Option<&T> {
        self.slots.last()?.entry.as_ref()
    }

    /// Makes the last entry heavier by so much.
    pub(super) fn burden_last(&mut self, by: u64) {
        let Some(at) = self.slots.len().checked_sub(1) else { return };
        self.slots[at].weight += by;
        self.total += by;
        // Of all sums only the last one has the last slot in it.
        self.tree[at] += by;
    }

    /// All entries, first to last, with their numbers and weights; the list is empty then.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, u64, T)> + use<T> {
        let all = std::mem::replace(self, Self::new());
        all.slots.into_iter().filter_map(|slot| Some((slot.number, slot.weight, slot.entry?)))
    }

    /// All entries, first to last.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64, &T)> {
        self.slots[self.front..]
            .iter()
            .filter_map(|slot| Some((slot.number, slot.weight, slot.entry.as_ref()?)))
    }

    fn find(&self, number: u64) -> Option<usize> {
        // Numbers follow each other, but where some have left and the array was made anew: so it is there or before.
        let least = self.slots.get(self.front)?.number;
        let after = usize::try_from(number.checked_sub(least)?).ok()?.checked_add(self.front)?;
        let at = match self.slots.get(after) {
            Some(slot) if slot.number == number => after,
            _ => {
                let upper = self.slots.len().min(after);
                let found = self.slots[self.front..upper].binary_search_by_key(&number, |slot| slot.number);
                self.front + found.ok()?
            }
        };
        self.slots[at].entry.is_some().then_some(at)
    }

    fn take_out(&mut self, at: usize) -> Option<T> {
        let entry = self.slots[at].entry.take()?;
        self.lighten_at(at, self.slots[at].weight);
        self.len -= 1;
        while self.slots.get(self.front).is_some_and(|slot| slot.entry.is_none()) {
            self.front += 1;
        }
        if self.slots.len() > 2 * self.len + FEW {
            self.make_anew();
        }
        Some(entry)
    }

    fn lighten_at(&mut self, at: usize, by: u64) {
        self.slots[at].weight -= by;
        self.total -= by;
        let mut node = at + 1;
        while node <= self.tree.len() {
            self.tree[node - 1] -= by;
            node += node & node.wrapping_neg();
        }
    }

    /// A node for one more slot.
    fn grow_tree(&mut self, weight: u64) {
        let node = self.tree.len() + 1;
        let (mut sum, mut below) = (weight, node - 1);
        let first = node & (node - 1);
        while below > first {
            sum += self.tree[below - 1];
            below &= below - 1;
        }
        self.tree.push(sum);
    }

    fn make_anew(&mut self) {
        self.slots.retain(|slot| slot.entry.is_some());
        // What a crowd made grow is given back when it has gone.
        self.slots.shrink_to(4 * self.len + FEW);
        self.front = 0;
        self.tree.clear();
        self.tree.shrink_to(4 * self.len + FEW);
        for at in 0..self.slots.len() {
            self.grow_tree(self.slots[at].weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list.
        #[test]
        fn sums_as_a_list_does(ops in prop::collection::vec((0_u8..6, 0_usize..200, 1_u64..50), 0..600)) {
            let (mut sums, mut list) = (Sums::new(), Vec::<(u64, u64)>::new());
            for (number, (op, pick, weight)) in (0_u64..).zip(ops) {
                let picked = list.get(pick % list.len().max(1)).copied();
                match (op, picked) {
                    (0..3, _) => {
                        sums.push(number, weight, number);
                        list.push((number, weight));
                    }
                    (3, Some((number, weight))) => {
                        prop_assert_eq!(sums.remove(number), Some((weight, number)));
                        prop_assert_eq!(sums.remove(number), None);
                        list.retain(|one| one.0 != number);
                    }
                    (4, Some(_)) => {
                        let (number, weight) = list.remove(0);
                        prop_assert_eq!(sums.pop_first(), Some((number, weight, number)));
                    }
                    (_, Some((number, has))) => {
                        let by = weight.min(has);
                        prop_assert_eq!(sums.lighten(number, weight), by);
                        list.iter_mut().filter(|one| one.0 == number).for_each(|one| one.1 -= by);
                    }
                    (_, None) => {}
                }
                let mut sum = 0;
                for &(number, weight) in &list {
                    sum += weight;
                    prop_assert_eq!(sums.up_to(number), Some(sum));
                }
                prop_assert_eq!((sums.total(), sums.len), (sum, list.len()));
                prop_assert_eq!(sums.first().map(|(number, ..)| number), list.first().map(|one| one.0));
                prop_assert!(sums.slots.len() <= 2 * list.len() + FEW + 1);
            }
        }
    }
}
