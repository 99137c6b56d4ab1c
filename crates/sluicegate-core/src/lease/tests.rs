//! Many instances with leases on one bucket, across a network that takes its time.

use proptest::prelude::*;

use super::*;
use crate::bucket::{Bucket, State};

const MILLI: u64 = 1_000_000;
const LIFETIME: Duration = Duration::from_millis(400);

/// What an instance is asked for, and when: from a millisecond on, so many requests of so many tokens each millisecond.
#[derive(Clone, Copy, Debug)]
struct Phase {
    millis: u64,
    requests: u64,
    tokens: u64,
}

/// A call under way.
#[derive(Clone, Copy, Debug)]
struct Call {
    step: Step,
    /// When it reaches the bucket, and when its answer is back.
    there_at: u64,
    back_at: u64,
    answer: Option<Decision>,
}

struct Instance {
    lease: Lease,
    calls: Vec<Call>,
    waiting: Vec<(Ticket, u64)>,
    phases: Vec<Phase>,
}

/// One bucket, and what was spent of it.
struct World {
    bucket: Bucket,
    state: State,
    instances: Vec<Instance>,
    /// Milliseconds of a way there and back.
    delay: u64,
    now: u64,
    /// Tokens spent each millisecond.
    spent: Vec<u64>,
    calls: u64,
    refused: u64,
}

impl World {
    fn new(quota: &str, delay: u64, phases: Vec<Vec<Phase>>) -> Self {
        let quota: Quota = quota.parse().unwrap();
        let bucket = Bucket::new(quota);
        let instance = |phases| Instance {
            lease: Lease::new(quota, LIFETIME),
            calls: Vec::new(),
            waiting: Vec::new(),
            phases,
        };
        let instances = phases.into_iter().map(instance).collect();
        Self {
            bucket,
            state: bucket.start(),
            instances,
            delay,
            now: 0,
            spent: Vec::new(),
            calls: 0,
            refused: 0,
        }
    }

    /// One millisecond.
    fn tick(&mut self) {
        let at = self.now * MILLI;
        let mut spent = 0;
        for instance in &mut self.instances {
            let (before, now) = (self.now, self.now);
            let mut from = 0;
            let phase = instance.phases.iter().find(|phase| {
                from += phase.millis;
                before < from
            });
            if let Some(phase) = phase.copied() {
                for _ in 0..phase.requests {
                    match instance.lease.ask(phase.tokens, at) {
                        Ask::Decided(decision) if decision.is_granted() => spent += phase.tokens,
                        Ask::Decided(_) | Ask::Pass => self.refused += 1,
                        Ask::Wait(ticket) => instance.waiting.push((ticket, phase.tokens)),
                    }
                }
            }
            for call in &mut instance.calls {
                if call.there_at <= now && call.answer.is_none() {
                    let (answer, state) = match call.step {
                        Step::Take(n) => self.bucket.take(self.state, n, at),
                        Step::Put(n) => {
                            let (_, state) = self.bucket.put(self.state, n, at);
                            (self.bucket.peek(state, at), state)
                        }
                    };
                    (call.answer, self.state) = (Some(answer), state);
                }
            }
            for call in instance.calls.extract_if(.., |call| call.back_at <= now) {
                let (Step::Take(_), Some(answer)) = (call.step, call.answer) else { continue };
                let told = match answer.is_granted() {
                    true => instance.lease.granted(answer, at),
                    false => instance.lease.refused(answer, at),
                };
                for (ticket, decision) in told.decided {
                    let place = instance.waiting.iter().position(|(waiting, _)| *waiting == ticket).unwrap();
                    let (_, n) = instance.waiting.swap_remove(place);
                    if decision.is_some_and(|decision| decision.is_granted()) {
                        spent += n;
                    } else {
                        self.refused += 1;
                    }
                }
            }
            while let Some(step) = instance.lease.step(at) {
                self.calls += 1;
                let (there_at, back_at) = (now + self.delay / 2, now + self.delay);
                let mut call = Call { step, there_at, back_at, answer: None };
                if self.delay == 0 {
                    // At once: a millisecond is not divided.
                    call.back_at = now + 1;
                }
                instance.calls.push(call);
            }
        }
        self.spent.push(spent);
        self.now += 1;
    }

