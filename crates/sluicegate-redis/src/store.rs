//! The store in Redis.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluicegate::clock::nanos;
use sluicegate::decision::Decision;
use sluicegate::detector::{Rule, Watching};
use sluicegate::quota::Quota;
use sluicegate::restart::{self, Backoff, When};
use sluicegate::safety::Safety;
use sluicegate::store::parts::Watchers;
use sluicegate::store::{Charge, Outcome, Reservation, Store, StoreError, Verdict, check_distinct};
use sluicegate::supervise::{Handle, Spec, Steward, Ward};
use sluicegate::timer::{Timer, TokioTime};
use tokio::sync::mpsc;

use crate::booking::Booking;
use crate::driver::Driver;
use crate::job::{Answer, Back, Beat, Item, Operation, Request, Work};
use crate::link::{Link, TestTime};
use crate::numbers::{HORIZON, MOST, Numbers};
use crate::said::{Kind, Said, Standing};
use crate::settings::Settings;
use crate::shared::{Shared, by_slot};
use crate::watch::Watch;

/// The store in Redis, Valkey, or their Cluster: buckets that any number of instances share, by the server's time.
///
/// One connection serves any number of buckets and callers (in a Cluster one to each node). It is made when it is first needed and
/// again when it breaks; [`ping`](Store::ping) says whether all is as it should be. Clones are the same store.
///
/// ```no_run
/// use sluicegate::store::{Charge, Store};
/// use sluicegate_redis::{Redis, Settings};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Redis::open(Settings::new("redis://127.0.0.1:6379")?);
/// let quota = "100/m".parse()?;
/// let verdict = store.take(&[Charge::new("per-client", b"10.0.0.1", &quota)]).await?;
/// println!("{}", verdict.decision);
/// store.close().await;
/// # Ok(()) }
/// ```
pub struct Redis<T: Timer = TokioTime> {
    shared: Arc<Shared<T>>,
}

impl Redis {
    /// The store of these settings.
    ///
    /// # Panics
    /// Outside a tokio runtime: its task lives there.
    #[must_use]
    pub fn open(settings: Settings) -> Self {
        Self::open_on(settings, TokioTime::new())
    }
}

impl<T: Timer> Redis<T> {
    /// The same, with a timer of your own, by which bookings are due and who watches wakes. Buckets go by the server's time
    /// all the same; no clock of this machine decides anything.
    ///
    /// # Panics
    /// As [`open`](Redis::open).
    #[must_use]
    pub fn open_on(settings: Settings, timer: T) -> Self {
        Self::started(settings, timer, None)
    }

    /// For this crate's own tests: a store whose buckets are in a test's time, and don't expire. `now` tells microseconds.
    #[doc(hidden)]
    #[must_use]
    pub fn open_in_test_time(
        settings: Settings,
        timer: T,
        now: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self::started(settings, timer, Some(Arc::new(now)))
    }

