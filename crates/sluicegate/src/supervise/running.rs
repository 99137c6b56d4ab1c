//! A steward at work: it does what its machine says, and tells it what comes of that.
//!
//! Longer than other files: what the machine says and what is told to it are the two sides of one loop.

use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use sluicegate_core::detector::{Life, Signs, Watch, Watching};
use sluicegate_core::restart::{self, Exit, Outcome, Step, Verdict};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::ward::{Born, Job, Jobs, Until};
use super::{Cause, Escalated, Event, Failed, Finished, Next, Report, Reporter, Shared, Spec, Start, Task};
use crate::attendance::Present;
use crate::cancel::CancelToken;
use crate::failure::panic::panic_text;
use crate::fence::Fence;
use crate::heartbeat::{self, Heart};
use crate::timer::{Alarm, Timer};
use crate::wake::{Wakers, hushed};

/// The number after this one; neither is 0 (Marsaglia's xorshift).
pub(super) const fn next_random(mut number: u64) -> u64 {
    number ^= number << 13;
    number ^= number >> 7;
    number ^ number << 17
}

/// A fence, whatever is committed there.
pub(super) trait Gate: Send + Sync {
    fn close(&self);
    fn is_free(&self) -> bool;
    /// Woken when it is free.
    fn ended(&self) -> &Wakers;
}

impl<P: Send + Sync> Gate for Fence<P> {
    fn close(&self) {
        Self::close(self);
    }

    fn is_free(&self) -> bool {
        Self::is_free(self)
    }

    fn ended(&self) -> &Wakers {
        Self::ended(self)
    }
}

/// A ward's place.
pub(super) struct Seat<T: Timer> {
    name: Arc<str>,
    watching: Option<Watching>,
    /// None once it is over for good: what it holds may be what others wait for.
    start: Option<Start<T>>,
    gate: Box<dyn Gate>,
    /// The generation that is there.
    life: Option<Generation<T>>,
}

impl<T: Timer> Seat<T> {
    pub(super) fn new(spec: Spec, start: Start<T>, gate: Box<dyn Gate>) -> Self {
        Self { name: spec.name, watching: spec.watching, start: Some(start), gate, life: None }
    }
}

impl<T: Timer> Seat<T> {
    /// There is no next life. What its work holds is foreign, and a panic of that no reason to stop others.
    fn end(&mut self) {
        hushed(|| drop(self.start.take()));
    }
}

/// One life of a ward.
struct Generation<T: Timer> {
    number: u64,
    heart: Arc<Heart>,
    watch: Option<Watch>,
    /// When to look at its heart next.
    look_at: Option<u64>,
    stop: CancelToken<T>,
    until: Arc<Until>,
    abort: AbortHandle,
    jobs: Arc<Jobs>,
    /// Whether its task has ended.
    ended: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    /// Told to stop; nobody listens to its heart any more.
    Asked,
    /// Cut off.
    Aborted,
    Leaked,
}

impl<T: Timer> Generation<T> {
    /// Whether nothing of it runs.
    fn is_gone(&self) -> bool {
        self.ended && self.jobs.running() == 0
    }
}

/// What was left running.
struct Leftover {
    ward: usize,
    generation: u64,
    jobs: Arc<Jobs>,
    ended: bool,
}

/// A ward's task. What it holds is dropped before the ward above hears that it is gone.
struct Held {
    task: Task,
    _above: Option<Job>,
}

impl Future for Held {
    type Output = Result<(), Failed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.task.as_mut().poll(context)
    }
}

type Joined = Result<(Id, Result<(), Failed>), JoinError>;

pub(super) struct Running<T: Timer> {
    machine: restart::Steward,
    seats: Vec<Seat<T>>,
    /// All tasks that have not been joined, the leaked among them.
    tasks: JoinSet<Result<(), Failed>>,
    /// Whose they are: ward and generation.
    owners: HashMap<Id, (usize, u64)>,
    leftovers: Vec<Leftover>,
    shared: Arc<Shared>,
    time: T,
    random: u64,
    report: Option<Reporter>,
    /// Of the ward that it runs under.
    above: Option<Arc<Jobs>>,
    /// Dropped last: whoever hears that it has ended finds everybody cut off.
    _present: Present,
}

impl<T: Timer> Running<T> {
    /// Runs from now on, as far as others see it.
    pub(super) fn new(
        machine: restart::Steward,
        seats: Vec<Seat<T>>,
        shared: Arc<Shared>,
        time: T,
        random: u64,
        report: Option<Reporter>,
        above: Option<Arc<Jobs>>,
    ) -> Self {
        let (tasks, owners, leftovers) = (JoinSet::new(), HashMap::new(), Vec::new());
        let present = Present::at(&shared.attendance);
        Self {
            machine,
            seats,
            tasks,
            owners,
            leftovers,
            shared,
            time,
            random,
            report,
            above,
            _present: present,
        }
    }

