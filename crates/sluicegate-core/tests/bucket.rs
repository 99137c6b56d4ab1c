//! The bucket's arithmetic against a plain model in exact fractions, over random histories.
//!
//! The model counts in fractions of a token whose denominator is the quota's interval in nanoseconds, so that it never
//! rounds. It is fed what the bucket granted, and so bounds every span at once: where it has enough for each grant, no
//! span of the history held more than C + q·t/I.
//!
//! Longer than other files: the model, the histories and the checks are one argument.

#![expect(clippy::unwrap_used, reason = "a test: what fails here is the test")]

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::{Quota, Refill};
use sluicegate_core::units::{CAPACITY_MAX, RATE_MAX};

const YEAR: u64 = 31_536_000_000_000_000;

/// Rates from one a day to 10^9 a second, usual ones and odd ones; smooth, stepped, and never refilled.
const QUOTAS: &[&str] = &[
    "1/d",
    "3/7d",
    "1/d burst 1000000",
    "7/s",
    "7/s burst 1",
    "37/m burst 5",
    "100/s burst 200",
    "12345/s burst 100",
    "12345/s",
    "999/7m burst 31",
    "1000003/d burst 17",
    "999999937/s",
    "999999937/s burst 3",
    "1000000000/s",
    "31/ns burst 1000",
    "4294967291/s burst 4294967291",
    "5 every 250ms",
    "7 every 1234567ns burst 20",
    "3 every 7d burst 3 initial 0",
    "100/s burst 200 initial 7",
    "stock 5 max 10",
    "stock 1000",
];

/// The exact bucket.
struct Model {
    refill: Refill,
    capacity: u128,
    /// Denominator of the fractions.
    interval: u128,
    /// What was there when it last changed, as a numerator; never above `capacity * interval`.
    level: u128,
    /// When it last changed. A clock that steps back is not followed.
    since: u64,
}

impl Model {
    fn new(quota: &Quota) -> Self {
        let interval = match quota.refill() {
            Refill::Smooth { interval, .. } | Refill::Stepped { interval, .. } => u128::from(interval.get()),
            _ => 1,
        };
        let level = u128::from(quota.starts_with()) * interval;
        Self { refill: quota.refill(), capacity: u128::from(quota.capacity()), interval, level, since: 0 }
    }

    /// What is there at `now`, as a numerator.
    fn level(&self, now: u64) -> u128 {
        let gained = match self.refill {
            _ if now <= self.since => 0,
            Refill::Smooth { tokens, .. } => u128::from(tokens) * u128::from(now - self.since),
            Refill::Stepped { tokens, interval } => {
                u128::from(tokens) * u128::from(now / interval - self.since / interval) * self.interval
            }
            _ => 0,
        };
        (self.level + gained).min(self.capacity * self.interval)
    }

    fn has(&self, n: u64, now: u64) -> bool {
        self.level(now) >= u128::from(n) * self.interval
    }

    fn put(&mut self, n: u64, now: u64) {
        if n == 0 {
            return;
        }
        self.level = (self.level(now) + u128::from(n) * self.interval).min(self.capacity * self.interval);
        self.since = self.since.max(now);
    }