    fn run(&mut self, millis: u64) {
        (0..millis).for_each(|_| self.tick());
    }

    /// The most that was spent in any span, over what flows in it: a meter that the quota's flow empties.
    fn most_at_once(&self) -> u64 {
        let (Refill::Smooth { tokens, interval } | Refill::Stepped { tokens, interval }) =
            self.bucket.quota().refill()
        else {
            unreachable!("a quota that flows")
        };
        let (flow, token) = (u128::from(tokens) * u128::from(MILLI), u128::from(interval.get()));
        let (mut meter, mut most) = (0, 0);
        for spent in &self.spent {
            meter += u128::from(*spent) * token;
            most = most.max(meter);
            meter = meter.saturating_sub(flow);
        }
        u64::try_from(most / token).unwrap()
    }

    /// C + q·L/I, and half of what flows while a call is under way.
    fn bound(&self) -> u64 {
        let quota = self.bucket.quota();
        let (Refill::Smooth { tokens, interval } | Refill::Stepped { tokens, interval }) = quota.refill()
        else {
            unreachable!("a quota that flows")
        };
        let late = nanos(LIFETIME) + (self.delay + 2) * MILLI;
        let steps = if matches!(quota.refill(), Refill::Stepped { .. }) { tokens * 3 / 2 } else { 0 };
        let flow = u128::from(tokens) * u128::from(late) / u128::from(interval.get());
        quota.capacity() + u64::try_from(flow).unwrap() + steps + 1
    }

    fn spent(&self) -> u64 {
        self.spent.iter().sum()
    }
}

fn steady(millis: u64, requests: u64, tokens: u64) -> Phase {
    Phase { millis, requests, tokens }
}

#[test]
fn a_steady_rate_costs_few_calls_whatever_it_is_and_lies_here_in_part() {
    for (rate, most) in [(1, 40), (10, 40), (1000, 60)] {
        let mut world = World::new("10000000/s", 4, vec![vec![steady(10_000, rate, 1)]]);
        world.run(2000);
        let before = world.calls;
        world.run(4000);
        assert!(
            world.calls - before <= most,
            "{} calls in ten lifetimes at {rate} a ms",
            world.calls - before
        );
        let held = world.instances[0].lease.held();
        assert!(held <= rate * 200, "{held} at {rate} a ms: half a lifetime's");
        assert_eq!(world.refused, 0);
    }
}

#[test]
fn what_lies_here_follows_demand_up_and_down() {
    let phases = vec![steady(1000, 1, 1), steady(1000, 100, 1), steady(1000, 2, 1), steady(1000, 0, 0)];
    let mut world = World::new("10000000/s", 2, vec![phases]);
    let mut held = Vec::new();
    for _ in 0..4 {
        world.run(999);
        held.push(world.instances[0].lease.held());
        world.run(1);
    }
    assert!(held[0] > 0 && held[0] <= 200, "{held:?}");
    assert!(held[1] > 5_000 && held[1] <= 20_000, "{held:?}");
    assert!(held[2] <= 400, "{held:?}");
    assert_eq!(held[3], 0, "idle for a quarter of a lifetime");
    // All that was not spent is there again.
    let there = world.bucket.available(world.state, world.now * MILLI);
    assert_eq!(there, 10_000_000);
    assert!(world.instances[0].lease.is_unused(world.now * MILLI));
}