    pub(super) async fn run(mut self) -> Result<Finished, Escalated> {
        let outcome = loop {
            // Before all else: what rings from here on is seen below or ends the wait.
            let rung = self.shared.attendance.rung();
            while let Some(joined) = self.tasks.try_join_next_with_id() {
                self.joined(joined);
            }
            let now = self.time.now();
            if self.shared.attendance.is_closing() {
                self.shut_down(now);
            }
            self.look(now);
            self.sweep(now);
            match self.machine.step(now) {
                Step::Start { ward, generation } => self.start(ward, generation, now),
                Step::Ask { ward, until } => self.ask(ward, until),
                Step::Abort { ward } => self.abort(ward, now),
                Step::Leak { ward } => self.leak(ward, now),
                Step::Wait { until } => self.wait(until, rung).await,
                Step::Over(outcome) => break outcome,
            }
        };
        let leaking = self.shared.leaking.load(Ordering::Relaxed);
        match outcome {
            Outcome::Done => Ok(Finished { shut_down: false, leaking }),
            Outcome::ShutDown => Ok(Finished { shut_down: true, leaking }),
            Outcome::Escalated { ward } => {
                self.tell(ward, self.machine.generation(ward), self.time.now(), Event::GaveUp);
                Err(Escalated { ward: Arc::clone(&self.seats[ward].name), leaking })
            }
        }
    }

    /// It is to stop, and perhaps sooner than those know who were told.
    fn shut_down(&mut self, now: u64) {
        match self.shared.until.get() {
            Some(until) => self.machine.shut_down_by(now, until),
            None => self.machine.shut_down(now),
        }
        for (ward, seat) in self.seats.iter().enumerate() {
            if let (Some(life), Some(until)) = (&seat.life, self.machine.asked_until(ward)) {
                // What is woken by that is the ward's.
                hushed(|| life.until.is(until));
            }
        }
    }

