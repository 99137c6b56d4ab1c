//! Keys limits against plain models.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn keyed(quota: &str, max_keys: usize) -> Keys {
    Keys::new(quota.parse().unwrap(), max_keys, 0)
}

fn name(keyed: &Keys, name: u64) -> Key<'_> {
    keyed.key([Some(name.to_le_bytes().as_slice())])
}

#[test]
fn parts_of_a_key_are_told_apart() {
    let keyed = keyed("1/s", 10);
    let key = |parts: &[Option<&str>]| keyed.key(parts.iter().map(|part| part.map(str::as_bytes)));
    assert_ne!(key(&[Some("a"), Some("bc")]), key(&[Some("ab"), Some("c")]));
    assert_ne!(key(&[Some("user_x"), Some("path")]), key(&[Some("user"), Some("x_path")]));
    assert_ne!(key(&[None]), key(&[Some("")]));
    assert_eq!(key(&[Some("a"), None]), key(&[Some("a"), None]));
    let other = Keys::new(keyed.quota(), 10, 0);
    assert_ne!(key(&[Some("a")]), other.key([Some(b"a".as_slice())]), "seeds are random");
}

#[test]
fn the_cap_is_exact_and_those_beyond_share_one_bucket() {
    let keyed = keyed("10/s", 100);
    for key in 0..100 {
        assert!(name(&keyed, key).take(1, 0).is_granted());
    }
    let granted = (100..10_000).filter(|&key| name(&keyed, key).take(1, 0).is_granted()).count();
    assert_eq!((granted, keyed.len(), keyed.overflowed()), (10, 100, 9_900));
    assert_eq!(name(&keyed, 7).take(1, 0).remaining(), 8, "a key with a place keeps it");
}

#[test]
fn where_they_are_refused_a_key_without_a_place_gets_nothing_and_is_told_no_instant() {
    let keyed = keyed("10/s", 1).with_at_cap(AtCap::Refuse);
    assert!(name(&keyed, 1).take(1, 0).is_granted());
    let refused = name(&keyed, 2).take(1, 0);
    assert!(
        matches!(refused, Decision::Later { retry_after: None, limit: 10, remaining: 0, .. }),
        "{refused}"
    );
    assert!(name(&keyed, 2).take(11, 0).is_never() && name(&keyed, 2).take(0, 0).is_granted());
    assert_eq!((name(&keyed, 2).take_up_to(5, 0), name(&keyed, 2).put(5, 0)), (0, 0));
    assert_eq!((keyed.len(), keyed.crowding().refused, keyed.overflowed()), (1, 2, 0));
    // As soon as the first is full again, there is a place.
    assert!(name(&keyed, 2).take(1, SECOND / 10).is_granted());
}

#[test]
fn where_they_are_evicted_the_fullest_goes_and_what_it_may_spend_again_is_counted() {
    let keyed = keyed("10/s", 4).with_at_cap(AtCap::Evict);
    for (key, n) in [(1, 9), (2, 3), (3, 8), (4, 7)] {
        assert!(name(&keyed, key).take(n, 0).is_granted());
    }
    assert!(!name(&keyed, 5).take(11, 0).is_granted() && keyed.crowding() == Crowding::default());
    assert_eq!(name(&keyed, 5).take(10, 0).remaining(), 0);
    assert_eq!((keyed.len(), keyed.crowding().evicted, keyed.crowding().minted), (4, 1, 3));
    let peeked = |key| name(&keyed, key).take(0, 0).remaining();
    assert_eq!([1, 3, 4, 5].map(peeked), [1, 2, 3, 0], "those who had less stay");
}

/// Where a bucket begins with less than it holds, one that is as it began lacks some, but gets no more of them by beginning anew.
#[test]
fn who_is_as_if_never_used_goes_first_and_mints_nothing() {
    let keyed = keyed("1/s burst 6 initial 2", 4).with_at_cap(AtCap::Evict);
    let digest = name(&keyed, 1).digest;
    for key in 1..=4 {
        assert!(name(&keyed, key).take(1, 0).is_granted());
    }
    assert_eq!(name(&keyed, 3).put(4, 0), 4);
    let fullest = || keyed.shard(digest).fullest(digest, 0);
    assert_eq!(fullest().map(|(_, missing)| missing), Some(1), "it has 5 of 6, and the others 1");
    assert_eq!(name(&keyed, 2).put(1, 0), 1);
    let at = keyed.shard(digest).find(name(&keyed, 2).digest).unwrap();
    assert_eq!(fullest(), Some((at, 0)), "2 of 6, as it began");
}

