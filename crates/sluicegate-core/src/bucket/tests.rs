use proptest::prelude::*;

use super::*;

const EXACT: &[&str] =
    &["1/d", "7/s burst 1", "100/s burst 200 initial 7", "31/ns burst 1000", "1/s burst 4000000000"];

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..1_u64 << 50, 0..300_u64]
}

proptest! {
    /// Of any state at all, wherever time stands.
    #[test]
    fn an_exact_flow_is_spent_as_every_other(
        quota in prop::sample::select(EXACT), state in any_number(), n in any_number(), now in any_number(),
    ) {
        let bucket = Bucket::new(quota.parse().unwrap());
        let exact = matches!(bucket.scale.flow, Flow::Exact { .. });
        prop_assert!(exact);
        let state = State(state);
        prop_assert_eq!(bucket.after(state, n, now), bucket.after_otherwise(state, n, now));
        let (one, other) = (bucket.view(state, now), bucket.view_otherwise(state, now));
        prop_assert_eq!((one.spent, one.floor, one.ceil, one.burst), (other.spent, other.floor, other.ceil, other.burst));
    }
}
