//! Several limiters as one, with others on their members: what is granted is within each member's bound, nobody is forgotten,
//! and who leaves leaves no trace.
#![expect(clippy::unwrap_used, reason = "a failure here is a test's failure")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use sluicegate::all_of::{AllOf, AllReserved};
use sluicegate::bucket::{Bucket, State};
use sluicegate::clock::Clock;
use sluicegate::decision::Decision;
use sluicegate::limiter::{Reservation, TokenBucket};
use sluicegate::timer::ManualTime;

/// Smooth ones: of a stepped quota, who waits books what is there already, and the next step fills its room; that is within the
/// bound of a stepped quota, but not what a bare bucket does.
const QUOTAS: [&str; 3] = ["10/s burst 3", "7/s burst 5", "2/s burst 4"];
/// What each of two combinations charges each bucket.
const COSTS: [[u64; 3]; 2] = [[1, 1, 0], [0, 2, 1]];

/// A task's waker.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Somebody who waits: for one bucket or for several. Polled only when woken.
struct Task {
    charges: [u64; 3],
    future: Pin<Box<dyn Future<Output = Decision>>>,
    flag: Arc<Flag>,
}

struct Rig {
    time: ManualTime,
    buckets: Vec<TokenBucket<ManualTime>>,
    all: Vec<AllOf<ManualTime>>,
    tasks: Vec<Task>,
    /// With what each bucket is charged.
    booked: Vec<(AllReserved<ManualTime>, [u64; 3])>,
    single: Vec<Reservation<ManualTime>>,
    /// What bare buckets have come to, of all grants that were kept.
    bare: Vec<(Bucket, State)>,
    /// Grants that were kept, and what was given back: when, and how much of each.
    grants: Vec<(u64, [i64; 3])>,
    /// Whether bare buckets must grant the same at the same instant.
    exact: bool,
}

impl Rig {
    fn new(exact: bool) -> Self {
        let time = ManualTime::new();
        let buckets: Vec<_> =
            QUOTAS.map(|quota| TokenBucket::with_clock(quota.parse().unwrap(), time.clone())).into();
        let part = |costs: [u64; 3]| {
            let parts = buckets.iter().zip(costs).filter(|(_, cost)| *cost > 0);
            AllOf::new(parts)
        };
        let all = COSTS.map(part).into();
        let bare = QUOTAS.map(|quota| Bucket::new(quota.parse().unwrap()));
        let bare = bare.into_iter().map(|bucket| (bucket, bucket.start())).collect();
        Self {
            time,
            buckets,
            all,
            tasks: vec![],
            booked: vec![],
            single: vec![],
            bare,
            grants: vec![],
            exact,
        }
    }

    /// A grant that is kept.
    fn granted(&mut self, charges: [u64; 3]) {
        let now = self.time.now();
        self.grants.push((now, charges.map(u64::cast_signed)));
        if !self.exact {
            return;
        }
        for ((bucket, state), n) in self.bare.iter_mut().zip(charges) {
            let (decision, next) = bucket.take(*state, n, now);
            assert!(decision.is_granted(), "{n} of {} at {now}: {decision:?}", bucket.quota());
            *state = next;
        }
    }

    /// Polls who was woken until nobody is.
    fn run(&mut self) {
        let mut polls = 0;
        while let Some(at) = self.tasks.iter().position(|task| task.flag.0.swap(false, Ordering::SeqCst)) {
            polls += 1;
            assert!(polls < 10_000, "they wake each other for ever");
            let task = &mut self.tasks[at];
            let waker = Waker::from(Arc::clone(&task.flag));
            if let Poll::Ready(decision) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
                let task = self.tasks.remove(at);
                assert!(decision.is_granted(), "{decision:?}");
                self.granted(task.charges);
            }
        }
    }

    /// Time passes, from event to event: whoever is served late is served as of its own instant, which bare buckets don't know.
    fn pass(&mut self, nanos: u64) {
        let end = self.time.now() + nanos;
        while let Some(at) = self.time.next().filter(|at| *at < end) {
            self.time.set(at);
            self.run();
        }
        self.time.set(end);
        self.run();
    }

    fn spawn(&mut self, charges: [u64; 3], future: impl Future<Output = Decision> + 'static) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { charges, future: Box::pin(future), flag });
        self.run();
    }

    /// A reservation leaves. What it had in one bucket may have come already, and counts as given back; what had not come is
    /// counted too, which makes the bound looser than it is.
    fn unbook(&mut self, at: usize) {
        let (reserved, charges) = self.booked.remove(at);
        drop(reserved);
        self.grants.push((self.time.now(), charges.map(|n| -n.cast_signed())));
    }

    /// Nobody is forgotten: from event to event all are served; then all buckets fill.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        // Who was served because others left is served now.
        self.run();
        let mut events = 0;
        while let Some(at) = self.time.next() {
            self.time.set(at);
            self.run();
            events += 1;
            prop_assert!(events < 100_000, "{} are never served: {:?}", self.tasks.len(), self.buckets);
        }
        prop_assert_eq!(self.tasks.len(), 0);
        let now = self.time.now();
        self.time.set(now + 60_000_000_000);
        for bucket in &self.buckets {
            prop_assert_eq!((bucket.available(), bucket.counts().waiting), (bucket.capacity(), 0));
        }
        Ok(())
    }

    fn charges(which: usize, n: u64) -> [u64; 3] {
        COSTS[which].map(|cost| cost * n)
    }
}