#[test]
fn a_denial_is_remembered_until_its_time_and_no_longer() {
    let quota: Quota = "10/s burst 5".parse().unwrap();
    let (bucket, mut lease) = (Bucket::new(quota), Lease::new(quota, LIFETIME));
    let mut state = bucket.start();
    let mut fetch = |lease: &mut Lease, now| {
        let mut calls = 0;
        let mut decided = Vec::new();
        while let Some(Step::Take(n)) = lease.step(now) {
            calls += 1;
            let (decision, next) = bucket.take(state, n, now);
            state = next;
            let told = if decision.is_granted() {
                lease.granted(decision, now)
            } else {
                lease.refused(decision, now)
            };
            decided.extend(told.decided.into_iter().filter_map(|(_, decision)| decision));
        }
        (calls, decided)
    };
    assert!(matches!(lease.ask(5, 0), Ask::Wait(_)));
    assert!(fetch(&mut lease, 0).1[0].is_granted());
    // It is known that nothing was left, and so when one comes.
    for (n, wait) in [(1, 50), (2, 150), (3, 250), (5, 450)] {
        let Ask::Decided(decision) = lease.ask(n, 50 * MILLI) else { panic!("{n}: not known") };
        assert_eq!(decision.retry_after(), Some(Duration::from_millis(wait)));
    }
    let Ask::Decided(decision) = lease.ask(6, 50 * MILLI) else { panic!() };
    assert!(decision.is_never());
    assert_eq!(fetch(&mut lease, 50 * MILLI).0, 0);
    assert!(matches!(lease.ask(1, 100 * MILLI), Ask::Wait(_)));
    assert!(fetch(&mut lease, 100 * MILLI).1[0].is_granted());
    assert!(
        matches!(lease.ask(1, 200 * MILLI), Ask::Wait(_)),
        "a grant says that it is worth while to ask again"
    );
    assert!(fetch(&mut lease, 200 * MILLI).1[0].is_granted());
}

#[test]
fn where_the_bucket_can_t_be_asked_nobody_waits() {
    let mut lease = Lease::new("10/s".parse().unwrap(), LIFETIME);
    let Ask::Wait(ticket) = lease.ask(1, 0) else { panic!() };
    assert_eq!(lease.step(0), Some(Step::Take(1)));
    assert_eq!(lease.failed(5).decided, [(ticket, None)]);
    assert_eq!((lease.ask(1, 6), lease.step(6)), (Ask::Pass, None));
    assert!(matches!(lease.ask(1, 5 + nanos(LIFETIME) / 8), Ask::Wait(_)));
}

#[test]
fn who_leaves_frees_the_line_and_what_was_fetched_in_vain_goes_back() {
    let quota: Quota = "1000/s".parse().unwrap();
    let (bucket, mut lease) = (Bucket::new(quota), Lease::new(quota, LIFETIME));
    let Ask::Wait(large) = lease.ask(900, 0) else { panic!() };
    let Ask::Wait(small) = lease.ask(1, 0) else { panic!() };
    let Some(Step::Take(n)) = lease.step(0) else { panic!() };
    assert_eq!(n, 901);
    assert_eq!(lease.leave(large, 0), Told::default());
    let (decision, _) = bucket.take(bucket.start(), n, 0);
    let told = lease.granted(decision, 0);
    assert_eq!(told.decided.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [small]);
    assert_eq!(
        (lease.step(0), lease.held()),
        (Some(Step::Put(900)), 0),
        "nothing was spent before, so nothing may lie here"
    );
    assert_eq!(lease.undo(1, 0), Told::default());
    assert_eq!(lease.step(0), Some(Step::Put(1)));
}

/// What was held for the first in line went back, and of what the bucket was known to have too little was asked for.
#[test]
fn who_is_first_is_not_fetched_parts_for_that_lie_in_vain() {
    let mut world = World::new("100/s burst 10", 0, vec![vec![steady(213, 1, 2), steady(89, 2, 10)]]);
    world.run(400);
    assert!(world.instances[0].waiting.is_empty(), "{:?}", world.instances[0].lease);
}

#[test]
fn who_has_waited_is_told_how_the_bucket_stands_with_its_tokens_taken() {
    let quota: Quota = "3/h".parse().unwrap();
    let (bucket, mut lease) = (Bucket::new(quota), Lease::new(quota, LIFETIME));
    let mut state = bucket.start();
    for left in [2, 1, 0] {
        assert!(matches!(lease.ask(1, 0), Ask::Wait(_)));
        let Some(Step::Take(n)) = lease.step(0) else { panic!() };
        let (decision, next) = bucket.take(state, n, 0);
        state = next;
        let [(_, Some(told))] = lease.granted(decision, 0).decided[..] else { panic!() };
        assert_eq!((told.remaining(), told.reset_after()), (left, decision.reset_after()));
    }
}

