//! What only this store has: bounds, and a table. What every store promises is in the testkit's suite.

use sluicegate_core::decision::Decision;

use std::pin::pin;

use super::*;
use crate::store::Store;
use crate::timer::ManualTime;

const SECOND: u64 = 1_000_000_000;

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

fn memory(max_keys: usize) -> Memory<ManualTime> {
    Memory::with_clock(ManualTime::new()).with_max_keys(max_keys)
}

fn left(verdict: &Verdict) -> Vec<u64> {
    verdict.each.iter().map(Decision::remaining).collect()
}

#[test]
fn two_keys_beyond_the_cap_are_both_charged_to_the_bucket_they_share() {
    let memory = memory(1);
    let four = quota("stock 4");
    let charge = |key: &'static [u8], n| Charge::new("s", key, &four).of(n);
    let _ = memory.take_at(&[charge(b"own", 1)], 0).unwrap();
    let verdict = memory.take_at(&[charge(b"a", 1), charge(b"own", 1), charge(b"b", 2)], 0).unwrap();
    assert!(verdict.is_granted());
    assert_eq!(left(&memory.peek_at(&[charge(b"c", 0), charge(b"own", 0)], 0).unwrap()), [1, 2]);
    let refused = memory.take_at(&[charge(b"a", 1), charge(b"b", 1), charge(b"own", 1)], 0).unwrap();
    assert!(!refused.is_granted(), "each alone would be granted, both are not");
    assert_eq!(left(&memory.peek_at(&[charge(b"c", 0), charge(b"own", 0)], 0).unwrap()), [1, 2]);
    assert_eq!((memory.keys("s"), memory.overflowed("s")), (1, 4), "peeks are not counted");
}

#[test]
fn a_space_that_is_full_is_full_for_no_other() {
    let memory = memory(1);
    let one = quota("stock 1");
    for (space, key) in [("a", b"1"), ("b", b"1"), ("b", b"2"), ("c", b"1")] {
        assert!(memory.take_at(&[Charge::new(space, key, &one)], 0).unwrap().is_granted());
    }
    assert_eq!(["a", "b", "c", "none"].map(|space| memory.keys(space)), [1, 1, 1, 0]);
    assert_eq!(["a", "b", "c", "none"].map(|space| memory.overflowed(space)), [0, 1, 0, 0]);
    memory.set_max_keys("a", 2).unwrap();
    for key in [b"2", b"3"] {
        let _ = memory.take_at(&[Charge::new("a", key, &one)], 0).unwrap();
    }
    assert_eq!((memory.keys("a"), memory.overflowed("a")), (2, 1));
}

#[test]
fn spaces_are_bounded() {
    let (memory, any) = (memory(1), quota("1/s"));
    for space in 0..MAX_SPACES {
        let _ = memory.take_at(&[Charge::new(&space.to_string(), b"", &any)], 0).unwrap();
    }
    let error =
        memory.take_at(&[Charge::new("0", b"", &any), Charge::new("more", b"", &any)], 0).unwrap_err();
    assert_eq!(error.to_string(), "space `more`: expected one of at most 4096 spaces");
}

#[test]
fn quotas_that_nobody_uses_any_more_leave_nothing() {
    let memory = memory(MAX_KEYS);
    let space = |memory: &Memory<ManualTime>| memory.space("s").unwrap();
    for capacity in 1..20_000_u64 {
        let each = quota("1/ns").burst(capacity).unwrap();
        // One key under ever new quotas, and ever new keys that are full again soon.
        for key in [b"same".to_vec(), capacity.to_le_bytes().to_vec()] {
            let _ = memory.take_at(&[Charge::new("s", &key, &each)], capacity * 10).unwrap();
        }
    }
    let classes = space(&memory).keyed.classes();
    assert!(classes < 64 * 20, "{classes} quotas for {} keys", memory.keys("s"));
}

/// However many quotas there are in a shard, a key has the tokens it should; those that find no room share.
#[test]
fn more_quotas_than_a_table_knows_share_and_are_counted() {
    // As many keys as all shards together know quotas, which are not evenly spread.
    let memory = memory(65_536);
    for capacity in 1..=65_536_u64 {
        let each = Quota::stock(capacity).unwrap();
        let _ = memory.take_at(&[Charge::new("s", &capacity.to_le_bytes(), &each)], 0).unwrap();
    }
    let (keys, overflowed) = (memory.keys("s") as u64, memory.overflowed("s"));
    assert!(overflowed > 0 && keys + overflowed == 65_536, "{keys} keys, {overflowed} shared");
}

#[test]
fn a_quota_that_changes_where_the_bucket_is_shared_mints_nothing() {
    let memory = memory(0);
    let (old, new) = (quota("stock 10"), quota("stock 20"));
    assert_eq!(memory.take_up_to_at(Charge::new("s", b"a", &old).of(7), 0).unwrap(), 7);
    assert_eq!(memory.take_up_to_at(Charge::new("s", b"b", &new).of(20), 0).unwrap(), 3);
}

#[test]
fn a_key_s_bytes_and_its_parts_are_one_key() {
    let keyed = Keys::new(quota("stock 5"), 10, 0);
    let part = Some(b"ann".as_slice());
    assert_eq!(keyed.key([part, None]).digest(), keyed.digest(&crate::store::key([part, None])));
}

