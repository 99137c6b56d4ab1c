//! All keys, one after the other.

use std::hash::Hash;

use sluicegate_core::clock::Clock;
use sluicegate_core::decision::Decision;

use super::Keyed;
use crate::keyed::lock;
use crate::keyed::shard::Kind;
use crate::keyed::slot::Slot;

/// Where a key stands. Which key that is, nobody knows: only hashes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Its class.
    pub class: usize,
    /// Whether it was [given](Keyed::set_class) that class.
    pub is_given: bool,
    /// Where it stands: what is said to who asks for no tokens, the tightest of its quotas that aren't full.
    pub decision: Decision,
}

impl<K: Hash + ?Sized, C: Clock> Keyed<K, C> {
    /// Where all keys stand that are known, in no order.
    ///
    /// The world goes on meanwhile: some thousand keys at a time are looked at under their lock, and then handed out under none.
    /// A key that is there from the beginning to the end is seen once; one that comes or goes may be.
    ///
    /// ```
    /// use sluicegate::keyed::Keyed;
    ///
    /// let names = Keyed::<str>::new("10/h".parse()?, 1000);
    /// let _ = (names.try_take("ann", 10), names.try_take("bob", 3));
    /// let empty = names.iter().filter(|key| key.decision.remaining() == 0).count();
    /// assert_eq!(empty, 1);
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Standing> {
        self.iter_at(self.now())
    }

    /// [`iter`](Self::iter) at `now`.
    pub fn iter_at(&self, now: u64) -> impl Iterator<Item = Standing> {
        (0..self.keys.shards().len()).flat_map(move |part| self.standings(part, self.since(now)))
    }

    fn standings(&self, part: usize, since: u64) -> Vec<Standing> {
        let shard = lock(&self.keys.shards()[part].0);
        let used = (0..shard.places()).filter(|&at| !shard.is_unused(at, since));
        let used: Vec<Slot> = used.filter_map(|at| shard.get(at).copied()).collect();
        let standing = |slots: &[Slot]| {
            let mut bands: Vec<(&Kind, &Slot)> =
                slots.iter().map(|slot| (shard.kind(slot.class()), slot)).collect();
            // A key's slots stand in the order in which they came.
            bands.sort_by_key(|(kind, _)| kind.band);
            let peeks = bands.iter().map(|(kind, slot)| kind.bucket.peek(slot.state, since));
            Standing {
                class: bands.first().map_or(0, |(kind, _)| kind.class.into()),
                is_given: slots.iter().any(Slot::is_kept_for_good),
                decision: peeks.reduce(Decision::and).unwrap_or(Decision::UNLIMITED),
            }
        };
        used.chunk_by(Slot::is_beside).map(standing).collect()
    }
}
