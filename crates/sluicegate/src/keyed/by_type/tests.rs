//! What a limiter by a key's type adds to the table.

mod model;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use sluicegate_core::clock::ManualClock;

use super::*;
use crate::keyed::AtCap;

const SECOND: u64 = 1_000_000_000;

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

fn of_classes(classes: &[&[&str]]) -> Keyed<str, ManualClock> {
    let builder = classes
        .iter()
        .fold(Keyed::builder(), |builder, quotas| builder.class(quotas.iter().map(|text| quota(text))));
    builder.classify(|name: &str| usize::from(name.starts_with('b'))).build_with(ManualClock::new()).unwrap()
}

#[test]
fn keys_of_any_type_are_told_apart_and_equal_ones_are_one() {
    let names = Keyed::<str>::new(quota("stock 1"), 100);
    assert!(names.try_take("a", 1).is_granted() && !names.try_take(&String::from("a"), 1).is_granted());
    assert!(names.try_take("", 1).is_granted());
    let pairs = Keyed::<(u64, IpAddr)>::new(quota("stock 1"), 100);
    for (number, last) in [(1, 2), (2, 1), (1, 1)] {
        let key = (number, Ipv4Addr::new(10, 0, 0, last).into());
        assert!(pairs.try_take(&key, 1).is_granted() && !pairs.try_take(&key, 1).is_granted());
    }
    let bytes = Keyed::<[u8]>::new(quota("stock 1"), 100);
    assert!(bytes.try_take(&[0; 10_000], 1).is_granted() && bytes.try_take(&[0; 9999], 1).is_granted());
    assert_eq!((names.len(), pairs.len(), bytes.len()), (2, 3, 2));
}

#[test]
fn of_several_quotas_all_grant_or_none_is_charged() {
    let keyed = of_classes(&[&["10/s", "15 every 1m"]]);
    assert!(keyed.try_take_at("a", 10, 0).is_granted());
    let refused = keyed.try_take_at("a", 6, SECOND);
    assert_eq!(
        (refused.retry_after().unwrap().as_secs(), refused.remaining()),
        (59, 5),
        "the second says when"
    );
    assert_eq!(keyed.take_up_to_at("a", 100, SECOND), 5);
    assert_eq!(keyed.peek_at("a", 0, SECOND).remaining(), 0);
    assert_eq!(keyed.put_at("a", 3, SECOND), 3);
    assert!(keyed.peek_at("a", 3, SECOND).is_granted() && !keyed.peek_at("a", 4, SECOND).is_granted());
    assert_eq!((keyed.len(), keyed.iter_at(SECOND).count()), (2, 1), "two buckets of one key");
    let counts = keyed.counts();
    assert_eq!((counts.granted, counts.refused), (2, 1));
}

#[test]
fn a_class_is_asked_for_when_a_key_comes_and_under_no_lock() {
    let inner: Arc<OnceLock<Keyed<str, ManualClock>>> = Arc::default();
    let itself = Arc::clone(&inner);
    let classify = move |name: &str| {
        let Some(keyed) = itself.get() else { return 0 };
        // Had it a lock, this would wait for itself.
        if name != "other" {
            let _ = keyed.peek_at("other", 0, 0);
        }
        keyed.iter_at(0).count() + usize::from(name == "bob")
    };
    let classes = Keyed::<str>::builder().class([quota("10/s")]).class([quota("5/s")]);
    let keyed = classes.max_keys(1).classify(classify).build_with(ManualClock::new()).unwrap();
    inner.set(keyed).unwrap();
    let keyed = inner.get().unwrap();
    assert_eq!((keyed.class_at("ann", 0), keyed.class_at("bob", 0)), (0, 1));
    assert_eq!(keyed.try_take_at("ann", 3, 0).remaining(), 7);
    assert_eq!(
        keyed.try_take_at("ann", 3, 0).remaining(),
        4,
        "it keeps the class it had, whatever is said by now"
    );
    assert_eq!(keyed.class_at("ann", SECOND), 1, "until it is full again");
}