#[test]
fn what_a_flood_took_is_given_back() {
    let keyed = keyed("1/s", 100_000);
    for key in 0..50_000 {
        let _ = name(&keyed, key).take(1, 0);
    }
    let places = || keyed.shards().iter().map(|part| lock(&part.0).places()).sum::<usize>();
    assert!((50_000..70_000).contains(&places()), "{} places", places());
    keyed.sweep(0, 1, SECOND);
    assert_eq!((keyed.len(), places()), (0, 0));
}

#[test]
fn keys_are_forgotten_once_they_are_full_again_and_not_before() {
    let keyed = keyed("1/s burst 2", 10_000);
    for key in 0..10_000 {
        assert!(name(&keyed, key).take(2, 0).is_granted());
    }
    for key in 0..10_000 {
        assert_eq!(name(&keyed, key).take(0, SECOND).remaining(), 1, "{key}");
    }
    assert_eq!(keyed.len(), 10_000, "none is full after a second");
    // Each that is asked and not there looks at four places of its shard, which has fewer than 500.
    let mut asked = vec![0; keyed.shards().len()];
    for other in (20_000..).take_while(|_| !keyed.is_empty()) {
        let key = name(&keyed, other);
        let _ = key.take(0, 2 * SECOND);
        let shard = keyed.shard_of(key.digest());
        asked[shard] += 1;
        assert!(
            asked[shard] < 250 || lock(&keyed.shards()[shard].0).len() == 0,
            "{} keys are left",
            keyed.len()
        );
    }
    // At the cap the first that ask may have found a stretch of their shard where nobody stands: behind the homes, as a rule.
    let before = keyed.overflowed();
    for key in 0..10_000 {
        assert!(name(&keyed, key).take(2, 2 * SECOND).is_granted(), "{key}");
    }
    assert_eq!(keyed.overflowed(), before, "places that were given up can be had again");
}

#[test]
fn without_traffic_a_sweep_forgets_what_is_full_again() {
    let first = keyed("1/s burst 2", 10_000);
    for key in 0..5_000 {
        assert!(name(&first, key).take(1, 0).is_granted());
    }
    let all = |now| (0..10).for_each(|part| first.sweep(part, 10, now));
    all(SECOND - 1);
    assert_eq!(first.len(), 5_000);
    all(SECOND);
    assert_eq!(first.len(), 0);
}

#[test]
fn a_key_that_starts_with_nothing_gets_its_first_token_when_it_was_told() {
    let keyed = keyed("10/s initial 0", 10);
    let refused = name(&keyed, 1).take(1, 0);
    let wait = u64::try_from(refused.retry_after().unwrap().as_nanos()).unwrap();
    assert!(!name(&keyed, 1).take(1, wait - 1).is_granted());
    assert!(name(&keyed, 1).take(1, wait).is_granted());
}

#[test]
fn a_key_that_is_refused_or_asks_for_nothing_takes_no_place() {
    let keyed = keyed("1/s", 10);
    assert!(!name(&keyed, 1).take(2, 0).is_granted());
    assert!(name(&keyed, 2).take(0, 0).is_granted());
    assert!(keyed.is_empty());
}

#[test]
fn a_table_begins_when_it_is_made() {
    let keyed = Keys::new("stock 5 max 10".parse().unwrap(), 10, 0);
    assert_eq!(name(&keyed, 1).take(0, 0).remaining(), 5);
    let late = Keys::new("1/s burst 5 initial 0".parse().unwrap(), 10, 100 * SECOND);
    assert_eq!(name(&late, 1).take(0, 100 * SECOND).remaining(), 0);
    assert_eq!(name(&late, 1).take(0, 103 * SECOND).remaining(), 3);
}

proptest! {
    /// Against a plain map of buckets that are never forgotten: forgetting makes no difference.
    #[test]
    fn behaves_like_a_map_that_never_forgets(
        quota in prop::sample::select(vec![
            "3/s", "12345/s burst 4", "2 every 300ms burst 5", "stock 4", "3/s initial 0", "12345/s burst 4 initial 1",
            "2 every 300ms burst 5 initial 2", "stock 2 max 4",
        ]),
        ops in prop::collection::vec((0_u64..40, 0_u64..4, 0_u64..400_000_000), 1..400),
    ) {
        let keyed = keyed(quota, 1000);
        let bucket = Bucket::new(quota.parse().unwrap());
        let (mut map, mut now) = (HashMap::new(), 0);
        for (key, n, later) in ops {
            now += later;
            let state = map.entry(key).or_insert(bucket.start());
            let (expected, next) = bucket.take(*state, n, now);
            *state = next;
            prop_assert_eq!(name(&keyed, key).take(n, now), expected);
            prop_assert!(keyed.len() <= 40);
            let stored: usize = keyed.shards().iter().map(|part| lock(&part.0).len()).sum();
            prop_assert_eq!(stored, keyed.len());
        }
    }
}
