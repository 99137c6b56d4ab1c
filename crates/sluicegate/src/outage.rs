//! What happens when the store is away: one bounded timeout, then an answer at once.
//!
//! [`Guarded`] stands before a store, and is one. Each call of the store has a timeout. Once one has had no answer in all
//! that time, or several in a row have failed, a [breaker](sluicegate_core::breaker) opens: from then on nothing is asked, calls under way
//! are not waited for any more, and each limit is answered by its [`Policy`]: everything, nothing, or this instance's share of
//! the quota. Now and then one probe asks whether the store is back.
//!
//! The [`Upkeep`] is the part that works by itself, and is to be run by a task of yours: it says to the store that this instance
//! is there and learns how many are, makes the probes, so that no request has to, and pays what is owed. Without it, one
//! request at a time is the probe, a key's debt is paid at its next request, and the number of instances is the
//! [least](Settings::with_instances) there are.
//!
//! # Bounds
//! What is granted while the store is away by [`Policy::LocalShare`], with C and q/I the whole quota, N instances that all know
//! of each other:
//!
//! * All of them together grant C + q·t/I in any span of t that begins in the outage, also one that ends after it: what was
//!   granted is charged to the store before anything else is granted for that key, so there is no second burst.
//! * Instances find out at different times that the store is back, up to the longest pause P of a breaker (1 s if nothing is
//!   said), and a timeout, apart. For so long those who have not yet go on granting their shares beside it, up to q·P/I
//!   together, and what they owe comes late, at most C. So a span that holds the end of an outage has up to C + q·P/I more if instances
//!   differ that much, of which q·P/I stay.
//! * An outage begins with what the store told last, divided by N. What others have taken since then is not known, and the store
//!   has not told of keys that are full, or never used. So in a span that holds the beginning of an outage it is C more at the most.
//! * Where a request costs more than C/N, C is the larger of itself and N times that. Tokens are whole: at each beginning and
//!   end one is rounded, for each instance.
//!
//! [`Policy::Open`] has no bound, and nothing is charged for it later. A call that had no answer may have had its effect: its
//! tokens are then gone from the store until they have flowed back, though it was answered by the policy.
//!
//! # Who sees it
//! [`Verdict::by`] says `Outage` and the policy; [`Guarded::counts`] has timeouts, openings, probes and what was answered;
//! [`Guarded::standing`] is the breaker.

mod call;
mod clones;
mod counts;
mod debts;
mod hold;
mod settings;
mod shares;
mod upkeep;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use sluicegate_core::breaker::{Breaker, Standing};
use sluicegate_core::clock::nanos;
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

use crate::attendance::{Attendance, Clones};
use crate::safety::{self, Safety};
use crate::store::{
    Charge, Decided, Named, Outcome, Reservation, Store, StoreError, Verdict, check_distinct,
};
use crate::timer::Timer;
use crate::wake::Wakers;
use call::Who;
use counts::Counters;
use settings::Policies;
use shares::{Asking, Outside, Shares};

pub use counts::OutageCounts;
pub use hold::GuardedHold;
pub use settings::Settings;
pub use sluicegate_core::breaker::Policy;
pub use upkeep::Upkeep;

/// A store that answers at once also while the one behind it is away. Clones are the same.
///
/// ```
/// use sluicegate::memory::Memory;
/// use sluicegate::outage::{Guarded, Policy, Settings};
/// use sluicegate::store::{Charge, Decided, Store, StoreError};
/// use sluicegate::timer::TokioTime;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
/// let settings = Settings::new(Policy::LocalShare);
/// let (store, upkeep) = Guarded::new(Memory::new(), TokioTime::new(), settings);
/// let upkeep = tokio::spawn(upkeep.run());
///
/// let quota = "10/s".parse().expect("a quota");
/// let verdict = store.take(&[Charge::new("requests", b"ann", &quota)]).await?;
/// assert!(verdict.is_granted());
/// assert_eq!(verdict.by, Decided::Store);
///
/// store.close().await;
/// upkeep.await.expect("it has ended");
/// # Ok(()) }
/// ```
pub struct Guarded<S: Store, T: Timer> {
    shared: Arc<Shared<S, T>>,
    /// The last one that is dropped ends the upkeep.
    _clones: Arc<Clones>,
}

struct Shared<S, T: Timer> {
    store: S,
    timer: T,
    settings: Settings,
    /// As the settings say, until others are set.
    policies: ArcSwap<Policies>,
    breaker: Mutex<Breaker>,
    /// How often it has opened; and who is to know at once.
    openings: AtomicU64,
    opened: Wakers,
    /// Why the last call failed, if none has been answered since.
    why: Mutex<Option<StoreError>>,
    shares: Mutex<Shares>,
    /// How many keys owe; changed under the lock of the shares.
    owing: AtomicUsize,
    /// How many instances were seen, this one among them; zero if none were.
    seen: AtomicU64,
    attendance: Arc<Attendance>,
    counters: Counters,
    safety: Safety<T>,
}