    fn started(settings: Settings, timer: T, test_time: Option<TestTime>) -> Self {
        let mut steward = Steward::new(for_ever(), TokioTime::new());
        let (shared, driver) = Self::apart(settings, timer, test_time, steward.handle());
        let driver = Arc::new(tokio::sync::Mutex::new(driver));
        // Its calls have timeouts of their own. That its thread is blocked shows in its beats.
        let watching = Rule::timeout(HANG).map(|rule| Watching::new(rule).with_looks_every(HANG / 4));
        let spec = Spec::new("redis").with_when(When::OnFailure);
        let spec = watching.map_or(spec.clone(), |watching| spec.watched(watching));
        let _ = steward.add(spec, move |ward: Ward<()>| {
            let driver = Arc::clone(&driver);
            async move {
                let working = async { driver.lock().await.run().await };
                ward.beater().beating(HANG / 4, working).await;
                Ok::<(), Infallible>(())
            }
        });
        *shared.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(steward.run()));
        Self { shared: Arc::new(shared) }
    }

    /// What the store's handles have in common, and what does its work, which is to be run.
    fn apart(
        settings: Settings,
        timer: T,
        test_time: Option<TestTime>,
        steward: Handle,
    ) -> (Shared<T>, Driver) {
        let (settings, watchers) = (Arc::new(settings), Arc::new(Watchers::default()));
        let (jobs, came) = mpsc::channel(settings.max_waiting);
        let back = Back { jobs: jobs.downgrade(), lost: Arc::new(AtomicU64::new(0)) };
        let link = Link::new(Arc::clone(&settings), Arc::clone(&watchers), test_time);
        let driver = Driver::new(Arc::clone(&settings), came, back.clone(), link);
        let (time, task) = (TokioTime::new(), Mutex::default());
        let safety = Safety::new(timer.clone(), CLOSING);
        (Shared { settings, jobs, back, watchers, timer, time, safety, task, steward }, driver)
    }

    /// A store without its task: that is the test's to run.
    #[cfg(test)]
    pub(crate) fn without_task(settings: Settings, timer: T) -> (Self, Driver) {
        let nobody = Steward::new(for_ever(), TokioTime::new()).handle();
        let (shared, driver) = Self::apart(settings, timer, None, nobody);
        (Self { shared: Arc::new(shared) }, driver)
    }

    /// Ends the store for all its clones, once everything that was asked for and goes back is done. Whoever asks later is told
    /// that it is away. Without it, the same happens when the last clone and booking are dropped, if the runtime still runs.
    ///
    /// How long that takes is up to what waits, and the timeouts. Where it lasts longer than ten minutes, that is a bug: it is
    /// [counted](Self::overdue), and waited for all the same.
    pub async fn close(&self) {
        let ended = async {
            if let Ok(told) = self.shared.send(Work::Close, 0) {
                // None: somebody else has closed it.
                drop(told.await);
            }
            let task = self.shared.task.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(task) = task {
                // A task that has panicked has ended too.
                drop(task.await);
            }
        };
        self.shared.safety.go_on("redis", ended).await;
    }

    /// How many times [`close`](Self::close) has lasted longer than it ever should: bugs, each of them.
    #[must_use]
    pub fn overdue(&self) -> u64 {
        self.shared.safety.fired()
    }

    /// How many times something could not be given back: to a store that was away, or too busy. Tokens that were taken then flow
    /// back by themselves.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.back.lost.load(Ordering::Relaxed)
    }

    /// How many times the task that asks the server has panicked, which is a bug, and was started again. Whoever waited for the call
    /// that did was told that its answer is [lost](StoreError::Lost); nobody else has noticed.
    ///
    /// ```
    /// use sluicegate_redis::{Redis, Settings};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Redis::open(Settings::new("redis://127.0.0.1:6379")?);
    /// assert_eq!(store.restarts(), 0);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.shared.steward.counts().restarts
    }

    /// Decides over all charges: in one step where they are in one slot.
    async fn decide(
        &self,
        operation: Operation,
        longest: u64,
        charges: &[Charge<'_>],
    ) -> Result<(Verdict, u64, Vec<Item>), StoreError> {
        check_distinct(charges)?;
        let items = self.items(charges)?;
        let slots = by_slot(&self.shared.settings.names, &items);
        let asked: Vec<_> = slots
            .iter()
            .map(|(slot, places)| {
                let items = places.iter().map(|place| items[*place].clone()).collect();
                self.shared.send(Work::Ask(vec![Request { operation, longest, items }]), *slot)
            })
            .collect();
        let mut answers = Vec::with_capacity(asked.len());
        for told in asked {
            // On an error those that have come are dropped, and go back; those that come later do so too.
            answers.push(self.shared.answer(told?).await?);
        }
        let is_refund = operation != Operation::Peek && !answers.iter().all(Answer::is_granted);
        let (mut each, mut latest) = (vec![None; charges.len()], 0);
        for ((slot, places), answer) in slots.iter().zip(answers) {
            let said = if is_refund && answer.is_granted() {
                self.refund(answer, &items, places, *slot).await?
            } else {
                answer.keep()
            };
            let Some(Said::Decided { due, each: standings }) = said.into_iter().next_back() else {
                return Err(unanswered());
            };
            latest = latest.max(due);
            for (place, standing) in places.iter().zip(standings) {
                each[*place] = Some(decision(charges[*place].quota, items[*place].quota, standing));
            }
        }
        let each: Option<Vec<Decision>> = each.into_iter().collect();
        Ok((Verdict::new(each.ok_or_else(unanswered)?), latest, items))
    }

    /// Gives back what one slot has granted and another not, and says where its limits stand then.
    async fn refund(
        &self,
        answer: Answer,
        items: &[Item],
        places: &[usize],
        slot: u16,
    ) -> Result<Vec<Said>, StoreError> {
        let mine = |n: Option<u64>| -> Vec<Item> {
            places
                .iter()
                .map(|place| Item { n: n.unwrap_or(items[*place].n), ..items[*place].clone() })
                .collect()
        };
        let back = Request::new(Operation::GiveBack, mine(None));
        let stands = Request::new(Operation::Peek, mine(Some(0)));
        let told = self.shared.send(Work::Settle(vec![back, stands]), slot)?;
        // It goes back now, whether or not anybody waits for it.
        drop(answer.keep());
        Ok(self.shared.answer(told).await?.keep())
    }

    /// Asks for a number of one key's tokens.
    async fn count(&self, operation: Operation, charge: Charge<'_>) -> Result<u64, StoreError> {
        let items = self.items(&[charge])?;
        let is_unlimited = items[0].quota.is_unlimited();
        let slot = self.shared.settings.names.slot(&items[0].name);
        let told = self.shared.send(Work::Ask(vec![Request::new(operation, items)]), slot)?;
        match self.shared.answer(told).await?.keep()[..] {
            [Said::Count(_)] if is_unlimited => Ok(charge.n),
            [Said::Count(n)] => Ok(n),
            _ => Err(unanswered()),
        }
    }

    fn items(&self, charges: &[Charge<'_>]) -> Result<Vec<Item>, StoreError> {
        let item = |charge: &Charge<'_>| {
            let name = self.shared.settings.names.of(charge.space, charge.key);
            Ok(Item { name, quota: Numbers::of(charge.quota)?, n: charge.n.min(MOST) })
        };
        charges.iter().map(item).collect()
    }
}

