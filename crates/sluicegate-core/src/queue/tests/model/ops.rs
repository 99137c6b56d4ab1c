//! What is asked of a queue, at random.

use proptest::prelude::*;

use super::*;

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    let classes = prop::sample::select(vec![vec![1], vec![2, 1], vec![5, 3, 1]]);
    let codel = prop::option::of(any::<bool>());
    (0_usize..8, prop::option::of(1_u64..60), any::<bool>(), codel, classes, any::<bool>()).prop_map(
        |(bound, bytes, oldest, codel, classes, fair)| {
            let mut settings = Settings::new(bound).with_classes(&classes).unwrap();
            if let Some(bytes) = bytes {
                settings = settings.with_bytes(bytes).unwrap();
            }
            settings.displaces_oldest = oldest;
            settings.fair = fair;
            settings.codel = codel.map(|newest_first| Codel { newest_first, ..Codel::default() });
            settings
        },
    )
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Offer { size: u64, key: u64, class: usize, within: Option<u64>, begin: Option<u64> },
    Ready,
    Leave,
    Join(usize),
    Withdraw(usize),
    Cancel(usize),
    ComeBack,
    Expire,
    Served(u64),
}

pub(super) fn ops() -> impl Strategy<Value = Vec<(Op, u64)>> {
    let within = prop::option::weighted(0.3, 0_u64..300);
    let begin = prop::option::weighted(0.2, 0_u64..200);
    let offer = (0_u64..30, 0_u64..4, 0_usize..4, within, begin);
    let op = prop_oneof![
        10 => offer.prop_map(|(size, key, class, within, begin)| Op::Offer { size, key, class, within, begin }),
        6 => Just(Op::Ready),
        1 => Just(Op::Leave),
        1 => (0_usize..4).prop_map(Op::Join),
        1 => (0_usize..3).prop_map(Op::Withdraw),
        2 => (0_usize..8).prop_map(Op::Cancel),
        1 => Just(Op::ComeBack),
        1 => Just(Op::Expire),
        1 => (0_u64..50).prop_map(Op::Served),
    ];
    prop::collection::vec((op, prop_oneof![Just(0_u64), 0_u64..30]), 0..300)
}