    fn take(&mut self, n: u64, now: u64) {
        if n > 0 {
            self.level = self.level(now) - u128::from(n) * self.interval;
            self.since = self.since.max(now);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Take(u64),
    TakeUpTo(u64),
    Put(u64),
    /// To an instant so many nanoseconds later.
    Advance(u64),
    /// To exactly the instant at which so many would be there, if that is told.
    AdvanceToRetry(u64),
    /// One decision at an instant so many nanoseconds earlier.
    StepBack(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    // Times of every magnitude from a nanosecond to a few months; a history of some of them lasts a year and more.
    let time = (0_u32..54, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1));
    let n = || prop_oneof![8 => 0_u64..8, 2 => 0_u64..300, 1 => any::<u64>()];
    prop_oneof![
        5 => n().prop_map(Op::Take),
        2 => n().prop_map(Op::TakeUpTo),
        1 => n().prop_map(Op::Put),
        4 => time.clone().prop_map(Op::Advance),
        2 => (1_u64..20).prop_map(Op::AdvanceToRetry),
        1 => (time, n()).prop_map(|(back, n)| Op::StepBack(back, n)),
    ]
}

/// What a flow that is rounded may withhold, as a numerator: a unit for the idle time it forgot and one for the instant
/// it looks at, of which a token has at least 8, unless the capacity is so large or the flow so fast that a token has fewer.
fn withheld(bucket: &Bucket, model: &Model) -> u128 {
    let units = match bucket.quota().refill() {
        Refill::Smooth { tokens, interval } => {
            let by_flow = u128::from(RATE_MAX) * u128::from(interval.get()) / u128::from(tokens);
            by_flow.min(u128::from(CAPACITY_MAX / bucket.quota().capacity())).min(8)
        }
        _ => 8,
    };
    (2 * model.interval).div_ceil(units) + 1
}

/// Checks the answer to a take of `n` against the model, and tells the model.
fn check(
    bucket: &Bucket,
    model: &mut Model,
    before: State,
    after: State,
    decision: Decision,
    n: u64,
    now: u64,
) {
    let limit = bucket.quota().capacity();
    assert_eq!(decision.limit(), limit);
    assert_eq!(decision.remaining(), bucket.available(after, now), "remaining is what the next may take");
    match decision {
        Decision::Granted { .. } => {
            assert!(model.has(n, now), "granted {n} too many at {now}");
            model.take(n, now);
        }
        Decision::Later { retry_after, .. } => {
            assert!(n <= limit && before == after);
            let needed = u128::from(n) * model.interval;
            assert!(model.level(now) < needed + withheld(bucket, model), "refused {n} that were there");
            let Some(wait) = retry_after else {
                assert_eq!(bucket.quota().refill(), Refill::Stock);
                return;
            };
            let at = now + u64::try_from(wait.as_nanos()).unwrap();
            assert!(bucket.take(after, n, at).0.is_granted(), "a retry exactly then succeeds");
            assert!(!bucket.take(after, n, at - 1).0.is_granted(), "and not before");
        }
        Decision::Never { .. } => {
            let missing = (u128::from(n) * model.interval).saturating_sub(model.level(now));
            let too_slow = match bucket.quota().refill() {
                Refill::Smooth { tokens, .. } | Refill::Stepped { tokens, .. } => {
                    missing / u128::from(tokens) > 6 * u128::from(YEAR)
                }
                _ => false,
            };
            assert!(before == after && (n > limit || too_slow), "never said of {n}");
        }
    }
    let put_off = Duration::from_nanos(1);
    if let Some(reset) = decision.reset_after()
        && reset > put_off
    {
        let at = now + u64::try_from(reset.as_nanos()).unwrap();
        assert!(bucket.is_full(after, at) && !bucket.is_full(after, at - 1), "full exactly at its reset");
    }
}

fn run(quota: &Quota, ops: &[Op]) {
    let (bucket, mut model) = (Bucket::new(*quota), Model::new(quota));
    let (mut state, mut now, mut overflowed) = (bucket.start(), 0_u64, false);
    for op in ops {
        match *op {
            Op::Take(n) => {
                let (decision, next) = bucket.take(state, n, now);
                check(&bucket, &mut model, state, next, decision, n, now);
                state = next;
            }
            Op::TakeUpTo(n) => {
                let available = bucket.available(state, now);
                let (taken, next) = bucket.take_up_to(state, n, now);
                assert_eq!(taken, n.min(available));
                assert!(model.has(taken, now));
                model.take(taken, now);
                state = next;
            }
            Op::Put(n) => {
                let before = bucket.available(state, now);
                let (put, next) = bucket.put(state, n, now);
                assert!(put <= n && bucket.available(next, now) >= before);
                model.put(put, now);
                overflowed |= put > 0 && bucket.is_full(next, now);
                state = next;
            }
            Op::Advance(by) => now = now.saturating_add(by).min(2 * YEAR),
            Op::AdvanceToRetry(n) => {
                let (decision, _) = bucket.take(state, n, now);
                if let Decision::Later { retry_after: Some(wait), .. } = decision {
                    now = (now + u64::try_from(wait.as_nanos()).unwrap()).min(2 * YEAR);
                }
            }
            // The model is told that what overflows is lost at once; the bucket may count a part of a unit of it as
            // put, which the bound allows and which only an instant before the put could tell.
            Op::StepBack(..) if overflowed => {}
            Op::StepBack(back, n) => {
                let earlier = now.saturating_sub(back);
                let could = bucket.available(state, now);
                let (decision, next) = bucket.take(state, n, earlier);
                assert!(!decision.is_granted() || n <= could, "an earlier instant grants no more");
                if decision.is_granted() {
                    assert!(model.has(n, earlier));
                    model.take(n, earlier);
                }
                state = next;
            }
        }
        let (available, balance) = (bucket.available(state, now), bucket.balance(state, now));
        assert_eq!(i64::try_from(available).unwrap(), balance.max(0));
        if available > 0 {
            assert!(bucket.take(state, available, now).0.is_granted(), "what is available can be taken");
        }
        assert!(!bucket.take(state, available + 1, now).0.is_granted(), "and no more");
    }
}

/// A token is one unit there: what idle time and the instant are rounded by is a whole one each.
#[test]
fn beyond_four_tokens_a_nanosecond_rounding_withholds_whole_tokens_and_no_more() {
    let quota =
        Quota::per(143_230_291, Duration::from_nanos(4_714_082)).and_then(|quota| quota.burst(32)).unwrap();
    let ops = [Op::Advance(4415), Op::TakeUpTo(31), Op::AdvanceToRetry(1), Op::TakeUpTo(30), Op::Take(1)];
    run(&quota, &ops);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/bucket.seeds"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn named_quotas_never_grant_more_than_the_exact_bucket(
        index in 0..QUOTAS.len(), ops in prop::collection::vec(op(), 1..60),
    ) {
        run(&QUOTAS[index].parse().unwrap(), &ops);
    }

    #[test]
    fn any_quota_never_grants_more_than_the_exact_bucket(
        tokens in (0_u32..40, any::<u64>()), interval in (0_u32..57, any::<u64>()), burst in (0_u32..50, any::<u64>()),
        stepped in any::<bool>(), ops in prop::collection::vec(op(), 1..60),
    ) {
        let part = |(bits, random): (u32, u64)| (random & ((1 << bits) - 1)).max(1);
        let build = if stepped { Quota::stepped } else { Quota::per };
        let quota = build(part(tokens), Duration::from_nanos(part(interval)));
        if let Ok(quota) = quota.and_then(|quota| quota.burst(part(burst))) {
            run(&quota, &ops);
        }
    }

    #[test]
    fn carried_to_another_quota_a_bucket_has_the_tokens_it_had(
        from in 0..QUOTAS.len(), to in 0..QUOTAS.len(), now in (0_u32..55, any::<u64>()), n in 0_u64..300,
    ) {
        let [from, to] = [from, to].map(|index| Bucket::new(QUOTAS[index].parse().unwrap()));
        let now = now.1 & ((1 << now.0) - 1);
        let (_, state) = from.take_up_to(from.start(), n, now);
        let has = from.available(state, now).min(to.quota().capacity());
        let carried = from.carry(state, &to, now);
        let kept = to.available(carried, now);
        // A rate that is rounded may withhold a part of a token, and what is whole is then one fewer.
        prop_assert!(kept <= has && kept + 1 >= has, "{} of {}", kept, has);
    }

    #[test]
    fn in_no_span_is_more_granted_than_the_bound(
        index in 0..QUOTAS.len(),
        steps in prop::collection::vec(((0_u32..45, any::<u64>()), 1_u64..5, any::<bool>()), 1..60),
    ) {
        let quota: Quota = QUOTAS[index].parse().unwrap();
        let bucket = Bucket::new(quota);
        let (mut state, mut now, mut granted) = (bucket.start(), 0_u64, Vec::new());
        for ((bits, random), n, to_retry) in steps {
            now += random & ((1 << bits) - 1);
            let (decision, next) = bucket.take(state, n, now);
            let (decision, next) = match decision.retry_after() {
                Some(wait) if to_retry => {
                    now += u64::try_from(wait.as_nanos()).unwrap();
                    bucket.take(state, n, now)
                }
                _ => (decision, next),
            };
            state = next;
            if decision.is_granted() {
                granted.push((now, n));
            }
        }
        for (first, &(from, _)) in granted.iter().enumerate() {
            let mut sum = 0_u128;
            for &(until, n) in &granted[first..] {
                sum += u128::from(n);
                let (capacity, span) = (u128::from(quota.capacity()), u128::from(until - from));
                let refilled = match quota.refill() {
                    Refill::Smooth { tokens, interval } => u128::from(tokens) * span / u128::from(interval.get()),
                    Refill::Stepped { tokens, interval } => {
                        u128::from(tokens) * (span / u128::from(interval.get()) + 1)
                    }
                    _ => 0,
                };
                prop_assert!(sum <= capacity + refilled, "{quota}: {sum} in {span} ns");
            }
        }
    }

    #[test]
    fn who_asks_all_the_time_gets_all_but_one_token(index in 0..QUOTAS.len(), idle in 0_u64..YEAR, takes in 1_u64..400) {
        let quota: Quota = QUOTAS[index].parse().unwrap();
        let (Refill::Smooth { tokens, interval }, true) = (quota.refill(), quota.starts_with() == quota.capacity())
        else {
            return Ok(());
        };
        let bucket = Bucket::new(quota);
        let (mut state, mut now) = (bucket.start(), idle);
        let burst;
        (burst, state) = bucket.take_up_to(state, u64::MAX, now);
        prop_assert_eq!(burst, quota.capacity(), "a full bucket grants all of its capacity");
        for _ in 0..takes {
            let wait = bucket.take(state, 1, now).0.retry_after().unwrap();
            now += u64::try_from(wait.as_nanos()).unwrap();
            let (decision, next) = bucket.take(state, 1, now);
            prop_assert!(decision.is_granted());
            state = next;
        }
        // `takes` whole tokens have flowed in this time, and less than one more, but for the part that is withheld.
        let flowed = u128::from(now - idle) * u128::from(tokens);
        let least = u128::from(takes) * u128::from(interval.get());
        // In a nanosecond more than a token may flow.
        let late = u128::from(interval.get()) / 4 + u128::from(tokens);
        prop_assert!(flowed >= least && flowed <= least + late, "{quota}: {takes} in {} ns", now - idle);
    }
}

#[test]
fn a_full_bucket_grants_its_burst_in_many_pieces_at_one_instant() {
    for text in QUOTAS {
        let quota: Quota = text.parse().unwrap();
        if quota.capacity() > 100_000 || quota.starts_with() < quota.capacity() {
            continue;
        }
        let bucket = Bucket::new(quota);
        for now in [0, 1, 12_345_678_901, YEAR - 1, YEAR + 86_399_999_999_999] {
            let mut state = bucket.start();
            for left in (0..quota.capacity()).rev() {
                let (decision, next) = bucket.take(state, 1, now);
                assert!(decision.is_granted(), "{text} at {now}: {left} left");
                assert_eq!(decision.remaining(), left, "{text} at {now}");
                state = next;
            }
            assert!(!bucket.take(state, 1, now).0.is_granted(), "{text} at {now}");
        }
    }
}

#[test]
fn a_billion_and_a_bit_a_second_does_not_wrap_after_18_seconds_nor_in_a_year() {
    let bucket = Bucket::new("999999937/s burst 1000".parse().unwrap());
    let mut state = bucket.start();
    for second in 0..60 {
        let now = second * 1_000_000_000;
        let (decision, next) = bucket.take(state, 1000, now);
        assert!(decision.is_granted(), "{second}");
        assert!(!bucket.take(next, 1, now).0.is_granted(), "{second}");
        state = next;
    }
    assert_eq!(bucket.available(state, YEAR), 1000);
}

#[test]
fn frequent_asking_does_not_lose_fractions() {
    for text in ["7/s burst 2", "12345/s burst 2", "300000000/s burst 2", "600000000/s burst 2"] {
        let quota: Quota = text.parse().unwrap();
        let bucket = Bucket::new(quota);
        let (mut state, mut granted) = (bucket.start(), 0_u64);
        let span = 3_000_000;
        for now in 0..=span {
            let (taken, next) = bucket.take_up_to(state, 1, now);
            (granted, state) = (granted + taken, next);
        }
        let Refill::Smooth { tokens, interval } = quota.refill() else { unreachable!() };
        let flowed = tokens * span / interval;
        assert!(granted == flowed + 2 || granted == flowed + 1, "{text}: {granted} of {flowed} + 2");
    }
}

#[test]
fn a_clock_that_steps_back_mints_nothing_and_recovers() {
    let bucket = Bucket::new("10/s burst 10".parse().unwrap());
    let second = 1_000_000_000;
    let (_, mut state) = bucket.take(bucket.start(), 10, 100 * second);
    for _ in 0..1000 {
        for now in [0, 50 * second, 99 * second, 100 * second] {
            let (decision, next) = bucket.take(state, 1, now);
            assert!(!decision.is_granted());
            state = next;
        }
    }
    assert_eq!(bucket.available(state, 101 * second), 10);
}

#[test]
fn debt_is_a_balance_below_zero_and_is_paid_back_by_time_and_by_put() {
    let bucket = Bucket::new("10/s burst 10".parse().unwrap());
    // 15 tokens of 10^8 units each spent at the start: 10 that were there, and 5 of debt.
    let state = State::from_word(15 * 100_000_000);
    assert_eq!((bucket.balance(state, 0), bucket.available(state, 0)), (-5, 0));
    assert_eq!(bucket.balance(state, 50_000_000), -5, "rounded down");
    assert_eq!(bucket.balance(state, 500_000_000), 0);
    let (put, state) = bucket.put(state, 7, 0);
    assert_eq!((put, bucket.balance(state, 0)), (7, 2));
}

#[test]
fn a_bucket_that_is_carried_over_has_whole_tokens_and_no_part_of_one() {
    let from = Bucket::new("stock 5 max 10".parse().unwrap());
    for (text, token) in
        [("10/s initial 0", 100_000_000), ("10/s initial 7", 100_000_000), ("10/s", 100_000_000)]
    {
        let to = Bucket::new(text.parse().unwrap());
        // Half a token would have flowed into a bucket that began at the start.
        let now = 50_000_000;
        let state = from.carry(from.start(), &to, now);
        assert_eq!(to.available(state, now), 5, "{text}");
        assert_eq!(to.available(state, now + token - 1), 5, "{text}: nothing is minted");
        assert_eq!(to.available(state, now + token), 6, "{text}");
    }
}

#[test]
fn a_put_fills_no_further_than_the_capacity() {
    for text in [
        "stock 5 max 10",
        "12345/s burst 10 initial 5",
        "10/s burst 10 initial 5",
        "5 every s burst 10 initial 5",
    ] {
        let bucket = Bucket::new(text.parse().unwrap());
        let (put, state) = bucket.put(bucket.start(), 3, 0);
        assert_eq!((put, bucket.available(state, 0)), (3, 8), "{text}");
        let (put, state) = bucket.put(state, u64::MAX, 0);
        assert_eq!((put, bucket.available(state, 0)), (2, 10), "{text}");
        assert_eq!(bucket.put(state, 1, 0), (0, state), "{text}");
    }
}

#[test]
fn beyond_the_horizon_the_answer_is_never() {
    let bucket = Bucket::new("1/s".parse().unwrap());
    let (decision, state) = bucket.take(bucket.start(), 1, u64::MAX);
    assert!(decision.is_granted());
    assert!(matches!(bucket.take(state, 1, u64::MAX).0, Decision::Never { .. }));
}

#[test]
fn unlimited_and_ban() {
    let (unlimited, ban) = (Bucket::new(Quota::unlimited()), Bucket::new(Quota::ban()));
    let (decision, state) = unlimited.take(unlimited.start(), u64::MAX, 0);
    assert!(decision.is_granted() && unlimited.available(state, 0) == u64::MAX);
    assert_eq!(unlimited.take_up_to(state, 7, 0).0, 7);
    assert!(matches!(ban.take(ban.start(), 1, 0).0, Decision::Never { limit: 0, .. }));
    assert!(ban.take(ban.start(), 0, 0).0.is_granted(), "nothing is granted to who asks for nothing");
    assert_eq!((ban.take_up_to(State::FULL, 7, 0).0, ban.put(State::FULL, 7, 0).0), (0, 0));
}
