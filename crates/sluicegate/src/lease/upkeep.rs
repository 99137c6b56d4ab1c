//! What fetches tokens and gives them back.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::lease::{Lease, Step, Told};
use sluicegate_core::quota::Quota;

use super::Shared;
use super::counts::What;
use crate::store::{Charge, Decided, Name, Outcome, Reservation, Store};
use crate::timer::Timer;

/// How many keys are looked after at one time: calls of the store under way.
const MOST: usize = 64;

/// How often in a lifetime leases are looked at for what has to go back.
const SWEEPS: u64 = 16;

/// What a [`Leased`](super::Leased) does by itself: takes tokens from the store and gives them back. Made by
/// [`Leased::new`](super::Leased::new). Clones are the same: one of them is run at a time, and if that panics another goes on from
/// there, as a [steward](crate::supervise::Steward::keep) has it.
#[must_use = "without it nothing is leased"]
pub struct Upkeep<S: Store, T: Timer> {
    life: Arc<Life<S, T>>,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Panic = Box<dyn Any + Send>;

/// What all clones have in common. Dropped with the last of them, nobody will ever look after the leases again.
struct Life<S: Store, T: Timer> {
    shared: Arc<Shared<S, T>>,
    /// What was under way when the upkeep stopped. The next goes on with it.
    works: Mutex<Vec<Work>>,
}

impl<S: Store, T: Timer> Life<S, T> {
    /// Nothing panics under this lock.
    fn works(&self) -> MutexGuard<'_, Vec<Work>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store, T: Timer> Drop for Life<S, T> {
    fn drop(&mut self) {
        let shared = &self.shared;
        let works = mem::take(&mut *self.works());
        drop(works);
        shared.table.end(shared.timer.now());
        shared.table.abandon();
    }
}

impl<S: Store + 'static, T: Timer> Upkeep<S, T> {
    pub(super) fn new(shared: Arc<Shared<S, T>>) -> Self {
        Self { life: Arc::new(Life { shared, works: Mutex::default() }) }
    }

    /// Has it end.
    #[cfg(feature = "tokio")]
    pub(crate) fn end(&self) {
        self.life.shared.attendance.close();
    }

    /// Works until the leases are [closed](super::Leased::close), or nobody has them any more, and all has been given back.
    ///
    /// Cancel-safe: dropped, those who wait ask the store, and so do all who come. What was held stays while there is a clone of this
    /// upkeep, for when that is run; with the last of them it is gone until it has flowed again. A pause between the two counts towards the lifetime
    /// of a lease.
    ///
    /// # Panics
    /// If a call of the store does. Whoever waited for that key asks the store then, and all others' tokens stay.
    pub async fn run(self) {
        let shared = &self.life.shared;
        let _attending = shared.attendance.attend(|| shared.table.pause());
        let pause = nanos(shared.settings.lifetime) / SWEEPS;
        let works = mem::take(&mut *self.life.works());
        let sleep = Box::pin(shared.timer.sleep_for(pause));
        let mut working = Working { life: &self.life, works, sleep, ended: false };
        let mut place = shared.attendance.enter();
        poll_fn(|context| {
            place.set(context.waker());
            while working.poll(pause, context) {}
            if working.ended && working.works.is_empty() && shared.table.is_quiet() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}

/// What is under way. Dropped, it is there for whoever goes on.
struct Working<'a, S: Store, T: Timer> {
    life: &'a Life<S, T>,
    works: Vec<Work>,
    sleep: Pin<Box<T::Sleep>>,
    /// Whether all leases were ended.
    ended: bool,
}

impl<S: Store, T: Timer> Drop for Working<'_, S, T> {
    fn drop(&mut self) {
        self.life.works().append(&mut self.works);
    }
}

impl<S: Store + 'static, T: Timer> Working<'_, S, T> {
    /// Goes on with all there is; whether there may be more to do at once.
    fn poll(&mut self, pause: u64, context: &mut Context<'_>) -> bool {
        let shared = &self.life.shared;
        if shared.attendance.is_closing() && !self.ended {
            self.ended = true;
            shared.table.end(shared.timer.now());
        }
        if self.sleep.as_mut().poll(context).is_ready() {
            shared.table.sweep(shared.timer.now());
            self.sleep = Box::pin(shared.timer.sleep_for(pause));
            return true;
        }
        while self.works.len() < MOST
            && let Some(name) = shared.table.next()
        {
            self.works.push(Box::pin(look_after(Arc::clone(shared), name)));
        }
        let mut panic = None;
        self.works.retain_mut(|work| is_under_way(work, context, &mut panic));
        if let Some(panic) = panic {
            // Only now: what else is under way has to stay so.
            resume_unwind(panic);
        }
        self.works.len() < MOST && !shared.table.is_quiet()
    }
}

/// Goes on with a key. One whose store panics is done with: it can't go on.
fn is_under_way(work: &mut Work, context: &mut Context<'_>, panic: &mut Option<Panic>) -> bool {
    match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(polled) => polled.is_pending(),
        Err(caught) => {
            *panic = Some(caught);
            false
        }
    }
}

