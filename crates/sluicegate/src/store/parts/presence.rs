//! Who says that it is there.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sluicegate_core::clock::nanos;

use crate::store::StoreError;

/// How many instances a group can have, and how many groups there can be.
const MOST: usize = 4096;

/// Who says that it is there, for a store whose instances are all in one process: at most 4096 in a group, and as many groups.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::store::parts::Presence;
///
/// let (presence, ttl) = (Presence::default(), Duration::from_nanos(10));
/// assert_eq!(presence.beat("gateways", b"one", ttl, 0)?, 1);
/// assert_eq!(presence.beat("gateways", b"two", ttl, 5)?, 2);
/// assert_eq!(presence.beat("gateways", b"two", ttl, 10)?, 1, "the first has said nothing for ten");
/// # Ok::<(), sluicegate::store::StoreError>(())
/// ```
#[derive(Debug, Default)]
pub struct Presence(Mutex<HashMap<Box<str>, Members>>);

/// When each instance is gone if it does not say again that it is there: nanoseconds on the store's clock.
type Members = HashMap<Box<[u8]>, u64>;

impl Presence {
    /// As [`Store::beat`](crate::store::Store::beat), at an instant of the store's clock, in nanoseconds.
    ///
    /// # Errors
    /// If there is no room for another group, or for another instance in this one.
    pub fn beat(&self, group: &str, instance: &[u8], ttl: Duration, now: u64) -> Result<u64, StoreError> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !groups.contains_key(group) && groups.len() >= MOST {
            return Err(StoreError::unsupported("group", group, format!("one of at most {MOST} groups")));
        }
        let members = groups.entry(group.into()).or_default();
        members.retain(|_, until| *until > now);
        if ttl.is_zero() {
            members.remove(instance);
        } else if members.len() < MOST || members.contains_key(instance) {
            members.insert(instance.into(), now.saturating_add(nanos(ttl)));
        } else {
            return Err(StoreError::unsupported(
                "group",
                group,
                format!("one of at most {MOST} instances, which it has"),
            ));
        }
        let there = members.len() as u64;
        if there == 0 {
            groups.remove(group);
        }
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_beat_is_gone_and_groups_are_told_apart() {
        let presence = Presence::default();
        let beat = |group: &str, instance: &[u8], ttl, now| {
            presence.beat(group, instance, Duration::from_nanos(ttl), now).unwrap()
        };
        assert_eq!((beat("g", b"a", 10, 0), beat("g", b"b", 20, 0), beat("h", b"c", 10, 0)), (1, 2, 1));
        assert_eq!(beat("g", b"a", 10, 9), 2);
        assert_eq!(beat("g", b"a", 10, 15), 2);
        assert_eq!(beat("g", b"b", 10, 25), 1, "the first has not said so for ten");
        assert_eq!(beat("g", b"b", 0, 26), 0);
        assert!(!presence.0.lock().unwrap().contains_key("g"));
    }

    #[test]
    fn instances_are_bounded() {
        let presence = Presence::default();
        for instance in 0..MOST {
            presence.beat("g", &instance.to_le_bytes(), Duration::MAX, 0).unwrap();
        }
        let error = presence.beat("g", b"more", Duration::MAX, 0).unwrap_err();
        assert_eq!(error.to_string(), "group `g`: expected one of at most 4096 instances, which it has");
        assert_eq!(presence.beat("g", &0_usize.to_le_bytes(), Duration::MAX, 0).unwrap(), MOST as u64);
    }
}