/// How long it may take to end, what is on its way back included.
const CLOSING: Duration = Duration::from_secs(600);

/// How long the task may block its thread until it is taken for hung.
const HANG: Duration = Duration::from_secs(30);

/// The task is started again however often it fails: after 10 ms, and pauses of up to two seconds, which never come to so many
/// restarts.
fn for_ever() -> restart::Settings {
    let settings = restart::Settings::default().with_intensity(100, Duration::from_secs(60));
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
    // The constants are in range; were they changed to be out of it, the library's own would hold.
    settings.unwrap_or_default().with_backoff(backoff.unwrap_or(Backoff::NONE))
}

fn unanswered() -> StoreError {
    StoreError::Broken { what: "its script has answered something else".to_owned(), cause: None }
}

/// What the script says, as a decision.
fn decision(quota: &Quota, numbers: Numbers, standing: Standing) -> Decision {
    let (limit, remaining) = (quota.capacity(), standing.remaining);
    let time = |micros: Option<u64>| micros.map(Duration::from_micros);
    let (retry_after, reset_after) = (time(standing.retry_after), time(standing.reset_after));
    match standing.kind {
        _ if numbers.is_unlimited() => Decision::UNLIMITED,
        Kind::Granted => Decision::Granted { limit, remaining, reset_after },
        Kind::Later => Decision::Later { retry_after, limit, remaining, reset_after },
        Kind::Never => Decision::Never { limit, remaining, reset_after },
    }
}

impl<T: Timer> Store for Redis<T>
where
    T: Send + Sync,
{
    type Hold = Booking<T>;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.decide(Operation::Take, 0, charges).await.map(|(verdict, ..)| verdict)
    }

    async fn peek(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.decide(Operation::Peek, 0, charges).await.map(|(verdict, ..)| verdict)
    }

    async fn take_up_to(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.count(Operation::TakeUpTo, charge).await
    }

    async fn put(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        self.count(Operation::Put, charge).await
    }

    async fn reset(&self, space: &str, key: &[u8]) -> Result<(), StoreError> {
        let none = Quota::ban();
        let charge = Charge::new(space, key, &none).of(0);
        let items = self.items(&[charge])?;
        let slot = self.shared.settings.names.slot(&items[0].name);
        let told = self.shared.send(Work::Ask(vec![Request::new(Operation::Reset, items)]), slot)?;
        self.shared.answer(told).await?.keep();
        Ok(())
    }

    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> Result<Outcome<Booking<T>>, StoreError> {
        let longest = (nanos(max_wait) / 1000).min(HORIZON);
        let (verdict, due, items) = self.decide(Operation::Book, longest, charges).await?;
        if !verdict.is_granted() {
            return Ok(Outcome::Refused(verdict));
        }
        let delay = Duration::from_micros(due);
        let due = self.shared.timer.now().saturating_add(nanos(delay));
        let booking = Booking::new(Arc::clone(&self.shared), items, due);
        Ok(Outcome::Reserved(Reservation::new(booking, charges.len(), delay, verdict)))
    }

    async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        let name = self.shared.settings.names.of(charge.space, charge.key);
        let mut watch = Watch::begin(&self.shared, name).await?;
        loop {
            match self.peek(&[charge]).await?.decision {
                Decision::Later { retry_after, .. } => watch.wait(retry_after).await,
                decision => return Ok(decision),
            }
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let told = self.shared.send(Work::Ping, 0)?;
        self.shared.answer(told).await?.keep();
        Ok(())
    }

    async fn beat(&self, group: &str, instance: &[u8], ttl: Duration) -> Result<u64, StoreError> {
        let names = &self.shared.settings.names;
        let name = names.group(group);
        let slot = names.slot(&name);
        let lives = if ttl.is_zero() { 0 } else { (nanos(ttl) / 1000).clamp(1, HORIZON) };
        let beat = Beat { group: name, instance: instance.to_owned(), lives };
        let told = self.shared.send(Work::Beat(beat), slot)?;
        match self.shared.answer(told).await?.keep()[..] {
            [Said::Count(there)] => Ok(there),
            _ => Err(unanswered()),
        }
    }

    fn supports(&self, quota: &Quota) -> Result<(), StoreError> {
        Numbers::of(quota).map(|_| ())
    }
}

impl<T: Timer> Clone for Redis<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Timer> fmt::Debug for Redis<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
