//! Who is decided on most, by name.

use std::any::Any;
use std::hash::Hash;
use std::sync::Arc;

use sluicegate_core::clock::Clock;

use super::{GRANTED, Keyed, KeyedBuilder, REFUSED};
use crate::keyed::heavy::{Heavy, Sampled};

/// A key that is kept. Of any type, since only who asks for names needs keys that can be kept.
type Name = Arc<dyn Any + Send + Sync>;

/// The names of the heaviest keys, and how a key is kept.
pub(super) struct Names<K: ?Sized> {
    sampled: Sampled<Name>,
    own: fn(&K) -> Name,
}

fn own<K: ToOwned<Owned: Send + Sync + 'static> + ?Sized>(key: &K) -> Name {
    Arc::new(key.to_owned())
}

impl<K: Hash + ToOwned<Owned: Send + Sync + 'static> + ?Sized> KeyedBuilder<K> {
    /// Keeps the names of the `k` keys (at most 1000) that are decided on most, granted or refused, so that
    /// [`Keyed::heaviest`] can say who they are. Nothing else in a limiter knows a key by its name.
    ///
    /// Whoever makes more than one in `8 * k` of the decisions is found, and no more than `8 * k` keys are kept, each copied when it
    /// comes on the list. One in 16 decisions is looked at, by whoever finds nobody else looking; so no
    /// thread waits for it, and it costs some ten nanoseconds a decision, or twice that where most keys are new.
    #[must_use]
    pub fn heaviest(mut self, k: usize) -> Self {
        self.names = (k > 0).then(|| Names { sampled: Sampled::new(k), own: own::<K> });
        self
    }
}

impl<K: Hash + ?Sized, C: Clock> Keyed<K, C> {
    /// Counts a decision on a key.
    #[inline]
    pub(super) fn count(&self, key: &K, now: u64, is_granted: bool) {
        self.counts.add(if is_granted { GRANTED } else { REFUSED }, 1);
        if let Some(names) = &self.names {
            names.sampled.note(|| self.digest(key), now, || (names.own)(key));
        }
    }
}

impl<K: Hash + ToOwned<Owned: Clone + 'static> + ?Sized, C: Clock> Keyed<K, C> {
    /// The keys that are decided on most, the heaviest first, and how often in the last minutes: as many as were
    /// [asked for](KeyedBuilder::heaviest), and none if nobody asked.
    ///
    /// ```
    /// use sluicegate::keyed::Keyed;
    ///
    /// let names = Keyed::<str>::builder().class(["10/s".parse()?]).heaviest(5).build()?;
    /// for nth in 0..100_000 {
    ///     let _ = names.try_take("eve", 1);
    ///     let _ = names.try_take(&format!("user {nth}"), 1);
    /// }
    /// let heaviest = names.heaviest();
    /// assert_eq!(heaviest[0].key, "eve");
    /// assert!(heaviest[0].at_least > 45_000 && heaviest[1].at_least < 2000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn heaviest(&self) -> Vec<Heavy<K::Owned>> {
        self.heaviest_at(self.now())
    }

    /// [`heaviest`](Self::heaviest) at `now`.
    #[must_use]
    pub fn heaviest_at(&self, now: u64) -> Vec<Heavy<K::Owned>> {
        let Some(names) = &self.names else { return Vec::new() };
        let named = |Heavy { key, at_most, at_least }: Heavy<Name>| {
            let key = key.downcast_ref::<K::Owned>()?.clone();
            Some(Heavy { key, at_most, at_least })
        };
        names.sampled.top(now).into_iter().filter_map(named).collect()
    }
}
