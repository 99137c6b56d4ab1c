use proptest::prelude::*;

use super::*;

const EXACT: &[&str] =
    &["1/d", "7/s burst 1", "100/s burst 200 initial 7", "31/ns burst 1000", "1/s burst 4000000000"];

const ALL: &[&str] = &[
    "100/s",
    "7/s burst 9",
    "12345/s burst 20",
    "999999937/s burst 20",
    "5 every 250ms burst 12",
    "stock 5 max 9",
];

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

    /// Booked ahead: due at one instant, not before; what is given back is as if it had never been booked, and a debt is paid
    /// by what flows.
    #[test]
    fn a_booking_is_due_when_its_tokens_have_flowed(
        quota in prop::sample::select(ALL), taken in 0..20_u64, n in 1..50_u64, more in 1..20_u64, at in 0..5_000_000_000_u64,
    ) {
        let bucket = Bucket::new(quota.parse().unwrap());
        let (_, before) = bucket.take_up_to(bucket.start(), taken, at);
        let booked = bucket.book(before, n, at).unwrap();
        // Of a scaled flow a part of a unit is withheld, so that a token may come when one more unit has flowed.
        let near = |one: i64, other: i64| (0..=i64::from(matches!(bucket.scale.flow, Flow::Scaled { .. }))).contains(&(one - other));
        prop_assert!(near((bucket.balance(before, at) - n as i64).min(0), bucket.balance(booked.state, at).min(0)));
        // Whoever comes next waits for it: all of it has flowed once one more is granted.
        let due = bucket.due_at(booked.position);
        if bucket.available(before, at) < n {
            prop_assert_eq!(bucket.available(booked.state, at), 0);
            if let Some(due) = due {
                prop_assert!(due > at);
                prop_assert!(bucket.balance(booked.state, due) >= 0);
                prop_assert!(bucket.balance(booked.state, due - 1) < 0);
            }
        }
        let behind = bucket.book(booked.state, more, at).unwrap();
        let or_later = |due: Option<u64>| due.unwrap_or(u64::MAX);
        prop_assert!(or_later(bucket.due_at(behind.position)) >= or_later(due));
        let (back, after) = bucket.put(behind.state, more, at);
        prop_assert_eq!(back, more);
        prop_assert!(near(bucket.balance(booked.state, at), bucket.balance(after, at)));
        let (back, after) = bucket.put(after, n, at);
        prop_assert_eq!(back, n);
        prop_assert!(near(bucket.balance(before, at), bucket.balance(after, at)));
        prop_assert_eq!(bucket.balance(bucket.owe(before, n, at), at), bucket.balance(booked.state, at));
    }
}