/// Does what is to be done for a key, until there is nothing.
async fn look_after<S: Store, T: Timer>(shared: Arc<Shared<S, T>>, name: Name) {
    let mut care = Care { shared: &shared, name: &name, puts: 0, done: false };
    while let Some((step, quota)) = shared.table.step(name.named(), shared.timer.now()) {
        match step {
            Step::Take(n) => shared.fetch(&name, &quota, n).await,
            Step::Put(n) => {
                care.puts = n;
                shared.bring(&name, &quota, n).await;
                care.puts = 0;
            }
        }
    }
    care.done = true;
}

/// A key is looked after. Dropped before that is done, since a call panics or nobody goes on with it, those who wait there ask the
/// store, and the next look is as after a call that failed.
struct Care<'a, S: Store, T: Timer> {
    shared: &'a Shared<S, T>,
    name: &'a Name,
    /// How many tokens are on their way back.
    puts: u64,
    done: bool,
}

impl<S: Store, T: Timer> Drop for Care<'_, S, T> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if self.puts > 0 {
            self.shared.counters.add(What::Lost, self.puts);
        }
        let changes = self.shared.table.drop_care(self.name.named(), self.shared.timer.now());
        self.shared.said(changes);
    }
}

impl<S: Store, T: Timer> Shared<S, T> {
    /// Takes tokens from the store. A booking, since one that somebody else has answered in the store's place can be given
    /// back there: such tokens are for whoever asks, and not to be held.
    async fn fetch(&self, name: &Name, quota: &Quota, n: u64) {
        self.counters.add(What::Fetched, 1);
        let charge = Charge::new(&name.space, &name.key, quota).of(n);
        let outcome = self.store.reserve(&[charge], Duration::ZERO).await;
        let now = self.timer.now();
        match outcome {
            Ok(Outcome::Reserved(reservation)) if reservation.verdict().by == Decided::Store => {
                let decision = reservation.keep().decision;
                self.tell(name, |lease| lease.granted(decision, now));
            }
            Ok(Outcome::Refused(verdict)) if verdict.by == Decided::Store => {
                self.tell(name, |lease| lease.refused(verdict.decision, now));
            }
            Ok(Outcome::Reserved(reservation)) => {
                Reservation::give_back(reservation);
                self.tell(name, |lease| lease.failed(now));
            }
            Ok(Outcome::Refused(_)) | Err(_) => self.tell(name, |lease| lease.failed(now)),
        }
    }

    /// Brings tokens back. Never twice: it could have been done though there was no answer.
    async fn bring(&self, name: &Name, quota: &Quota, n: u64) {
        let charge = Charge::new(&name.space, &name.key, quota).of(n);
        let done = self.store.put(charge).await;
        self.counters.add(if done.is_ok() { What::GivenBack } else { What::Lost }, n);
    }

    fn tell(&self, name: &Name, tell: impl FnOnce(&mut Lease) -> Told) {
        if let Some(((), changes)) = self.table.with(name.named(), |lease| ((), tell(lease))) {
            self.said(changes);
        }
    }
}

impl<S: Store, T: Timer> Clone for Upkeep<S, T> {
    fn clone(&self) -> Self {
        Self { life: Arc::clone(&self.life) }
    }
}

impl<S: Store, T: Timer> fmt::Debug for Upkeep<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}