    fn start(&mut self, ward: usize, generation: u64, now: u64) {
        let seat = &mut self.seats[ward];
        let Some(start) = &seat.start else { return };
        let (beater, heart) = heartbeat::alone(self.time.clone());
        let (stop, until) = (CancelToken::new(self.time.clone()), Arc::<Until>::default());
        let jobs = Jobs::new(&self.shared, self.above.clone());
        let above = self.above.as_ref().map(Job::begin);
        let born = Born {
            beater,
            stop: stop.clone(),
            jobs: Arc::clone(&jobs),
            until: Arc::clone(&until),
            time: self.time.clone(),
        };
        let abort = self.tasks.spawn(Held { task: start(born), _above: above });
        self.owners.insert(abort.id(), (ward, generation));
        let mut watch = seat.watching.as_ref().map(|watching| Watch::new(watching, now));
        let look_at = watch.as_mut().and_then(|watch| watch.next_look(now));
        let (ended, state) = (false, State::Runs);
        let number = generation;
        let life = Generation { number, heart, watch, look_at, stop, until, abort, jobs, ended, state };
        seat.life = Some(life);
        if generation > 1 {
            self.shared.restarts.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(ward, generation, now, Event::Started);
    }

    fn ask(&mut self, ward: usize, until: u64) {
        if let Some(life) = &mut self.seats[ward].life {
            life.state = State::Asked;
            life.look_at = None;
            // What is woken by that is the ward's, and its panic not the steward's.
            hushed(|| life.until.is(until));
            hushed(|| life.stop.cancel());
        }
    }

    /// First of all it can't publish any more.
    fn abort(&mut self, ward: usize, now: u64) {
        let seat = &mut self.seats[ward];
        seat.gate.close();
        let mut overdue = None;
        if let Some(life) = &mut seat.life {
            overdue = (life.state == State::Asked && !life.ended).then_some(life.number);
            life.state = State::Aborted;
            life.look_at = None;
            hushed(|| life.stop.cancel());
            life.abort.abort();
        }
        if let Some(number) = overdue {
            self.tell(ward, number, now, Event::Overdue);
        }
    }

    fn leak(&mut self, ward: usize, now: u64) {
        let seat = &mut self.seats[ward];
        let Some(life) = &mut seat.life else { return };
        life.state = State::Leaked;
        let (number, task, blocking) = (life.number, !life.ended, life.jobs.running());
        let publishing = !seat.gate.is_free();
        self.leftovers.push(Leftover {
            ward,
            generation: number,
            jobs: Arc::clone(&life.jobs),
            ended: life.ended,
        });
        self.shared.leaked.fetch_add(1, Ordering::Relaxed);
        self.shared.leaking.fetch_add(1, Ordering::Relaxed);
        self.tell(ward, number, now, Event::Leaked { task, blocking, publishing });
    }

    /// A task has ended.
    fn joined(&mut self, joined: Joined) {
        let (id, cause) = match joined {
            Ok((id, Ok(()))) => (id, Cause::Done),
            Ok((id, Err(error))) => (id, Cause::Failed(error)),
            Err(error) => {
                let id = error.id();
                let panicked = |panic: Box<dyn Any + Send>| Cause::Panicked(panic_text(&*panic));
                (id, error.try_into_panic().map_or(Cause::Cancelled, panicked))
            }
        };
        let Some((ward, generation)) = self.owners.remove(&id) else { return };
        for left in &mut self.leftovers {
            left.ended |= (left.ward, left.generation) == (ward, generation);
        }
        let Some(life) = self.seats[ward].life.as_mut().filter(|life| life.number == generation) else {
            return;
        };
        life.ended = true;
        if matches!(life.state, State::Runs | State::Asked) {
            self.failed(ward, generation, cause, self.time.now());
        }
    }

    /// A generation is of no more use.
    fn failed(&mut self, ward: usize, generation: u64, cause: Cause, now: u64) {
        self.random = next_random(self.random);
        let exit = if matches!(cause, Cause::Done) { Exit::Done } else { Exit::Failed };
        let next = match self.machine.ended(ward, generation, exit, now, self.random) {
            Verdict::Restart { at } => Next::Restart(at),
            Verdict::Over => {
                self.seats[ward].end();
                Next::Over
            }
            Verdict::Escalate => Next::Escalated,
            Verdict::Expected => Next::Stopping,
        };
        self.tell(ward, generation, now, Event::Ended { cause, next });
    }

    /// Looks at those who may have died.
    fn look(&mut self, now: u64) {
        for ward in 0..self.seats.len() {
            let Some(life) = &mut self.seats[ward].life else { continue };
            let Some(watch) = life.watch.as_mut().filter(|_| life.look_at.is_some_and(|at| at <= now)) else {
                continue;
            };
            // Whether its task has ended is known for certain. One that goes on without a heart gives no more signs.
            let signs = Signs { end: None, ..life.heart.signs() };
            match watch.look(signs, now) {
                hung @ (Life::Dead | Life::Stalled) => {
                    life.look_at = None;
                    let number = life.number;
                    self.failed(ward, number, Cause::Hung(hung), now);
                }
                _ => life.look_at = watch.next_look(now),
            }
        }
    }

    /// Looks for those that were cut off and are gone.
    fn sweep(&mut self, now: u64) {
        for (ward, seat) in self.seats.iter_mut().enumerate() {
            let Some(life) = &seat.life else { continue };
            let gone = match life.state {
                State::Runs | State::Asked => false,
                State::Aborted => life.is_gone() && seat.gate.is_free(),
                State::Leaked => seat.gate.is_free(),
            };
            if gone {
                self.machine.gone(ward, life.number);
                seat.life = None;
                if self.machine.is_over(ward) {
                    seat.end();
                }
            }
        }
        while let Some(index) = self.leftovers.iter().position(|left| left.ended && left.jobs.running() == 0)
        {
            let Leftover { ward, generation, .. } = self.leftovers.swap_remove(index);
            self.shared.leaking.fetch_sub(1, Ordering::Relaxed);
            self.tell(ward, generation, now, Event::Returned);
        }
    }

    /// Until something happens, at the latest when there is something to do.
    async fn wait(&mut self, until: Option<u64>, rung: u64) {
        let Self { seats, tasks, shared, time, .. } = self;
        let looks = seats.iter().filter_map(|seat| seat.life.as_ref()?.look_at);
        let at = looks.chain(until).min();
        // Whoever else is polled in this task may have used up its cooperative budget.
        let mut alarm = pin!(Alarm::new(&*time));
        let mut bell = shared.attendance.enter();
        let busy = |seat: &&Seat<T>| {
            let cut_off = |life: &Generation<T>| matches!(life.state, State::Aborted | State::Leaked);
            seat.life.as_ref().is_some_and(cut_off) && !seat.gate.is_free()
        };
        let mut gates: Vec<_> =
            seats.iter().filter(busy).map(|seat| (&seat.gate, seat.gate.ended().enter())).collect();
        let joined = poll_fn(|context| {
            bell.set(context.waker());
            if shared.attendance.rung() != rung {
                return Poll::Ready(None);
            }
            for (gate, place) in &mut gates {
                place.set(context.waker());
                if gate.is_free() {
                    return Poll::Ready(None);
                }
            }
            if let Poll::Ready(Some(joined)) = tasks.poll_join_next_with_id(context) {
                return Poll::Ready(Some(joined));
            }
            alarm.as_mut().poll_until(at, context).map(|()| None)
        })
        .await;
        drop(gates);
        drop(bell);
        if let Some(joined) = joined {
            self.joined(joined);
        }
    }

    fn tell(&mut self, ward: usize, generation: u64, at: u64, event: Event) {
        if let Some(report) = &mut self.report {
            report(Report { ward: Arc::clone(&self.seats[ward].name), generation, at, event });
        }
    }
}

/// However it ends, from then on nobody publishes. Tasks are aborted as their set is dropped.
impl<T: Timer> Drop for Running<T> {
    fn drop(&mut self) {
        // All of them before anybody is told: whoever hears of a stop is foreign.
        self.seats.iter().for_each(|seat| {
            hushed(|| seat.gate.close());
        });
        for seat in &mut self.seats {
            if let Some(life) = &seat.life {
                hushed(|| life.stop.cancel());
            }
            seat.end();
        }
    }
}
