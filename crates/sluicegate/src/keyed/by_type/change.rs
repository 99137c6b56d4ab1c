//! Other quotas for the keys of a class, and another class for a key.

use std::hash::Hash;
use std::sync::atomic::Ordering;

use sluicegate_core::clock::Clock;
use sluicegate_core::quota::Quota;

use super::build::check;
use super::{Keyed, KeyedError, kinds};
use crate::keyed::lock;
use crate::keyed::shard::Wanted;

impl<K: Hash + ?Sized, C: Clock> Keyed<K, C> {
    /// Changes the quota of class 0, which is that of all keys where there are no classes. See [`set_quotas`](Self::set_quotas).
    ///
    /// ```
    /// use sluicegate::keyed::Keyed;
    ///
    /// let names = Keyed::<str>::new("10/m".parse()?, 1000);
    /// assert!(names.try_take("ann", 7).is_granted());
    /// names.set_quota("100/m".parse()?);
    /// assert_eq!(names.peek("ann", 0).remaining(), 3, "nothing is minted");
    /// assert_eq!(names.peek("bob", 0).remaining(), 100, "a key never seen is new");
    /// # Ok::<(), sluicegate::quota::QuotaError>(())
    /// ```
    pub fn set_quota(&self, quota: Quota) {
        self.set_quota_at(quota, self.now());
    }

    /// [`set_quota`](Self::set_quota) at `now`.
    pub fn set_quota_at(&self, quota: Quota, now: u64) {
        self.replace(0, &[quota], now);
    }

    /// Changes the quotas of a class while it is used. Every key of it keeps the whole tokens it has in each, as far as they
    /// fit the one that has its place now; nothing is minted. What a key has of a quota that is no longer there is forgotten, and
    /// one that was not there begins anew.
    ///
    /// Goes through all keys, some thousand at a time: while it runs, which may take a tenth of a second for ten million, some
    /// are decided by the old quotas and some by the new.
    ///
    /// # Errors
    /// If there is no such class, or it would have no quota or more than 8; or all would have more than 500.
    pub fn set_quotas(
        &self,
        class: usize,
        quotas: impl IntoIterator<Item = Quota>,
    ) -> Result<(), KeyedError> {
        self.set_quotas_at(class, quotas, self.now())
    }

    /// [`set_quotas`](Self::set_quotas) at `now`.
    ///
    /// # Errors
    /// As [`set_quotas`](Self::set_quotas).
    pub fn set_quotas_at(
        &self,
        class: usize,
        quotas: impl IntoIterator<Item = Quota>,
        now: u64,
    ) -> Result<(), KeyedError> {
        let quotas: Vec<Quota> = quotas.into_iter().collect();
        let mut lengths: Vec<usize> = self.classes.load().iter().map(Vec::len).collect();
        let classes = lengths.len();
        *lengths.get_mut(class).ok_or(KeyedError::NoClass { class, classes })? = quotas.len();
        check(&lengths)?;
        self.replace(class, &quotas, now);
        Ok(())
    }

    /// `quotas` are as many as a class may have.
    fn replace(&self, class: usize, quotas: &[Quota], now: u64) {
        let changing = lock(&self.changing);
        let Ok(number) = u16::try_from(class) else { return };
        let kinds = kinds(number, quotas);
        let mut classes = (**self.classes.load()).clone();
        classes[class].clone_from(&kinds);
        self.classes.store(classes.into());
        for part in self.keys.shards() {
            let gone = lock(&part.0).requote(number, &kinds, &self.keys.recent, self.since(now));
            self.keys.forget(gone);
        }
        drop(changing);
    }

    /// The class of a key: the one that it was given or has, and for a key that is as if never used what the function says.
    pub fn class(&self, key: &K) -> usize {
        self.class_at(key, self.now())
    }

    /// [`class`](Self::class) at `now`.
    pub fn class_at(&self, key: &K, now: u64) -> usize {
        self.locked(key, now, |_, _, kinds| kinds.first().map_or(0, |kind| usize::from(kind.class)))
    }

