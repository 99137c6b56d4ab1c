use proptest::prelude::*;

use super::*;

#[test]
fn pitfall_41_outsized_buffers_are_counted_by_what_they_hold() {
    // A class of 4 KiB that may keep a hundred, and 64 KiB: those that have grown to 16 KiB are few.
    let settings = Settings::new(&[4 << 10, 32 << 10]).unwrap().with_most(100).unwrap();
    let settings = settings.with_most_bytes(64 << 10).unwrap();
    let grown = 16 << 10;
    assert_eq!(settings.of_capacity(grown), Some(0));
    assert_eq!(settings.of_capacity(33 << 10), None, "and what is larger than all is not kept");
    let (mut shelf, mut mine) = (Shelf::new(settings.classes()[0]), Borrowed::default());
    let mut kept = 0;
    for _ in 0..100 {
        if !mine.keep(grown) {
            mine.renew(&mut shelf, 8, grown);
            if !mine.keep(grown) {
                continue;
            }
        }
        kept += 1;
    }
    assert_eq!(kept, 4);
}

proptest! {
    #[test]
    fn the_class_for_a_length_is_the_smallest_that_holds_it(
        sizes in proptest::collection::btree_set(prop_oneof![1..40_usize, any::<usize>().prop_map(|size| size.max(1))], 1..=16),
        lengths in proptest::collection::vec(prop_oneof![0..45_usize, any::<usize>()], 1..40),
    ) {
        let sizes: Vec<usize> = sizes.into_iter().collect();
        let settings = Settings::new(&sizes).unwrap();
        let around = sizes.iter().flat_map(|size| [size - 1, *size, size.saturating_add(1)]);
        for length in lengths.into_iter().chain(around) {
            prop_assert_eq!(settings.for_length(length), sizes.iter().position(|size| *size >= length));
        }
    }
}

#[test]
fn settings_that_cannot_be_say_why() {
    assert_eq!(Settings::new(&[]).unwrap_err().field(), "sizes");
    assert_eq!(Settings::new(&[0]).unwrap_err().field(), "sizes");
    assert_eq!(Settings::new(&[2, 1]).unwrap_err().field(), "sizes");
    assert_eq!(Settings::default().with_most(0).unwrap_err().field(), "most");
    let error = Settings::default().with_most_bytes(1000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "most_bytes `1000`: expected at least the size of one buffer of the largest class"
    );
}

proptest! {
    /// Several lists that borrow from one shelf, whatever they do: together they never keep more than the bounds, and no room
    /// is lost.
    #[test]
    fn all_lists_together_stay_within_the_bounds(
        most in 1_usize..20, bytes in 100_usize..3000,
        steps in prop::collection::vec((0_usize..4, 0_u8..4, 100_usize..400), 0..300),
    ) {
        let class = Class { size: 100, most, most_bytes: bytes };
        let mut shelf = Shelf::new(class);
        let mut lists: [(Borrowed, Vec<usize>); 4] = Default::default();
        for (which, step, capacity) in steps {
            let (borrowed, kept) = &mut lists[which];
            match step {
                0 | 1 => {
                    let mut fits = borrowed.keep(capacity);
                    if !fits {
                        borrowed.renew(&mut shelf, 3, capacity);
                        fits = borrowed.keep(capacity);
                    }
                    if fits {
                        kept.push(capacity);
                    }
                }
                2 => {
                    if let Some(capacity) = kept.pop() {
                        borrowed.let_go(capacity);
                    }
                }
                _ => shelf.take_back(borrowed.beyond(1, 100)),
            }
            let all = || lists.iter().flat_map(|(_, kept)| kept);
            let (buffers, sum) = (all().count(), all().sum::<usize>());
            prop_assert!(buffers <= most && sum <= bytes, "{buffers} of {most}, {sum} of {bytes}");
            let lent = lists.iter().fold(shelf.free(), |sum, (borrowed, _)| sum.and(borrowed.free()));
            prop_assert_eq!(lent, Room { buffers: most - buffers, bytes: bytes - sum });
        }
        // What nobody uses can all be had again.
        for (borrowed, kept) in &mut lists {
            kept.drain(..).for_each(|capacity| borrowed.let_go(capacity));
            shelf.take_back(borrowed.beyond(0, 100));
        }
        prop_assert_eq!(shelf.free(), Room { buffers: most, bytes });
    }
}
