//! The workers at work, and whoever looks after them.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::consume_budget;

use super::answer::Told;
use super::job::{Heart, Line};
use super::standing::Tally;
use super::{JobError, Settings};
use crate::cancel::{CancelToken, Cause as Stop};
use crate::contained::caught;
use crate::supervise::{Cause, Event, Handle, Report, Spec, Steward, Ward};
use crate::timer::Timer;
use crate::wake::{Wakers, hushed};

/// What the handles of a pool, its workers and its keeper share.
pub(super) struct Pool<T: Timer> {
    pub(super) line: Line<T>,
    pub(super) settings: Settings,
    pub(super) time: T,
    pub(super) tally: Arc<Tally>,
    seats: Mutex<Seats<T>>,
    /// Whether the keeper has ended, and so nobody works any more.
    over: AtomicBool,
    /// Woken by that.
    pub(super) ended: Wakers,
    /// How often workers give a sign of life.
    beat: Option<Duration>,
}

/// Who is at what.
struct Seats<T: Timer> {
    running: Vec<Option<Running<T>>>,
    /// Counts jobs.
    begun: u64,
    /// No job begins any more.
    stopping: bool,
}

struct Running<T: Timer> {
    number: u64,
    told: Arc<dyn Told>,
    stop: CancelToken<T>,
}

impl<T: Timer> Pool<T> {
    pub(super) fn new(line: Line<T>, settings: Settings, time: T, tally: Arc<Tally>) -> Self {
        let running = std::iter::repeat_with(|| None).take(settings.workers).collect();
        Self {
            line,
            time,
            tally,
            seats: Mutex::new(Seats { running, begun: 0, stopping: false }),
            over: AtomicBool::new(false),
            ended: Wakers::default(),
            beat: settings.watching().map(|(_, beat)| beat),
            settings,
        }
    }

    /// No foreign code runs under it.
    fn seats(&self) -> MutexGuard<'_, Seats<T>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn busy(&self) -> usize {
        self.seats().running.iter().flatten().count()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The rest is not done any more: who waits is told so, and who runs is to stop.
    pub(super) fn stop(&self) {
        let mut seats = self.seats();
        seats.stopping = true;
        let running: Vec<_> = seats.running.iter().flatten().map(|running| running.stop.clone()).collect();
        drop(seats);
        // Whoever is woken, and what a job holds, is foreign: no panic of that is a matter of who drains the pool or drops its last handle.
        hushed(|| self.line.close());
        for stop in running {
            hushed(|| stop.cancel_because(Stop::Parent));
        }
        self.give_up();
    }

    /// Whoever waits is told that nobody works any more.
    fn give_up(&self) {
        for job in self.line.cancel_all() {
            hushed(|| job.refuse(JobError::Gone));
        }
    }

    /// The job of this worker hangs.
    fn hung(&self, seat: usize) {
        let running = self.seats().running.get_mut(seat).and_then(Option::take);
        if let Some(Running { told, stop, .. }) = running {
            told.tell(JobError::Hung);
            stop.cancel_because(Stop::Parent);
        }
    }

    /// Gives signs of life meanwhile, if anybody listens.
    async fn beating<F: Future>(&self, ward: &Ward<(), T>, work: F) -> F::Output {
        match self.beat {
            Some(beat) => ward.beater().beating(beat, work).await,
            None => work.await,
        }
    }
}

/// The place of one worker, for one job.
pub(super) struct Seat<T: Timer> {
    pool: Arc<Pool<T>>,
    pub(super) heart: Arc<Heart<T>>,
    index: usize,
}

impl<T: Timer> Seat<T> {
    /// A job begins: from now on others can tell of it. None if none begins any more.
    pub(super) fn take(&self, told: Arc<dyn Told>, stop: &CancelToken<T>) -> Option<Taken<'_, T>> {
        let mut seats = self.pool.seats();
        if seats.stopping {
            return None;
        }
        seats.begun += 1;
        let number = seats.begun;
        let running = Running { number, told, stop: stop.clone() };
        // One of a generation that was cut off, which was told.
        let before = seats.running.get_mut(self.index).and_then(|seat| seat.replace(running));
        drop(seats);
        drop(before);
        self.heart.beats_for(number);
        Some(Taken { seat: self, number })
    }

    pub(super) fn grace(&self) -> u64 {
        self.pool.settings.grace
    }

    pub(super) fn time(&self) -> &T {
        &self.pool.time
    }
}

