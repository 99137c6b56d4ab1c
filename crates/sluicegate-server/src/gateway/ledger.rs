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

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate::clock::nanos;
use sluicegate::quota::{Quota, Refill};
use sluicegate::store::{Charge, Decided, Outcome, Reservation, Store, StoreError};
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
    /// For a store, with so many keys at the most; and the task that charges them, which is to be run.
    pub fn new<S: Store>(max_keys: usize, store: S, timer: impl Timer) -> (Self, impl Future<Output = ()>) {
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
        let task = Arc::clone(&shared);
        let settling = async move {
            settle_all(&task, &store, &timer).await;
            // Only now may it be taken for ended.
            drop(running);
        };
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

    /// Charges what is noted, and ends. Cancel-safe.
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
        notes.under_way = count;
        places.into_iter().filter_map(|place| notes.lines.remove_entry(&place)).collect()
    }
}

/// Charges what is noted until the ledger is closed, and then once more.
async fn settle_all<S: Store>(shared: &Shared, store: &S, timer: &impl Timer) {
    loop {
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
        let settling = batch.into_iter().map(|(place, line)| async move {
            let left = settle(store, &place, line).await;
            (place, Line { tokens: left, ..line })
        });
        let mut failed = false;
        for (place, line) in join_all(settling).await {
            match line.tokens {
                0 => {}
                _ if closing => shared.lose(line),
                _ => {
                    failed = true;
                    shared.add(&place, line);
                }
            }
        }
        // What is left of them is noted again.
        shared.notes().under_way = 0;
        if failed {
            timer.sleep_for(nanos(PAUSE)).await;
        }
    }
}