#[test]
fn what_is_too_old_is_not_spent() {
    let mut world = World::new("1000000/s", 2, vec![vec![steady(300, 100, 1)]]);
    world.run(301);
    let lease = &mut world.instances[0].lease;
    let held = lease.held();
    assert!(held > 1000);
    // Something is spent now and then, so that it does not lie idle.
    let mut last = 0;
    for now in 301..1500 {
        if lease.held() > 0 {
            last = now;
            let _ = lease.ask(1, now * MILLI);
        }
    }
    assert!(last <= 301 + 350, "{last}");
    assert!(matches!(lease.step(1500 * MILLI), Some(Step::Put(n)) if n + 350 >= held));
}

/// The pattern that rules out a lease of any other size: tokens that are taken, lie for a lifetime, are given back, and taken by
/// the next.
#[test]
fn tokens_that_are_passed_round_unused_do_not_pile_up() {
    // Each spends a token now and then, so that nothing lies idle; then all at once all they can.
    let phases = |place: u64| {
        let now_and_then = [steady(1, 1, 1), steady(20 + place, 0, 0)];
        let mut phases = vec![steady(20 * place, 0, 0)];
        phases
            .extend(now_and_then.into_iter().cycle().take(2 * usize::try_from(3000 / (21 + place)).unwrap()));
        phases.extend([steady(40, 0, 0), steady(100, 100, 1)]);
        phases
    };
    let mut world = World::new("10000/s burst 1000", 2, (0..12).map(phases).collect());
    world.run(3500);
    assert!(world.most_at_once() > 1000, "all that is there is spent");
    assert!(world.most_at_once() <= world.bound(), "{} of {}", world.most_at_once(), world.bound());
}

#[test]
fn in_the_long_run_all_of_a_quota_is_spent_and_no_more() {
    for delay in [0, 2, 10] {
        let phases = vec![steady(60_000, 2, 1)];
        let mut world = World::new("1000/s burst 100", delay, vec![phases; 4]);
        world.run(4_000);
        let all = 100 + 4_000;
        let spent = world.spent();
        let lies: u64 = world.instances.iter().map(|instance| instance.lease.held()).sum();
        // What was taken and not spent, what is still on its way, and a call's time at each end.
        assert!(
            spent <= all && spent + lies + 200 >= all,
            "{spent} of {all} at a delay of {delay}, {lies} lie there"
        );
        assert!(world.most_at_once() <= world.bound());
    }
}

fn phase() -> impl Strategy<Value = Phase> {
    (1..300_u64, 0..4_u64, prop_oneof![1..4_u64, 10..50_u64]).prop_map(|(millis, requests, tokens)| Phase {
        millis,
        requests,
        tokens,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_span_holds_more_than_the_quota_and_a_lifetime_s(
        quota in prop_oneof![
            Just("10000/s burst 1000"), Just("1000/s burst 2000"), Just("100/s burst 10"), Just("12345/s burst 50"),
            Just("50 every 20ms burst 200"),
        ],
        delay in prop_oneof![Just(0_u64), Just(2), Just(20)],
        phases in proptest::collection::vec(proptest::collection::vec(phase(), 1..6), 1..7),
    ) {
        let mut world = World::new(quota, delay, phases);
        world.run(1200);
        prop_assert!(world.most_at_once() <= world.bound(), "{} of {}", world.most_at_once(), world.bound());
        // Nobody waits for ever, and what lies unused goes back.
        for instance in &mut world.instances {
            instance.phases.clear();
        }
        world.run(1000);
        for instance in &mut world.instances {
            prop_assert!(instance.waiting.is_empty());
            prop_assert!(instance.lease.is_unused(world.now * MILLI), "{:?}", instance.lease);
        }
    }
}