/// A job runs there, until this is dropped.
pub(super) struct Taken<'s, T: Timer> {
    seat: &'s Seat<T>,
    pub(super) number: u64,
}

impl<T: Timer> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        self.seat.heart.beats_for(0);
        let mut seats = self.seat.pool.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = seats.running.get_mut(self.seat.index);
        let own = seat.and_then(|seat| seat.take_if(|running| running.number == self.number));
        drop(seats);
        drop(own);
    }
}

/// One worker, until nothing comes any more.
async fn work<T: Timer>(ward: Ward<(), T>, pool: Arc<Pool<T>>, index: usize) -> Result<(), Infallible> {
    // Dropped after the pop, which puts back what was on its way here.
    let _last = Last(Arc::clone(&pool));
    let heart = Arc::new(Heart::new(ward));
    let ward = &heart.ward;
    loop {
        ward.beater().rest();
        let next = pool.beating(ward, ward.stop().run(pool.line.pop())).await;
        let Ok(Some(job)) = next else { return Ok(()) };
        ward.beater().progress();
        let seat = Seat { pool: Arc::clone(&pool), heart: Arc::clone(&heart), index };
        let began = pool.time.now();
        // Nothing of a job's gets out, such as a panic of an answer that came too late.
        let by_itself = pool.beating(ward, caught(job.run(seat))).await;
        // Whoever was stopped, or panicked, has not shown how long such a job takes.
        if let Ok(true) = by_itself {
            pool.line.served(Duration::from_nanos(pool.time.now().saturating_sub(began)));
        }
        // Jobs that never wait let others have their turn; and one who was cut off ends here, before it takes another.
        consume_budget().await;
        if !ward.token().is_good() {
            return Ok(());
        }
    }
}

/// What a worker leaves in the line when nobody comes after it is told.
struct Last<T: Timer>(Arc<Pool<T>>);

impl<T: Timer> Drop for Last<T> {
    fn drop(&mut self) {
        if self.0.is_over() {
            self.0.give_up();
        }
    }
}

/// Starts the workers of a pool, and hands out what tells them to end.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn keep<T: Timer>(
    pool: &Arc<Pool<T>>,
    mut report: impl FnMut(&Report) + Send + 'static,
) -> Handle {
    let settings = &pool.settings;
    let names: Vec<_> = (1..=settings.workers).map(|number| format!("{} {number}", settings.name)).collect();
    let mut steward = Steward::new(settings.restarts(), pool.time.clone());
    for (index, name) in names.iter().enumerate() {
        let mut spec = Spec::new(name).with_when(crate::restart::When::OnFailure);
        if let Some((watching, _)) = settings.watching() {
            spec = spec.watched(watching);
        }
        let theirs = Arc::clone(pool);
        let _ = steward.add(spec, move |ward| work(ward, Arc::clone(&theirs), index));
    }
    let theirs = Arc::clone(pool);
    let steward = steward.with_report(move |happened| {
        let hung = matches!(happened.event(), Event::Ended { cause: Cause::Hung(_), .. });
        if let Some(seat) = names.iter().position(|name| hung && name == happened.ward()) {
            // Whom it wakes is foreign, and no reason to leave all the others without workers.
            hushed(|| theirs.hung(seat));
        }
        report(&happened);
    });
    let (handle, over) = (steward.handle(), Over(Arc::clone(pool)));
    let run = steward.run();
    // Nobody joins it: however it ends, a panic of `report` among that, who drains the pool and who waits for a job hears of it.
    drop(tokio::spawn(async move {
        let _over = over;
        // It ends when all workers have, and gives up never: there is no bound on restarts.
        let _ = run.await;
    }));
    handle
}

/// However the keeper ends, from then on nobody works.
struct Over<T: Timer>(Arc<Pool<T>>);

impl<T: Timer> Drop for Over<T> {
    fn drop(&mut self) {
        let pool = &self.0;
        pool.over.store(true, Ordering::Release);
        pool.stop();
        // Whoever drains still waits.
        hushed(|| pool.ended.wake());
    }
}