/// Charges a key, or gives back to it. What could not be charged yet is returned.
async fn settle<S: Store>(store: &S, place: &Place, line: Line) -> i64 {
    let charge = |n: u64| Charge::new(&place.space, &place.key, &line.quota).of(n);
    let Ok(owed) = u64::try_from(line.tokens) else {
        // Once, whatever comes of it: given back twice, it would be minted.
        let _ = store.put(charge(line.tokens.unsigned_abs())).await;
        return 0;
    };
    // What no store grants, since there is never so much, is owed first; so the last answer tells how the key stands then.
    let part = owed.min(line.quota.capacity());
    let more = owed - part;
    let unowed = if more > 0 { owe(store, charge(0), more).await } else { 0 };
    if unowed > 0 {
        return i64::try_from(unowed + part).unwrap_or(i64::MAX);
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
    i64::try_from(left).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use sluicegate::clock::Clock;
    use sluicegate::memory::Memory;
    use sluicegate::timer::ManualTime;
    use sluicegate_testkit::faulty::{Fault, Faulty};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    type Far = Faulty<Memory<ManualTime>, ManualTime>;

    fn far() -> (Far, ManualTime) {
        let time = ManualTime::new();
        (Faulty::new(Memory::with_clock(time.clone()), time.clone()), time)
    }

    /// So long passes, in nanoseconds, in which everybody does what there is to do.
    async fn pass(time: &ManualTime, nanos: u64) {
        time.set(time.now() + nanos);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn place(key: &[u8]) -> Place {
        Place { space: "bytes".into(), key: key.into() }
    }

    /// What a key may have before it is refused, or how much it owes.
    async fn left(store: &Far, quota: &Quota, n: u64) -> bool {
        let charge = Charge::new("bytes", b"k", quota).of(n);
        store.store().peek(&[charge]).await.unwrap().is_granted()
    }

    #[tokio::test]
    async fn what_is_noted_is_charged_into_debt_and_in_pieces() {
        for text in ["100/s", "stock 100", "100/s burst 7"] {
            let ((store, time), quota) = (far(), text.parse().unwrap());
            let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
            let task = tokio::spawn(settling);
            for _ in 0..3 {
                ledger.note(&place(b"k"), &quota, 1, 301);
            }
            ledger.close().await;
            task.await.unwrap();
            assert_eq!((ledger.waiting(), ledger.lost()), (0, 0), "{text}");
            // 900 are charged: what is owed of them is paid when so much has flowed, and not before.
            pass(&time, 7_990_000_000).await;
            assert!(!left(&store, &quota, 1).await, "{text}");
            let put = Charge::new("bytes", b"k", &quota).of(801);
            match quota.refill() {
                Refill::Stock => assert_eq!(store.store().put(put).await.unwrap(), 801),
                _ => pass(&time, 1_100_000_000).await,
            }
            assert!(left(&store, &quota, 1).await, "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_larger_than_a_burst_takes_no_more_calls_for_it() {
        let ((store, time), quota) = (far(), "1000000/s burst 1".parse().unwrap());
        let (ledger, settling) = Ledger::new(10, store.clone(), time);
        let task = tokio::spawn(settling);
        ledger.note(&place(b"k"), &quota, 0, 10_000_000);
        ledger.close().await;
        task.await.unwrap();
        assert_eq!((store.calls(), ledger.lost()), (2, 0), "a debt, and a booking");
        let charge = Charge::new("bytes", b"k", &quota);
        let wait = store.store().peek(&[charge]).await.unwrap().decision.retry_after().unwrap();
        assert_eq!(wait, Duration::from_secs(10));
    }

    #[tokio::test]
    async fn what_is_being_charged_is_not_charged_yet() {
        let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
        store.set(Fault::Hangs);
        let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
        let _task = AbortOnDropHandle::new(tokio::spawn(settling));
        ledger.note(&place(b"k"), &quota, 0, 3);
        pass(&time, 1).await;
        assert_eq!((store.calls(), ledger.waiting()), (1, 1));
    }

    #[tokio::test]
    async fn a_stock_that_owes_owes_more() {
        let ((store, time), quota) = (far(), "stock 100".parse().unwrap());
        let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
        let task = tokio::spawn(settling);
        for _ in 0..3 {
            ledger.note(&place(b"k"), &quota, 0, 200);
            pass(&time, 1_000_000).await;
            assert_eq!(ledger.waiting(), 0);
        }
        drop(ledger);
        task.await.unwrap();
        let charge = Charge::new("bytes", b"k", &quota);
        assert_eq!(store.store().put(charge.of(500)).await.unwrap(), 500);
        assert!(!left(&store, &quota, 1).await);
        assert_eq!(store.store().put(charge).await.unwrap(), 1);
        assert!(left(&store, &quota, 1).await);
    }

    #[tokio::test]
    async fn what_was_not_used_goes_back_and_what_adds_up_is_one_call() {
        let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
        assert!(store.store().take(&[Charge::new("bytes", b"k", &quota).of(10)]).await.unwrap().is_granted());
        let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
        for _ in 0..4 {
            ledger.note(&place(b"k"), &quota, 1, 0);
        }
        let task = tokio::spawn(settling);
        ledger.close().await;
        task.await.unwrap();
        assert_eq!(store.calls(), 1);
        assert!(left(&store, &quota, 4).await && !left(&store, &quota, 5).await);
    }

    #[tokio::test]
    async fn while_the_store_is_away_it_is_kept_within_its_bound_and_charged_after() {
        let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
        store.set(Fault::Fails);
        let (ledger, settling) = Ledger::new(2, store.clone(), time.clone());
        let task = tokio::spawn(settling);
        for key in [&b"k"[..], b"l", b"m"] {
            ledger.note(&place(key), &quota, 0, 3);
        }
        pass(&time, 1_000_000_000).await;
        assert_eq!((ledger.waiting(), ledger.lost()), (2, 3), "the third finds no room");
        store.set(Fault::None);
        pass(&time, 1_000_000_000).await;
        assert_eq!(ledger.waiting(), 0);
        assert!(left(&store, &quota, 7).await && !left(&store, &quota, 8).await);

        store.set(Fault::Fails);
        ledger.note(&place(b"k"), &quota, 0, 5);
        ledger.close().await;
        task.await.unwrap();
        assert_eq!(ledger.lost(), 8, "tried once more at the end");
    }
}
