//! Partitions, against a plain count.

use proptest::prelude::*;

use crate::concurrency::{Concurrency, Fixed, Outcome, Refusal, Settings, Ticket};

const SECOND: u64 = 1_000_000_000;

fn limits(limit: u32, shares: &[f64]) -> Concurrency<Fixed> {
    Concurrency::new(Settings::default().with_first(limit).unwrap().with_shares(shares).unwrap(), Fixed)
}

/// As many as are admitted.
fn fill(limits: &mut Concurrency<Fixed>, now: u64, partition: usize) -> Vec<Ticket> {
    std::iter::from_fn(|| limits.begin(now, partition).ok()).collect()
}

#[test]
fn what_others_do_not_need_is_lent_and_comes_back_as_requests_end() {
    let mut limits = limits(10, &[0.5, 0.3]);
    assert_eq!((limits.guarantee(0), limits.guarantee(1), limits.guarantee(2)), (5, 3, 0));
    let mut first = fill(&mut limits, 0, 0);
    assert_eq!(first.len(), 10, "nobody else asks");
    assert_eq!(limits.begin(0, 1).unwrap_err(), Refusal::Limit, "the bound for all is exact");
    // Now that 1 has asked, a place that gets free is its own.
    limits.end(first.pop().unwrap(), 1, Outcome::Good);
    assert_eq!(limits.begin(1, 0).unwrap_err(), Refusal::Share);
    assert_eq!(limits.begin(1, 7).unwrap_err(), Refusal::Share, "nor is it everybody else's");
    let one = limits.begin(1, 1).unwrap();
    assert_eq!((limits.in_flight_of(0), limits.in_flight_of(1), limits.in_flight()), (9, 1, 10));
    limits.end(one, 2, Outcome::Good);
    assert_eq!(limits.begin(SECOND, 0).unwrap_err(), Refusal::Share, "it wanted one a moment ago");
    assert!(limits.begin(3 * SECOND, 0).is_ok(), "and has not since");
}

#[test]
fn nobody_is_kept_from_its_share_by_who_asks_more_often() {
    let mut limits = limits(10, &[0.5, 0.3]);
    let mut held = fill(&mut limits, 0, 9);
    // Each time one ends, everybody else asks a hundred times, and then the others.
    for now in 0..100 {
        limits.end(held.remove(0), now, Outcome::Good);
        held.extend((0..100).filter_map(|_| limits.begin(now, 9).ok()));
        held.extend([0, 1].into_iter().filter_map(|it| limits.begin(now, it).ok()));
    }
    assert_eq!([0, 1, 9].map(|it| limits.in_flight_of(it)), [5, 3, 2]);
}

#[test]
fn with_no_place_to_guarantee_who_comes_first_is_served() {
    let mut limits = limits(1, &[0.5, 0.5]);
    assert_eq!(limits.guarantee(0), 0);
    let ticket = limits.begin(0, 0).unwrap();
    assert_eq!(limits.begin(0, 1).unwrap_err(), Refusal::Limit);
    limits.end(ticket, 1, Outcome::Good);
    assert!(limits.begin(1, 1).is_ok());
}

proptest! {
    /// At most the limit in all; within its guarantee nobody is refused while there is a place; beyond it, places are kept for who wanted them
    /// in this second or the one before.
    #[test]
    fn behaves_like_a_plain_count(
        limit in 1_u32..20,
        shares in prop::collection::vec(0_u32..34, 0..4),
        ops in prop::collection::vec((0_usize..5, any::<bool>(), 0_u64..4), 0..300),
    ) {
        let shares: Vec<_> = shares.into_iter().map(|it| f64::from(it) / 100.0).collect();
        prop_assume!(shares.iter().sum::<f64>() <= 1.0);
        let mut limits = limits(limit, &shares);
        let mut held: Vec<Vec<Ticket>> = (0..=shares.len()).map(|_| Vec::new()).collect();
        // When each partition has wanted how many.
        let mut wanted: Vec<(u64, usize, u32)> = Vec::new();
        let mut now = 0;
        for (partition, begins, wait) in ops {
            now += wait * SECOND / 4;
            let partition = partition.min(shares.len());
            if begins {
                let mine = u32::try_from(held[partition].len()).unwrap();
                wanted.push((now / SECOND, partition, mine + 1));
                let all: usize = held.iter().map(Vec::len).sum();
                let kept: u32 = (0..shares.len()).filter(|it| *it != partition).map(|other| {
                    let lately = wanted.iter().filter(|(second, who, _)| *who == other && second + 1 >= now / SECOND);
                    let needs = lately.map(|it| it.2).max().unwrap_or(0).min(limits.guarantee(other));
                    needs.saturating_sub(u32::try_from(held[other].len()).unwrap())
                }).sum();
                let left = limit - u32::try_from(all).unwrap();
                let expected = if left == 0 {
                    Err(Refusal::Limit)
                } else if mine < limits.guarantee(partition) || left > kept {
                    Ok(())
                } else {
                    Err(Refusal::Share)
                };
                let answer = limits.begin(now, partition).map(|it| held[partition].push(it));
                prop_assert_eq!(answer, expected);
            } else if let Some(ticket) = held[partition].pop() {
                limits.end(ticket, now, Outcome::Good);
            }
            let counts: Vec<_> = held.iter().map(|it| u32::try_from(it.len()).unwrap()).collect();
            prop_assert!((0..held.len()).all(|it| limits.in_flight_of(it) == counts[it]));
            prop_assert!(limits.in_flight() == counts.iter().sum() && limits.in_flight() <= limit);
        }
    }
}