    /// Gives a key another class than the function says, until [`reset_class`](Self::reset_class) or [`remove`](Self::remove). It
    /// keeps the tokens that it has, as [`set_quotas`](Self::set_quotas) says. So that its class is not forgotten, neither is the
    /// key: it keeps its place also while it is full.
    ///
    /// ```
    /// use sluicegate::keyed::Keyed;
    ///
    /// let names = Keyed::<str>::builder().class(["10/s".parse()?]).class(["500/s".parse()?]).build()?;
    /// names.set_class("ann", 1)?;
    /// assert_eq!(names.peek("ann", 0).remaining(), 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such class, or the key has no place and there is none to be had, whatever the policy at the cap is.
    pub fn set_class(&self, key: &K, class: usize) -> Result<(), KeyedError> {
        self.set_class_at(key, class, self.now())
    }

    /// [`set_class`](Self::set_class) at `now`.
    ///
    /// # Errors
    /// As [`set_class`](Self::set_class).
    pub fn set_class_at(&self, key: &K, class: usize, now: u64) -> Result<(), KeyedError> {
        let classes = self.classes.load().len();
        if class >= classes {
            return Err(KeyedError::NoClass { class, classes });
        }
        let (digest, since) = (self.digest(key), self.since(now));
        let mut shard = self.keys.shard(digest);
        if shard.find(digest).is_none() {
            self.keys.forget(shard.sweep(super::super::SWEPT_AT_CAP, since));
            let max_keys = self.keys.max_keys.load(Ordering::Relaxed);
            let no_place = KeyedError::NoPlace { max_keys };
            // Beside other buckets of the key, the first is as full as it can be.
            let had = self.class_in(&shard, digest, now).unwrap_or(class);
            let kinds = self.classes.load();
            let kind = kinds.get(had).and_then(|kinds| kinds.first()).ok_or(no_place)?;
            if !self.keys.reserve() {
                return Err(no_place);
            }
            let Some(number) = shard.pin(Wanted::Kind(kind), &self.keys.recent) else {
                self.keys.forget(1);
                return Err(no_place);
            };
            let start = shard.bucket(number).start();
            self.keys.forget(shard.insert(digest, number, start, since));
        }
        self.move_bands(&mut shard, digest, class, since);
        if let Some(slot) = shard.find(digest).and_then(|at| shard.get_mut(at)) {
            slot.keep_for_good();
        }
        Ok(())
    }

    /// Gives a key the class again that the function says. It keeps its tokens, and is forgotten again once it is full.
    pub fn reset_class(&self, key: &K) {
        self.reset_class_at(key, self.now());
    }

    /// [`reset_class`](Self::reset_class) at `now`.
    pub fn reset_class_at(&self, key: &K, now: u64) {
        let class = self.classify.as_ref().map_or(0, |classify| classify(key));
        let digest = self.digest(key);
        let mut shard = self.keys.shard(digest);
        if let Some(slot) =
            shard.find(digest).and_then(|at| shard.get_mut(at)).filter(|slot| slot.is_kept_for_good())
        {
            slot.let_go();
            self.move_bands(&mut shard, digest, class, self.since(now));
        }
    }

    /// Has each bucket of a key that is there be one of this class.
    fn move_bands(
        &self,
        shard: &mut crate::keyed::shard::Shard,
        digest: crate::keyed::Digest,
        class: usize,
        since: u64,
    ) {
        let classes = self.classes.load();
        let kinds = &classes[class.min(classes.len() - 1)];
        for band in 0..super::BANDS {
            let Some(at) = shard.find(digest.band(band)) else { continue };
            match kinds.get(band) {
                Some(kind) => shard.give(at, kind, &self.keys.recent, since),
                None => {
                    shard.remove(at);
                    self.keys.forget(1);
                }
            }
        }
    }
}
