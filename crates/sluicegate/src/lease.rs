//! Tokens of a store, taken in advance and spent here: for stores that are far away, and keys that are asked often.
//!
//! [`Leased`] stands before a store, and is one. A key that is asked often has a lease: tokens that were taken from the store
//! and are spent here, for the price of a lock and a look into a table. How many those are follows demand; they are fetched before
//! they run out, by one call at a time for a key; and what is not spent within a lifetime, or lies idle for a quarter of it,
//! goes back. What the store has refused is refused here until it is time to ask again. The policy is
//! [a machine](sluicegate_core::lease); what fetches and gives back is the [`Upkeep`], which is to be run by a task of yours.
//!
//! # Bounds
//! With C and q/I a quota, L the [lifetime](Settings::with_lifetime), and any number of instances:
//!
//! * At most C + q·(t + L)/I tokens are used in any span of t, and half of what flows while a call of the store is under way;
//!   what the store grants is within C + q·t/I, as ever. In the long run it is the quota, exactly. (In steps of more than one
//!   token: one and a half steps more.)
//! * An instance holds at most half of what it spent of the key in the last L; so all of them together hold at most half of
//!   what was used then. Others are refused for it, if they come just then: it is what a lease costs. It goes back within L.
//! * An upkeep that panics and is [begun anew](crate::supervise::Steward::keep) loses what the call that panicked was about to give back, and
//!   nothing else. The pause before it goes on counts towards L.
//! * A crash loses what was held, until it has flowed again: less is granted, never more. So does a call that had no answer.
//!
//! # Where it differs from its store
//! * `remaining` and `reset_after` are what the store told last, with what is held here; others may have taken since.
//! * A refusal that is remembered stands until its time, though somebody else puts tokens meanwhile.
//! * While others hold what nobody uses, there may be a refusal that the store alone would not have made; so a retry at
//!   its time may be refused once more.
//! * A reset forgets what this instance holds; other instances keep what they have.
//! * A request on several keys is decided on their leases, one after the other; all or nothing, too. One on a key that can't be
//!   leased (a stock, `unlimited`, `ban`) is the store's as a whole, which then does not know what is held here.
//!
//! # With a store that may be away
//! `Leased<Guarded<S>>`: what is held is spent first; then the [guard's](crate::outage) policy decides. What it grants in the
//! store's place is never held.

mod acquire;
mod clones;
mod counts;
mod hold;
mod settings;
mod table;
mod upkeep;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use sluicegate_core::decision::Decision;
use sluicegate_core::lease::{Ask, Told, is_leased};
use sluicegate_core::quota::Quota;

use crate::attendance::{Attendance, Clones};
use crate::safety::{self, Safety};
use crate::store::{
    Charge, Decided, Named, Outcome, Reservation, Store, StoreError, Verdict, check_distinct,
};
use crate::timer::Timer;
use counts::{Counters, What};
use table::Table;

pub use counts::LeaseCounts;
pub use hold::LeasedHold;
pub use settings::Settings;
pub use upkeep::Upkeep;

/// A store whose tokens are taken in advance. Clones are the same.
///
/// ```
/// use sluicegate::lease::{Leased, Settings};
/// use sluicegate::memory::Memory;
/// use sluicegate::store::{Charge, Store, StoreError};
/// use sluicegate::timer::TokioTime;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
/// // In place of one across a network.
/// let far = Memory::new();
/// let (store, upkeep) = Leased::new(far.clone(), TokioTime::new(), Settings::default());
/// let upkeep = tokio::spawn(upkeep.run());
/// // Until that has begun, requests ask the store themselves.
/// tokio::task::yield_now().await;
///
/// let quota = "10000/s".parse().expect("a quota");
/// for _ in 0..1000 {
///     assert!(store.take(&[Charge::new("requests", b"ann", &quota)]).await?.is_granted());
/// }
/// assert!(store.counts().fetched < 30);
///
/// store.close().await;
/// upkeep.await.expect("it has ended");
/// assert_eq!(store.held(), 0, "all has gone back");
/// # Ok(()) }
/// ```
pub struct Leased<S: Store, T: Timer> {
    shared: Arc<Shared<S, T>>,
    /// The last one that is dropped ends the upkeep.
    _clones: Arc<Clones>,
}

