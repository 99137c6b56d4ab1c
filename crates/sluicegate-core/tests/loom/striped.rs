//! The striped cell: what is lent, spent, taken back and put side by side, under every interleaving.
//!
//! Shares are of one or two tokens here, so that few steps empty them. Models of three threads run with at most 3
//! preemptions: whoever splits, lends or takes back does so under one lock, so what can go wrong lies between a section under
//! it and a compare-and-swap outside.

use loom::thread;
use sluicegate_core::bucket::Bucket;
use sluicegate_core::cell::striped::StripedCell;
use sluicegate_core::sync::Arc;

/// What a thread does, and how many tokens it keeps by that.
type Part = fn(&Bucket, &StripedCell) -> u64;

/// A new cell of two stripes, of which the first has a share.
fn split(quota: &str) -> (Bucket, Arc<StripedCell>) {
    let bucket = Bucket::new(quota.parse().unwrap());
    let cell = StripedCell::new(&bucket, 2);
    cell.split(&bucket, 0, 0);
    assert!(cell.is_split());
    (bucket, Arc::new(cell))
}

/// Runs each on a thread of its own, but the last on the one that is there, and adds up what they kept.
fn together<const N: usize>(bucket: Bucket, cell: &Arc<StripedCell>, parts: [Part; N]) -> u64 {
    let (last, others) = parts.split_last().unwrap();
    let spawn = |part: &Part| {
        let (part, cell) = (*part, Arc::clone(cell));
        thread::spawn(move || part(&bucket, &cell))
    };
    let others: Vec<_> = others.iter().map(spawn).collect();
    let own = last(&bucket, cell);
    others.into_iter().map(|other| other.join().unwrap()).sum::<u64>() + own
}

fn three_threads(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn take<const STRIPE: usize, const N: u64>(bucket: &Bucket, cell: &StripedCell) -> u64 {
    N * u64::from(cell.take(bucket, STRIPE, N, 0).is_ok())
}

/// Two threads: one spends its share, the other wants all that is there, and takes the share back.
#[test]
fn a_share_is_spent_or_taken_back() {
    loom::model(|| {
        let (bucket, cell) = split("stock 8");
        let granted = together(bucket, &cell, [take::<0, 1>, take::<1, 8>]);
        assert_eq!(granted + cell.available(&bucket, 0), 8);
        assert!(granted == 1 || granted == 8, "{granted}: nothing is refused that lies in a share");
    });
}

/// Two threads: both take until nothing is left, from shares, from the rest, by taking back.
#[test]
fn two_that_take_all_get_all() {
    three_threads(|| {
        let (bucket, cell) = split("stock 8");
        let all: [Part; 2] = [
            |bucket, cell| {
                take::<0, 1>(bucket, cell) + take::<0, 1>(bucket, cell) + take::<0, 4>(bucket, cell)
            },
            |bucket, cell| take::<1, 1>(bucket, cell) + take::<1, 3>(bucket, cell),
        ];
        let granted = together(bucket, &cell, all);
        assert!((6..=8).contains(&granted), "{granted}");
        assert_eq!(granted + cell.available(&bucket, 0), 8);
        assert_eq!(cell.take_up_to(&bucket, 9, 0), 8 - granted);
    });
}

/// Two threads: one takes while it is whole, the other splits it and spends.
#[test]
fn a_take_beside_the_splitting_is_neither_lost_nor_doubled() {
    loom::model(|| {
        let bucket = Bucket::new("stock 9".parse().unwrap());
        let cell = Arc::new(StripedCell::new(&bucket, 2));
        let parts: [Part; 2] = [take::<1, 1>, |bucket, cell| {
            cell.split(bucket, 0, 0);
            take::<0, 1>(bucket, cell)
        }];
        assert_eq!(together(bucket, &cell, parts), 2);
        assert_eq!(cell.available(&bucket, 0), 7);
    });
}

/// Three threads: one spends, one has a share lent, one puts.
#[test]
fn a_put_beside_lending_is_neither_lost_nor_doubled() {
    three_threads(|| {
        let (bucket, cell) = split("stock 8 max 9");
        let put: Part = |bucket, cell| {
            assert_eq!(cell.put(bucket, 1, 0), 1, "there is room");
            0
        };
        let granted = together(bucket, &cell, [take::<0, 1>, take::<1, 1>, put]);
        assert_eq!(granted, 2);
        assert_eq!(cell.available(&bucket, 0), 7);
    });
}

/// Three threads: one spends, another takes all, a third what is left.
#[test]
fn one_spends_while_two_take_back() {
    three_threads(|| {
        let (bucket, cell) = split("stock 8");
        let rest: Part = |bucket, cell| cell.take_up_to(bucket, 8, 0);
        let granted = together(bucket, &cell, [take::<0, 1>, take::<1, 7>, rest]);
        assert_eq!(granted + cell.available(&bucket, 0), 8);
        assert!(granted >= 7, "{granted}");
    });
}

/// Three threads on one stripe: of two tokens that lie there, none is spent twice.
#[test]
fn threads_that_share_a_stripe_share_its_tokens() {
    three_threads(|| {
        let (bucket, cell) = split("stock 16");
        assert_eq!(together(bucket, &cell, [take::<0, 1>, take::<0, 1>, take::<2, 1>]), 3);
        assert_eq!(cell.available(&bucket, 0), 13);
    });
}

/// Two threads, long after the share was lent: the bucket has been full since, and keeps the share's room; so what is spent
/// from the share and what is taken at that instant are no more than the bucket holds.
#[test]
fn at_one_instant_no_more_than_the_capacity_is_granted() {
    const LATER: u64 = 99_000;
    loom::model(|| {
        let (bucket, cell) = split("100000/s burst 8");
        let parts: [Part; 2] = [
            |bucket, cell| u64::from(cell.take(bucket, 0, 1, LATER).is_ok()),
            |bucket, cell| {
                let seven = 7 * u64::from(cell.take(bucket, 1, 7, LATER).is_ok());
                seven + cell.take_up_to(bucket, 8, LATER)
            },
        ];
        let granted = together(bucket, &cell, parts);
        let rest = cell.take_up_to(&bucket, 8, LATER);
        assert!(granted + rest == 8, "{granted} and {rest}");
    });
}