impl<S: Store, T: Timer> Guarded<S, T> {
    /// A guard before this store, and its upkeep, which is to be run: by a [steward](crate::supervise::Steward::keep), or by
    /// `tokio::spawn(upkeep.run())`. `timer` may be another
    /// clock than the store's.
    pub fn new(store: S, timer: T, settings: Settings) -> (Self, Upkeep<S, T>) {
        let shared = Arc::new(Shared {
            store,
            safety: Safety::new(timer.clone(), safety::INSIDE),
            timer,
            breaker: Mutex::new(Breaker::new(settings.breaker)),
            openings: AtomicU64::new(0),
            opened: Wakers::default(),
            why: Mutex::default(),
            shares: Mutex::new(Shares::new(settings.max_keys)),
            owing: AtomicUsize::new(0),
            seen: AtomicU64::new(0),
            attendance: Arc::default(),
            counters: Counters::default(),
            policies: ArcSwap::from_pointee(settings.policies.clone()),
            settings,
        });
        let clones = Clones::of(&shared.attendance);
        (Self { shared: Arc::clone(&shared), _clones: clones }, Upkeep::new(shared))
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// Answers limits by other policies from now on: those named in `each` by theirs, and all others by `others`. What was granted by
    /// a share and is owed stays owed.
    ///
    /// ```
    /// use sluicegate::memory::Memory;
    /// use sluicegate::outage::{Guarded, Policy, Settings};
    /// use sluicegate::timer::TokioTime;
    ///
    /// let settings = Settings::new(Policy::LocalShare);
    /// let (store, _upkeep) = Guarded::new(Memory::new(), TokioTime::new(), settings);
    /// store.set_policies(Policy::LocalShare, [("logins", Policy::Closed)]);
    /// ```
    pub fn set_policies<'a>(&self, others: Policy, each: impl IntoIterator<Item = (&'a str, Policy)>) {
        let each = each.into_iter().map(|(space, policy)| (space.into(), policy)).collect();
        self.shared.policies.store(Arc::new(Policies { each, others }));
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> OutageCounts {
        OutageCounts { overdue: self.shared.safety.fired(), ..self.shared.counters.read() }
    }

    /// How the breaker stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.shared.standing()
    }

    /// Why the store is away: what the last call that failed was told. None once the store is back.
    ///
    /// ```
    /// use sluicegate::memory::Memory;
    /// use sluicegate::outage::{Guarded, Policy, Settings};
    /// use sluicegate::timer::TokioTime;
    ///
    /// let settings = Settings::new(Policy::LocalShare);
    /// let (store, _upkeep) = Guarded::new(Memory::new(), TokioTime::new(), settings);
    /// assert!(store.why().is_none());
    /// ```
    #[must_use]
    pub fn why(&self) -> Option<StoreError> {
        self.shared.why().clone()
    }

    /// By how many a quota is divided for a local share.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.shared.instances()
    }

    /// For how many keys tokens were granted locally that are not charged to the store yet.
    #[must_use]
    pub fn owing(&self) -> usize {
        self.shared.owing.load(Ordering::Acquire)
    }

    /// Ends the upkeep: it pays what is owed if the store is there, says that this instance leaves, and is over when this is.
    /// The guard still works afterwards.
    ///
    /// Cancel-safe: the upkeep ends all the same.
    pub async fn close(&self) {
        let safety = self.shared.safety.clone().with_longest(safety::CLOSING);
        safety.go_on("outage upkeep", self.shared.attendance.closed()).await;
    }
}

impl<S: Store, T: Timer> Shared<S, T> {
    fn standing(&self) -> Standing {
        self.breaker().standing(self.timer.now())
    }

    fn instances(&self) -> u64 {
        self.seen.load(Ordering::Acquire).max(self.settings.instances)
    }

    fn policy(&self, space: &str) -> Policy {
        self.policies.load().of(space)
    }

    fn outside(&self) -> Outside {
        let again = match self.standing() {
            Standing::Open { wait } if wait > 0 => Duration::from_nanos(wait),
            // A probe is on its way, or will be.
            _ => self.settings.timeout,
        };
        Outside { now: self.timer.now(), instances: self.instances(), again }
    }

