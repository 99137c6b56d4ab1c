//! What bodies cost, charged to a store: nobody who moves a body waits for it.
//!
//! Bytes that have passed are noted by key, and one task charges them, up to 64 keys at a time, into debt where they are not
//! there. What passes of a key meanwhile adds up, and is its next charge; so there is one call under way for each key, however fast
//! bytes pass.
//!
//! # What can be uncharged
//! What was not yet [noted](super::meter), less than 64 KiB for each body on its way; and what passed since the key's last call
//! began: while the store is there, for its answer and those to the keys before, each at most the store's timeout. While it is away, what is
//! [granted by policy](sluicegate::outage) is: a share pays later, `open` never does, and what `closed` does not take stays
//! noted until the store is back. Of more keys than the bound, and at a shutdown without a store, it is lost, and counted.
//!
//! # Where the task panics, or hangs
//! What is to be charged is not the task's: it is noted again as its call is dropped, and the next generation of the task charges it. Only
//! of the very call that panicked, or gave no answer, it isn't known what it has done: so it may be charged twice, but never not at all; what was
//! on its way back does not go back twice.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate::clock::nanos;
use sluicegate::quota::{Quota, Refill};
use sluicegate::store::{Charge, Decided, Outcome, Reservation, Store, StoreError};
use sluicegate::supervise::{Chore, Pulse};
use sluicegate::timer::Timer;
use tokio::sync::{Notify, watch};

/// How many keys are charged at the same time.
const AT_ONCE: usize = 64;

/// How long it is before a store that could not be charged is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// A key of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The limit's space.
    pub space: Arc<str>,
    /// The key's bytes.
    pub key: Arc<[u8]>,
}

/// What is to be charged. Clones are the same.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    /// The last one that is dropped ends the task.
    _handle: Arc<Handle>,
}

/// What charges it: to be run by one task at a time, and again if that panics. Clones are the same.
#[derive(Clone, Debug)]
pub struct Settling<S, T> {
    shared: Arc<Shared>,
    store: S,
    timer: T,
    /// Only with the last of them may it be taken for ended.
    _running: Arc<watch::Sender<()>>,
}

#[derive(Debug)]
struct Shared {
    notes: Mutex<Notes>,
    max_keys: usize,
    noted: Notify,
    closing: AtomicBool,
    lost: AtomicU64,
    /// Closed once the task has ended.
    ended: watch::Receiver<()>,
}

#[derive(Debug, Default)]
struct Notes {
    /// In the order in which they are charged.
    next: VecDeque<Place>,
    lines: HashMap<Place, Line>,
    /// How many are being charged.
    under_way: usize,
}

/// What a key is to be charged: less than nothing is to be given back.
#[derive(Clone, Copy, Debug)]
struct Line {
    quota: Quota,
    tokens: i64,
}

impl Ledger {
    /// For a store, with so many keys at the most; and what charges them, which is to be run.
    pub fn new<S: Store, T: Timer>(max_keys: usize, store: S, timer: T) -> (Self, Settling<S, T>) {
        let (running, ended) = watch::channel(());
        let shared = Arc::new(Shared {
            notes: Mutex::default(),
            max_keys,
            noted: Notify::new(),
            closing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            ended,
        });
        let handle = Arc::new(Handle(Arc::clone(&shared)));
        let settling = Settling { shared: Arc::clone(&shared), store, timer, _running: Arc::new(running) };
        (Self { shared, _handle: handle }, settling)
    }

    /// Notes that a key is to be charged `actual` tokens of this quota, in place of `charged`.
    pub fn note(&self, place: &Place, quota: &Quota, charged: u64, actual: u64) {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let tokens = signed(actual).saturating_sub(signed(charged));
        if tokens != 0 && !matches!(quota.refill(), Refill::Unlimited) {
            self.shared.add(place, Line { quota: *quota, tokens });
            self.shared.noted.notify_one();
        }
    }

    /// How many keys have something to be charged, or are being charged; one that has more since then counts twice.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let notes = self.shared.notes();
        notes.lines.len() + notes.under_way
    }

    /// How many tokens were not charged, and never will be.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Charges what is noted, and ends; it is over when all that could charge it is dropped. Cancel-safe.
    pub async fn close(&self) {
        self.shared.close();
        // An error: nobody has the other end any more.
        while self.shared.ended.clone().changed().await.is_ok() {}
    }
}