fn single(at: usize, n: u64) -> [u64; 3] {
    let mut charges = [0; 3];
    charges[at] = n;
    charges
}

/// Whether grants of any span exceed what a bucket may grant in it.
fn exceeds(grants: &[(u64, [i64; 3])], at: usize) -> Option<String> {
    let (rate, capacity): (i128, i128) = [(10, 3), (7, 5), (2, 4)][at];
    for (first, &(from, _)) in grants.iter().enumerate() {
        // A span holds all of an instant: what is given back may go to who waits, over a bucket that is full.
        if first > 0 && grants[first - 1].0 == from {
            continue;
        }
        let mut sum = 0;
        for &(to, charges) in &grants[first..] {
            sum += i128::from(charges[at]);
            let flowed = i128::from(to - from) * rate;
            if (sum - capacity) * 1_000_000_000 > flowed {
                return Some(format!("{sum} of {} from {from} to {to}", QUOTAS[at]));
            }
        }
    }
    None
}

/// What others do: (what, whom, how many).
fn any_ops() -> impl Strategy<Value = Vec<(u8, usize, u64)>> {
    prop::collection::vec((0_u8..9, 0_usize..20, 1_u64..3), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    /// One line of those who wait for all, and others who take from its members what is there: every grant is one that bare
    /// buckets grant at that very instant, and they come to the same in the end.
    #[test]
    fn what_is_granted_is_what_bare_buckets_grant(ops in any_ops()) {
        let mut rig = Rig::new(true);
        for (op, pick, n) in ops {
            match op {
                0 => {
                    if rig.all[0].try_take(n).is_granted() {
                        rig.granted(Rig::charges(0, n));
                    }
                }
                1 | 2 => {
                    let at = pick % 3;
                    if rig.buckets[at].try_take(n).is_granted() {
                        rig.granted(single(at, n));
                    }
                }
                3 | 4 => {
                    let take = rig.all[0].take(n);
                    rig.spawn(Rig::charges(0, n), take);
                }
                5 if !rig.tasks.is_empty() => drop(rig.tasks.remove(pick % rig.tasks.len())),
                _ => rig.pass(37_000_000 * n * (1 + pick as u64)),
            }
            rig.run();
        }
        rig.finish()?;
        let now = rig.time.now();
        for (bucket, (bare, state)) in rig.buckets.iter().zip(&rig.bare) {
            prop_assert_eq!(bucket.balance(), bare.balance(*state, now), "{}", bare.quota());
        }
    }

    /// Two combinations that share a bucket, others who wait for single ones, and reservations that come and go.
    #[test]
    fn nobody_is_forgotten_and_bounds_hold(ops in any_ops(), leave in any::<bool>()) {
        let mut rig = Rig::new(false);
        for (op, pick, n) in ops {
            match op {
                0 => {
                    let which = pick % 2;
                    if rig.all[which].try_take(n).is_granted() {
                        rig.granted(Rig::charges(which, n));
                    }
                }
                1 => {
                    let at = pick % 3;
                    if rig.buckets[at].try_take(n).is_granted() {
                        rig.granted(single(at, n));
                    }
                }
                2 | 3 => {
                    let which = pick % 2;
                    let take = rig.all[which].take(n);
                    rig.spawn(Rig::charges(which, n), take);
                }
                4 => {
                    let at = pick % 3;
                    let take = rig.buckets[at].take(n);
                    rig.spawn(single(at, n), take);
                }
                5 if !rig.tasks.is_empty() => drop(rig.tasks.remove(pick % rig.tasks.len())),
                6 => {
                    let which = pick % 2;
                    let reserved = rig.all[which].reserve(n).ok();
                    rig.booked.extend(reserved.map(|one| (one, Rig::charges(which, n))));
                }
                7 if !rig.booked.is_empty() => rig.unbook(pick % rig.booked.len()),
                _ => rig.pass(37_000_000 * n * (1 + pick as u64)),
            }
            // A reservation whose instant has passed is spent.
            rig.booked.retain(|(one, _)| !one.delay().is_zero());
            rig.run();
        }
        while !rig.booked.is_empty() {
            rig.unbook(0);
        }
        if leave {
            rig.tasks.clear();
        }
        rig.finish()?;
        for at in 0..3 {
            prop_assert_eq!(exceeds(&rig.grants, at), None);
        }
    }

    /// Reservations that are dropped before their instants leave no trace.
    #[test]
    fn reservations_that_leave_leave_no_trace(ops in prop::collection::vec((0_u8..4, 0_usize..20, 1_u64..3), 1..60)) {
        let mut rig = Rig::new(false);
        let before: Vec<_> = rig.buckets.iter().map(|bucket| bucket.take_all() as i64 - bucket.balance()).collect();
        prop_assert_eq!(before, [3, 5, 4]);
        for (op, pick, n) in ops {
            match op {
                0 => rig.booked.extend(rig.all[pick % 2].reserve(n).ok().map(|one| (one, [0; 3]))),
                1 => rig.single.extend(rig.buckets[pick % 3].reserve(n).ok()),
                2 if !rig.booked.is_empty() => drop(rig.booked.remove(pick % rig.booked.len())),
                3 if !rig.single.is_empty() => drop(rig.single.remove(pick % rig.single.len())),
                _ => {}
            }
        }
        rig.booked.clear();
        rig.single.clear();
        for bucket in &rig.buckets {
            prop_assert_eq!((bucket.balance(), bucket.counts().waiting), (0, 0));
        }
    }
}