#[test]
fn a_class_that_is_given_stays_and_tokens_are_kept() {
    let keyed = of_classes(&[&["10/s"], &["100/s", "50/m"]]);
    assert_eq!((keyed.class("ann"), keyed.class("bob")), (0, 1));
    assert!(keyed.try_take_at("ann", 8, 0).is_granted());
    keyed.set_class_at("ann", 1, 0).unwrap();
    assert_eq!(keyed.peek_at("ann", 0, 0).remaining(), 2, "nothing is minted");
    keyed.sweep_at(0, 1, 3600 * SECOND);
    assert_eq!(
        (keyed.len(), keyed.class_at("ann", 3600 * SECOND)),
        (1, 1),
        "not forgotten, though it is full"
    );
    keyed.reset("ann");
    assert_eq!((keyed.peek_at("ann", 0, 0).remaining(), keyed.class_at("ann", 0)), (50, 1));
    let standing = keyed.iter_at(0).next().unwrap();
    assert!(standing.is_given && standing.class == 1);
    assert!(keyed.remove("ann") && !keyed.remove("ann"));
    assert_eq!((keyed.class_at("ann", 0), keyed.len()), (0, 0));

    keyed.set_class_at("eve", 1, 0).unwrap();
    keyed.reset_class_at("eve", 0);
    keyed.sweep_at(0, 1, 2 * 3600 * SECOND);
    assert!(keyed.is_empty());
    let error = keyed.set_class("ann", 2).unwrap_err();
    assert_eq!(error.to_string(), "class 2 is not there: expected 0 to 1");
}

#[test]
fn a_class_finds_no_place_where_there_is_none() {
    for at_cap in [AtCap::Share, AtCap::Refuse, AtCap::Evict] {
        let builder = Keyed::<str>::builder().class([quota("10/s")]).class([quota("5/s")]);
        let keyed = builder.max_keys(1).at_cap(at_cap).build_with(ManualClock::new()).unwrap();
        assert!(keyed.try_take_at("ann", 1, 0).is_granted());
        let error = keyed.set_class_at("bob", 1, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "max_keys 1 is reached: expected a higher one, or a key that has a place"
        );
        keyed.set_class_at("ann", 1, 0).unwrap();
        keyed.set_max_keys(2);
        keyed.set_class_at("bob", 1, SECOND).unwrap();
        assert_eq!(keyed.len(), 2);
    }
}

#[test]
fn quotas_change_for_a_class_and_no_other() {
    let keyed = of_classes(&[&["10/s"], &["10/s", "30/m"]]);
    for name in ["ann", "bob"] {
        assert!(keyed.try_take_at(name, 4, 0).is_granted());
    }
    keyed.set_quotas_at(1, [quota("100/s"), quota("5/m"), quota("50/h")], 0).unwrap();
    let left = |name| keyed.peek_at(name, 0, 0).remaining();
    assert_eq!((left("ann"), left("bob"), left("bea")), (6, 5, 5));
    keyed.set_quotas_at(1, [quota("7/s")], 0).unwrap();
    assert_eq!((left("bob"), keyed.len()), (6, 2), "what it had of the first");
    keyed.set_quota_at(quota("3/s"), 0);
    assert_eq!((left("ann"), left("bob")), (3, 6));
    assert!(format!("{keyed:?}").contains(r#"["3/s", "7/s"]"#), "{keyed:?}");
    let none = keyed.set_quotas_at(1, [], 0).unwrap_err();
    assert_eq!(none, KeyedError::Quotas { class: 1, quotas: 0 });
    assert_eq!(keyed.set_quotas_at(2, [], 0), Err(KeyedError::NoClass { class: 2, classes: 2 }));
    let many = Keyed::<str>::builder().class(vec![quota("1/s"); 9]).build().unwrap_err();
    assert_eq!(many.to_string(), "class 0 has 9 quotas: expected 1 to 8");
}

/// While it changes, and all are gone through, keys come and go on other threads; nobody gets more than the larger quota.
#[test]
fn it_changes_while_others_decide() {
    let keyed = Keyed::<u64, _>::with_clock(quota("stock 100"), 10_000, ManualClock::new());
    let granted: u64 = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    (0..30_000).filter(|n| keyed.try_take_at(&(n % 500), 1, 0).is_granted()).count() as u64
                })
            })
            .collect();
        for turn in 0..20 {
            keyed.set_quota_at(quota(if turn % 2 == 0 { "stock 70 max 100" } else { "stock 100" }), 0);
            assert!(keyed.iter_at(0).all(|standing| standing.decision.remaining() <= 100));
        }
        takers.into_iter().map(|taker| taker.join().unwrap()).sum()
    });
    let left: u64 = (0..500).map(|key| keyed.peek_at(&key, 0, 0).remaining()).sum();
    assert!(granted + left <= 500 * 100, "{granted} and {left}");
    assert_eq!(keyed.counts().granted, granted);
}
