//! What fetches tokens and gives them back.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
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
/// [`Leased::new`](super::Leased::new).
#[must_use = "without it nothing is leased"]
pub struct Upkeep<S: Store, T: Timer> {
    shared: Arc<Shared<S, T>>,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<S: Store + 'static, T: Timer> Upkeep<S, T> {
    pub(super) const fn new(shared: Arc<Shared<S, T>>) -> Self {
        Self { shared }
    }

    /// Works until the leases are [closed](super::Leased::close), or nobody has them any more, and all has been given back.
    ///
    /// Cancel-safe: dropped, those who wait ask the store, and so do all who come; what was held is gone until it has flowed again.
    pub async fn run(self) {
        let shared = &self.shared;
        let _attending = shared.attendance.attend(|| {
            shared.table.end(shared.timer.now());
            shared.table.abandon();
        });
        let pause = nanos(shared.settings.lifetime) / SWEEPS;
        let mut working =
            Working { works: Vec::new(), sleep: Box::pin(shared.timer.sleep_for(pause)), ended: false };
        let mut place = shared.attendance.enter();
        poll_fn(|context| {
            place.set(context.waker());
            while working.poll(shared, pause, context) {}
            if working.ended && working.works.is_empty() && shared.table.is_quiet() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}

/// What is under way.
struct Working<Sleep> {
    works: Vec<Work>,
    sleep: Pin<Box<Sleep>>,
    /// Whether all leases were ended.
    ended: bool,
}

impl<Sleep: Future<Output = ()>> Working<Sleep> {
    /// Goes on with all there is; whether there may be more to do at once.
    fn poll<S, T>(&mut self, shared: &Arc<Shared<S, T>>, pause: u64, context: &mut Context<'_>) -> bool
    where
        S: Store + 'static,
        T: Timer<Sleep = Sleep>,
    {
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
        self.works.retain_mut(|work| work.as_mut().poll(context).is_pending());
        self.works.len() < MOST && !shared.table.is_quiet()
    }
}

/// Does what is to be done for a key, until there is nothing.
async fn look_after<S: Store, T: Timer>(shared: Arc<Shared<S, T>>, name: Name) {
    while let Some((step, quota)) = shared.table.step(name.named(), shared.timer.now()) {
        match step {
            Step::Take(n) => shared.fetch(&name, &quota, n).await,
            Step::Put(n) => shared.bring(&name, &quota, n).await,
        }
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

impl<S: Store, T: Timer> fmt::Debug for Upkeep<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}