#[test]
fn a_limit_is_charged_as_its_space_is() {
    let memory = memory(10);
    let five = quota("stock 5");
    let limit = memory.limit("s", five).unwrap();
    let part = Some(b"ann".as_slice());
    assert_eq!(limit.key([part]).take(2, 0).remaining(), 3);
    let bytes = crate::store::key([part]);
    assert_eq!(left(&memory.take_at(&[Charge::new("s", &bytes, &five)], 0).unwrap()), [2]);
    assert_eq!((limit.keys(), memory.keys("s")), (1, 1));
}

/// As when a configuration changes while requests of the old one are on their way.
#[test]
fn two_quotas_by_turns_on_one_space_mint_nothing() {
    let memory = memory(10);
    let [small, large] = ["stock 5", "stock 50"].map(|text| memory.limit("s", quota(text)).unwrap());
    let part = || [Some(b"ann".as_slice())];
    assert_eq!(large.key(part()).take_up_to(47, 0), 47);
    for _ in 0..10 {
        assert!(!small.key(part()).take(4, 0).is_granted());
        assert!(!large.key(part()).take(4, 0).is_granted());
    }
    assert_eq!(small.key(part()).take_up_to(9, 0) + large.key(part()).take_up_to(9, 0), 3);
}

#[test]
fn a_space_that_is_removed_goes_on_for_those_who_have_it() {
    let memory = memory(10);
    let [gone, kept] = ["gone", "kept"].map(|space| memory.limit(space, quota("stock 5")).unwrap());
    let limits = Limits::new(vec![gone.clone(), kept.clone()]).unwrap();
    let part = || [Some(b"ann".as_slice())];
    let take = || Limits::charge(&limits, 0, |_, limit| Some((limit.key(part()), 2))).unwrap();
    let _ = take().keep();
    let taken = take();
    memory.retain_spaces(|space| space == "kept");
    drop(taken);
    assert_eq!((gone.key(part()).take_up_to(9, 0), kept.key(part()).take_up_to(9, 0)), (3, 3));
    assert_eq!((memory.keys("gone"), memory.keys("kept")), (0, 1));
    let again = memory.limit("gone", quota("stock 5")).unwrap();
    assert_eq!(again.key(part()).take_up_to(9, 0), 5, "another limit of the same name");
}

/// What somebody waits for is the limit by its name, not the one that was removed.
#[test]
fn who_watches_a_space_that_is_removed_watches_the_next_of_its_name() {
    let memory = memory(10);
    let none = quota("1/d burst 5 initial 0");
    let charge = || Charge::new("s", b"ann", &none);
    let mut watch = pin!(memory.watch(charge()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(watch.as_mut().poll(&mut context).is_pending());
    memory.retain_spaces(|_| false);
    assert!(watch.as_mut().poll(&mut context).is_pending());
    memory.put_at(charge(), 0).unwrap();
    assert!(watch.as_mut().poll(&mut context).is_ready());
}

/// What goes back with a dropped guard is told to those who wait for it.
#[test]
fn a_charge_that_is_dropped_wakes_who_waits_for_its_key() {
    struct Woken(AtomicUsize);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (memory, one) = (memory(10), quota("stock 1"));
    let limits = Limits::from(memory.limit("s", one).unwrap());
    let part = || [Some(b"ann".as_slice())];
    let taken = Limits::charge(&limits, 0, |_, limit| Some((limit.key(part()), 1))).unwrap();
    let bytes = crate::store::key(part());
    let mut watch = pin!(memory.watch(Charge::new("s", &bytes, &one)));
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Arc::clone(&woken).into();
    let mut context = std::task::Context::from_waker(&waker);
    assert!(watch.as_mut().poll(&mut context).is_pending());
    drop(taken);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(watch.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_sweep_forgets_what_is_full_again() {
    let time = ManualTime::new();
    let memory = Memory::with_clock(time.clone());
    let each = quota("1/s");
    for key in 0..1000_u64 {
        let _ = memory.take_at(&[Charge::new("s", &key.to_le_bytes(), &each)], 0).unwrap();
    }
    memory.sweep(0, 1);
    assert_eq!(memory.keys("s"), 1000);
    time.set(SECOND);
    (0..4).for_each(|part| memory.sweep(part, 4));
    assert_eq!(memory.keys("s"), 0);
}

/// Many keys in few shards, most of them beyond the cap, in any order and by several quotas: nobody is locked out, and no
/// bucket grants more than it has.
#[test]
fn threads_in_any_order_over_shared_buckets_never_lock_each_other_out() {
    let memory = memory(3);
    let quotas = [quota("stock 900"), quota("stock 700")];
    let granted: Vec<u64> = std::thread::scope(|scope| {
        let work = |thread: usize| {
            let (memory, quotas) = (&memory, &quotas);
            move || {
                let mut granted = 0;
                for turn in 0..3000_usize {
                    let names: Vec<[u8; 8]> =
                        (0..5).map(|nth| ((turn * 7 + nth * (thread + 1)) % 50).to_le_bytes()).collect();
                    let mut charges: Vec<Charge<'_>> = names
                        .iter()
                        .zip(0_usize..)
                        .map(|(name, nth)| Charge::new(["a", "b"][(nth + turn) % 2], name, &quotas[nth % 2]))
                        .collect();
                    if thread.is_multiple_of(2) {
                        charges.reverse();
                    }
                    granted +=
                        u64::from(memory.take_at(&charges, 0).is_ok_and(|verdict| verdict.is_granted()));
                }
                granted
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // Two spaces of three keys and two shared buckets each.
    let most = 2 * (3 + 1) * 900 + 2 * 700;
    let charged = granted.iter().sum::<u64>() * 5;
    assert!(charged > 900 && charged <= most, "{charged} tokens of {most}");
}