    /// Decides in place of the store; how long it is until what was booked is there comes back too, in nanoseconds.
    fn locally(&self, charges: &[Charge<'_>], asking: Asking) -> Result<(Verdict, u64), StoreError> {
        check_distinct(charges)?;
        let (outside, policy) = (self.outside(), |space: &str| self.policy(space));
        let mut shares = self.shares();
        let answer = shares.decide(charges, policy, asking, outside);
        self.count_owing(&shares);
        drop(shares);
        let verdict = Verdict::new(answer.each);
        // The policy of the limit that was decisive.
        let decisive = verdict.each.iter().position(|one| *one == verdict.decision);
        let by = policy(decisive.map_or("", |place| charges[place].space));
        self.count(by, verdict.is_granted(), answer.crowded);
        Ok((verdict.decided(Decided::Outage(by)), answer.wait))
    }

    /// What the store has told of keys whose shares may be needed.
    fn told(&self, charges: &[Charge<'_>], verdict: &Verdict) {
        if verdict.by != Decided::Store {
            return;
        }
        let mut shares = None;
        for (charge, decision) in charges.iter().zip(&verdict.each) {
            if self.policy(charge.space) == Policy::LocalShare {
                let shares = shares.get_or_insert_with(|| (self.shares(), self.timer.now()));
                shares.0.told(charge, decision.remaining(), shares.1);
            }
        }
    }

    /// The store's answer, or none if it is for us to give one.
    async fn asked<R>(
        &self,
        charges: &[Charge<'_>],
        call: impl Future<Output = Result<R, StoreError>>,
    ) -> Result<Option<R>, StoreError> {
        if !self.is_even(Who::Request, charges).await {
            return Ok(None);
        }
        match self.ask(Who::Request, call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_outage() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<S: Store + 'static, T: Timer> Store for Guarded<S, T> {
    type Hold = GuardedHold<S, T>;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        match self.shared.asked(charges, self.shared.store.take(charges)).await? {
            Some(verdict) => {
                self.shared.told(charges, &verdict);
                Ok(verdict)
            }
            None => Ok(self.shared.locally(charges, Asking::Take)?.0),
        }
    }

    async fn peek(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        match self.shared.asked(charges, self.shared.store.peek(charges)).await? {
            Some(verdict) => {
                self.shared.told(charges, &verdict);
                Ok(verdict)
            }
            None => Ok(self.shared.locally(charges, Asking::Peek)?.0),
        }
    }

    async fn take_up_to(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        let shared = &*self.shared;
        let policy = shared.policy(charge.space);
        if let Some(taken) = shared.asked(&[charge], shared.store.take_up_to(charge)).await? {
            if policy == Policy::LocalShare {
                let now = shared.timer.now();
                let mut shares = shared.shares();
                match taken < charge.n {
                    true => shares.told(&charge, 0, now),
                    false => shares.spent(&charge, taken, now),
                }
            }
            return Ok(taken);
        }
        let mut crowded = false;
        let taken = match policy {
            Policy::Open => charge.n.min(charge.quota.capacity()),
            Policy::Closed => 0,
            Policy::LocalShare => {
                let outside = shared.outside();
                let mut shares = shared.shares();
                let taken = shares.take_up_to(&charge, outside);
                shared.count_owing(&shares);
                crowded = taken.is_none();
                taken.unwrap_or(0)
            }
        };
        shared.count(policy, taken > 0 || charge.n == 0, crowded);
        Ok(taken)
    }

    /// While the store is away, an error.
    async fn put(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.shared.ask(Who::Request, self.shared.store.put(charge)).await
    }

    /// While the store is away, an error.
    async fn reset(&self, space: &str, key: &[u8]) -> Result<(), StoreError> {
        self.shared.ask(Who::Request, self.shared.store.reset(space, key)).await?;
        let mut shares = self.shared.shares();
        shares.forget(Named { space, key });
        self.shared.count_owing(&shares);
        Ok(())
    }

    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> Result<Outcome<GuardedHold<S, T>>, StoreError> {
        let shared = &self.shared;
        if let Some(outcome) = shared.asked(charges, shared.store.reserve(charges, max_wait)).await? {
            shared.told(charges, outcome.verdict());
            return Ok(match outcome {
                Outcome::Refused(verdict) => Outcome::Refused(verdict),
                Outcome::Reserved(reservation) => {
                    Outcome::Reserved(reservation.map(|hold| GuardedHold::stored(hold, shared)))
                }
            });
        }
        let (verdict, wait) = shared.locally(charges, Asking::Book(nanos(max_wait)))?;
        if !verdict.is_granted() {
            return Ok(Outcome::Refused(verdict));
        }
        let hold = GuardedHold::local(charges, wait, shared);
        Ok(Outcome::Reserved(Reservation::new(hold, charges.len(), Duration::from_nanos(wait), verdict)))
    }

    /// While the store is away, waits until the policy grants, or the store is back and does.
    async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        self.shared.watch(charge).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.shared.ask(Who::Request, self.shared.store.ping()).await
    }

    async fn beat(&self, group: &str, instance: &[u8], ttl: Duration) -> Result<u64, StoreError> {
        self.shared.ask(Who::Request, self.shared.store.beat(group, instance, ttl)).await
    }

    fn supports(&self, quota: &Quota) -> Result<(), StoreError> {
        self.shared.store.supports(quota)
    }
}