struct Shared<S, T: Timer> {
    store: S,
    timer: T,
    settings: Settings,
    /// The spaces whose keys may have leases; none where all may.
    spaces: ArcSwapOption<HashSet<Box<str>>>,
    table: Table,
    attendance: Arc<Attendance>,
    counters: Counters,
    safety: Safety<T>,
}

impl<S: Store + 'static, T: Timer> Leased<S, T> {
    /// Leases from this store, and their upkeep, which is to be run: by a [steward](crate::supervise::Steward::keep), or by `tokio::spawn(upkeep.run())`.
    /// Until it runs, everything
    /// is asked of the store. `timer` may be another clock than the store's.
    pub fn new(store: S, timer: T, settings: Settings) -> (Self, Upkeep<S, T>) {
        let shared = Arc::new(Shared {
            store,
            safety: Safety::new(timer.clone(), safety::INSIDE),
            timer,
            table: Table::new(settings.lifetime, settings.max_keys),
            settings,
            attendance: Arc::default(),
            spaces: ArcSwapOption::empty(),
            counters: Counters::default(),
        });
        let clones = Clones::of(&shared.attendance);
        (Self { shared: Arc::clone(&shared), _clones: clones }, Upkeep::new(shared))
    }
}

impl<S: Store, T: Timer> Leased<S, T> {
    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// From now on only keys of these spaces have leases; a request on any other is the store's as a whole. What is held of others
    /// goes back in its time. Until this is said, all keys may have one.
    ///
    /// ```
    /// use sluicegate::lease::{Leased, Settings};
    /// use sluicegate::memory::Memory;
    /// use sluicegate::timer::TokioTime;
    ///
    /// let (store, _upkeep) = Leased::new(Memory::new(), TokioTime::new(), Settings::default());
    /// store.lease_only(["pages", "images"]);
    /// ```
    pub fn lease_only<'a>(&self, spaces: impl IntoIterator<Item = &'a str>) {
        self.shared.spaces.store(Some(Arc::new(spaces.into_iter().map(Box::from).collect())));
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> LeaseCounts {
        LeaseCounts { overdue: self.shared.safety.fired(), ..self.shared.counters.read() }
    }

    /// How many keys have a lease now.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.shared.table.len()
    }

    /// Unspent tokens of all keys together that are held here now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.shared.table.held()
    }

    /// Gives everything back and ends the upkeep; it is over when this is. Those who wait, and all who come later, ask the store.
    ///
    /// Cancel-safe: all is given back and ended all the same.
    pub async fn close(&self) {
        let safety = self.shared.safety.clone().with_longest(safety::CLOSING);
        safety.go_on("lease upkeep", self.shared.attendance.closed()).await;
    }
}

impl<S: Store, T: Timer> Shared<S, T> {
    /// Whether somebody fetches tokens.
    fn is_open(&self) -> bool {
        self.attendance.is_attended() && !self.attendance.is_closing()
    }