impl Shared {
    /// No panic can leave them half changed.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.noted.notify_one();
    }

    fn add(&self, place: &Place, line: Line) {
        let mut notes = self.notes();
        if let Some(known) = notes.lines.get_mut(place) {
            *known = Line { quota: line.quota, tokens: known.tokens.saturating_add(line.tokens) };
        } else if notes.lines.len() < self.max_keys {
            notes.lines.insert(place.clone(), line);
            notes.next.push_back(place.clone());
        } else {
            drop(notes);
            self.lose(line);
        }
    }

    /// What is never given back is no loss of the limit's.
    fn lose(&self, line: Line) {
        self.lost.fetch_add(u64::try_from(line.tokens).unwrap_or(0), Ordering::Relaxed);
    }

    fn take(&self) -> Vec<(Place, Line)> {
        let mut notes = self.notes();
        let count = notes.next.len().min(AT_ONCE);
        let places: Vec<Place> = notes.next.drain(..count).collect();
        notes.under_way += count;
        places.into_iter().filter_map(|place| notes.lines.remove_entry(&place)).collect()
    }
}

impl<S: Store, T: Timer> Settling<S, T> {
    /// Charges what is noted until the ledger is closed, and then once more. Dropped, what is not charged is noted again.
    pub async fn run(self) {
        self.run_watched(Pulse::unheard()).await;
    }

    async fn run_watched(self, pulse: Pulse) {
        let Self { shared, store, timer, .. } = &self;
        loop {
            pulse.rests();
            // Asked before what is noted is taken, so that the last of it is not left.
            let closing = shared.closing.load(Ordering::Acquire);
            let batch = shared.take();
            if batch.is_empty() {
                if closing {
                    return;
                }
                shared.noted.notified().await;
                continue;
            }
            let owed = |(place, line)| Owed { shared, place, line };
            let batch: Vec<Owed<'_>> = batch.into_iter().map(owed).collect();
            let settling = batch.into_iter().map(|mut owed| async move {
                settle(store, &mut owed).await;
                let is_left = owed.line.tokens != 0;
                if closing {
                    owed.give_up();
                }
                is_left
            });
            pulse.works();
            let failed = join_all(settling).await.contains(&true);
            pulse.rests();
            if failed && !closing {
                timer.sleep_for(nanos(PAUSE)).await;
            }
        }
    }
}

impl<S: Store + Clone + 'static, T: Timer> Chore for Settling<S, T> {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        self.clone().run()
    }

    fn work_watched(&self, pulse: Pulse) -> impl Future<Output = ()> + Send + 'static {
        self.clone().run_watched(pulse)
    }

    fn finish(&self) {
        self.shared.close();
    }
}

/// What a key is being charged. Dropped, what is left of it is noted again.
struct Owed<'a> {
    shared: &'a Shared,
    place: Place,
    line: Line,
}

impl Owed<'_> {
    /// What is left will never be charged.
    fn give_up(&mut self) {
        self.shared.lose(self.line);
        self.line.tokens = 0;
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if self.line.tokens != 0 {
            self.shared.add(&self.place, self.line);
            self.shared.noted.notify_one();
        }
        // After that: it is never taken for charged meanwhile.
        self.shared.notes().under_way -= 1;
    }
}

/// Charges a key, or gives back to it. What could not be charged yet is left.
async fn settle<S: Store>(store: &S, owed: &mut Owed<'_>) {
    let Owed { place, line, .. } = owed;
    let quota = line.quota;
    let charge = |n: u64| Charge::new(&place.space, &place.key, &quota).of(n);
    let Ok(tokens) = u64::try_from(line.tokens) else {
        // Once, whatever comes of it: given back twice, it would be minted.
        let back = std::mem::take(&mut line.tokens).unsigned_abs();
        let _ = store.put(charge(back)).await;
        return;
    };
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    // What no store grants, since there is never so much, is owed first; so the last answer tells how the key stands then.
    let part = tokens.min(quota.capacity());
    let more = tokens - part;
    if more > 0 {
        if owe(store, charge(0), more).await > 0 {
            return;
        }
        line.tokens = signed(part);
    }
    let left = match store.reserve(&[charge(part)], Duration::MAX).await {
        Ok(Outcome::Reserved(reservation)) => {
            drop(Reservation::keep(reservation));
            0
        }
        Ok(Outcome::Refused(verdict)) if matches!(verdict.by, Decided::Outage(_)) => part,
        // A stock is not there at any time, and is owed all the same.
        Ok(Outcome::Refused(_)) => owe(store, charge(0), part).await,
        Err(error) if error.is_outage() => part,
        Err(error) => {
            tracing::warn!("bytes of {} can't be charged: {error}", place.space);
            0
        }
    };
    line.tokens = signed(left);
}

/// Has a key owe so many tokens, whether they will ever be there or not; how many it could not be told of.
async fn owe<S: Store>(store: &S, nothing: Charge<'_>, owed: u64) -> u64 {
    let Ok(Outcome::Reserved(reservation)) = store.reserve(&[nothing], Duration::MAX).await else {
        return owed;
    };
    match reservation.settle(&[owed]).await {
        // It may have been done though it was not answered: not twice.
        Ok(()) | Err(StoreError::Lost { .. } | StoreError::Timeout { .. }) => 0,
        Err(_) => owed,
    }
}

/// What all clones have in common; dropped with the last.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}
