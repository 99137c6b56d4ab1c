//! The quotas that keys have, each compiled once.

use std::collections::HashMap;

use sluicegate::bucket::Bucket;
use sluicegate::quota::{Quota, Refill};

/// What a quota is made of.
type Parts = (Refill, u64, u64);

const fn parts(quota: &Quota) -> Parts {
    (quota.refill(), quota.capacity(), quota.starts_with())
}

/// A list with free places.
#[derive(Debug, Default)]
pub(super) struct Classes {
    list: Vec<(Bucket, usize)>,
    index: HashMap<Parts, u32>,
    free: Vec<u32>,
}

impl Classes {
    pub(super) fn bucket(&self, class: u32) -> &Bucket {
        &self.list[class as usize].0
    }

    /// The arithmetic of a quota that some key has.
    pub(super) fn find(&self, quota: &Quota) -> Option<&Bucket> {
        self.index.get(&parts(quota)).map(|class| self.bucket(*class))
    }

    /// The number of a quota, with one more key that has it.
    pub(super) fn pin(&mut self, bucket: &Bucket) -> u32 {
        let class = *self.index.entry(parts(bucket.quota())).or_insert_with(|| {
            if let Some(free) = self.free.pop() {
                self.list[free as usize] = (*bucket, 0);
                return free;
            }
            self.list.push((*bucket, 0));
            #[expect(clippy::cast_possible_truncation, reason = "no more than there are keys, at most 2^31")]
            let last = (self.list.len() - 1) as u32;
            last
        });
        self.list[class as usize].1 += 1;
        class
    }

    /// One key less has it.
    pub(super) fn unpin(&mut self, class: u32) {
        let (bucket, users) = &mut self.list[class as usize];
        *users -= 1;
        if *users == 0 {
            self.index.remove(&parts(bucket.quota()));
            self.free.push(class);
        }
    }
}