    /// Whether these charges are decided here.
    fn is_ours(&self, charges: &[Charge<'_>]) -> bool {
        let spaces = self.spaces.load();
        let may = |space: &str| spaces.as_ref().is_none_or(|spaces| spaces.contains(space));
        let is_leased = |charge: &Charge<'_>| is_leased(charge.quota) && may(charge.space);
        let ours = !charges.is_empty() && charges.iter().all(is_leased) && self.is_open();
        if !ours {
            self.counters.add(What::Passed, 1);
        }
        ours
    }

    /// What leases say; none if it is for the store to decide.
    async fn ours(&self, charges: &[Charge<'_>]) -> Result<Option<Verdict>, StoreError> {
        let each = match charges {
            // Nearly always, and at once.
            [charge] => match self.ask(charge, self.timer.now()) {
                Ask::Decided(decision) => Some(vec![decision]),
                Ask::Pass => None,
                Ask::Wait(ticket) => self.wait(charge, ticket).await.map(|decision| vec![decision]),
            },
            _ => {
                check_distinct(charges)?;
                self.decide_all(charges).await
            }
        };
        if each.is_none() {
            self.counters.add(What::Passed, 1);
        }
        Ok(each.map(|each| Verdict::new(each).decided(Decided::Lease)))
    }

    /// What the store itself has decided: how its buckets stand, and the demand that it has met.
    fn met(&self, charges: &[Charge<'_>], verdict: &Verdict) {
        if verdict.by != Decided::Store {
            return;
        }
        let now = self.timer.now();
        for (charge, decision) in charges.iter().zip(&verdict.each) {
            let met = self.table.with(charge.name(), |lease| {
                if lease.quota() != charge.quota {
                    return ((), Told::default());
                }
                if verdict.is_granted() {
                    lease.used(charge.n, now);
                }
                ((), lease.heard(*decision, now))
            });
            if let Some(((), changes)) = met {
                self.said(changes);
            }
        }
    }
}

impl<S: Store + 'static, T: Timer> Store for Leased<S, T> {
    type Hold = LeasedHold<S, T>;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        let shared = &self.shared;
        if shared.is_ours(charges)
            && let Some(verdict) = shared.ours(charges).await?
        {
            return Ok(verdict);
        }
        let verdict = shared.store.take(charges).await?;
        shared.met(charges, &verdict);
        Ok(verdict)
    }

    async fn peek(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        let (shared, now) = (&self.shared, self.shared.timer.now());
        // What is held is there too.
        let held: Vec<u64> = charges.iter().map(|charge| shared.table.held_of(charge, now)).collect();
        let rest = |(charge, held): (&Charge<'_>, &u64)| {
            if charge.n > charge.quota.capacity() { charge.n } else { charge.n.saturating_sub(*held) }
        };
        let rest: Vec<Charge<'_>> =
            charges.iter().zip(&held).map(|both| Charge { n: rest(both), ..*both.0 }).collect();
        let verdict = shared.store.peek(&rest).await?;
        let each = verdict.each.iter().zip(&held).map(|(decision, held)| beside(*decision, *held)).collect();
        Ok(Verdict::new(each).decided(verdict.by))
    }

    async fn take_up_to(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        let shared = &self.shared;
        let here = shared.take_here(&charge);
        if here == charge.n {
            return Ok(here);
        }
        let spent = shared.spent(charge.name(), here);
        match shared.store.take_up_to(charge.of(charge.n - here)).await {
            Ok(more) => {
                spent.keep();
                shared.used(charge.name(), more);
                Ok(here + more)
            }
            Err(_) if here > 0 => {
                spent.keep();
                Ok(here)
            }
            Err(error) => Err(error),
        }
    }

    async fn put(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        let fitted = self.shared.store.put(charge).await?;
        self.shared.put(charge.name(), fitted);
        Ok(fitted)
    }

    async fn reset(&self, space: &str, key: &[u8]) -> Result<(), StoreError> {
        let forgotten = self.shared.table.with(Named { space, key }, |lease| {
            lease.discard();
            ((), Told::default())
        });
        if let Some(((), changes)) = forgotten {
            self.shared.said(changes);
        }
        self.shared.store.reset(space, key).await
    }

    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> Result<Outcome<LeasedHold<S, T>>, StoreError> {
        let shared = &self.shared;
        if shared.is_ours(charges)
            && let Some(verdict) = shared.ours(charges).await?
        {
            if verdict.is_granted() {
                let hold = LeasedHold::spent(charges, shared);
                return Ok(Outcome::Reserved(Reservation::new(hold, charges.len(), Duration::ZERO, verdict)));
            }
            if max_wait.is_zero() {
                return Ok(Outcome::Refused(verdict));
            }
        }
        // What is not here is booked there.
        Ok(match shared.store.reserve(charges, max_wait).await? {
            Outcome::Refused(verdict) => Outcome::Refused(verdict),
            Outcome::Reserved(reservation) => {
                shared.met(charges, reservation.verdict());
                Outcome::Reserved(reservation.map(|hold| LeasedHold::stored(hold, shared)))
            }
        })
    }

    async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        let known = self.shared.table.peek(&charge, self.shared.timer.now());
        match known.filter(|known| known.is_granted() || known.is_never()) {
            Some(decision) => Ok(decision),
            None => self.shared.store.watch(charge).await,
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.shared.store.ping().await
    }

    async fn beat(&self, group: &str, instance: &[u8], ttl: Duration) -> Result<u64, StoreError> {
        self.shared.store.beat(group, instance, ttl).await
    }

    fn supports(&self, quota: &Quota) -> Result<(), StoreError> {
        self.shared.store.supports(quota)
    }
}

/// The store's decision, where so many more are held.
fn beside(mut decision: Decision, held: u64) -> Decision {
    let (Decision::Granted { limit, remaining, .. }
    | Decision::Later { limit, remaining, .. }
    | Decision::Never { limit, remaining, .. }) = &mut decision;
    *remaining = remaining.saturating_add(held).min(*limit);
    decision
}
