//! The task that talks to Redis: what comes while a call is under way goes together in the next.
//!
//! Each slot (there is one, but in a Cluster) has a lane: one call at a time, and all that waits for it. So an idle store asks at
//! once, and a busy one asks for as many as came during one round trip.
//!
//! All of the task's state outlives a panic: the call that panicked is gone with those who wait for it, who are told that its answer is lost;
//! the other calls under way, and what waits, are there for the task that is started in its place.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use sluicegate::store::StoreError;
use tokio::sync::mpsc;

use crate::job::{Back, Beat, Job, Work, closed};
use crate::link::Link;
use crate::said::Said;
use crate::script::Call;
use crate::settings::Settings;

/// How many calls are under way at once, in a Cluster.
const MAX_CALLS: usize = 1024;

/// How many charges go into one call, if no single request has more.
const MAX_CHARGES: usize = 4096;

/// The task's state.
pub(crate) struct Driver {
    settings: Arc<Settings>,
    jobs: mpsc::Receiver<Job>,
    back: Back,
    link: Arc<Link>,
    lanes: HashMap<Lane, Queue>,
    /// Lanes that have something to do and no call under way.
    ready: VecDeque<Lane>,
    /// Jobs in lanes.
    waiting: usize,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    /// How much is on its way back, and who waits for that.
    settling: usize,
    pings: Vec<Job>,
    /// What has come and is in no lane yet.
    came: Vec<Job>,
    inbox: VecDeque<Job>,
    /// Whether somebody can still ask.
    is_open: bool,
    /// Those who wait for the end.
    closers: Vec<Job>,
    /// Calls that were dropped before they had ended.
    dropped: Dropped,
}

type Dropped = Arc<Mutex<Vec<Done>>>;

/// What waits for the same call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Slot(u16),
    /// What is listened to, in order.
    Channels,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_busy: bool,
}

/// A call has ended.
#[derive(Clone, Copy)]
struct Done {
    lane: Option<Lane>,
    settled: usize,
}

/// Notes that a call was dropped before it has ended, as one that panics is.
struct UnderWay {
    dropped: Dropped,
    done: Option<Done>,
}

impl UnderWay {
    fn end(mut self) -> Done {
        self.done.take().unwrap_or(Done { lane: None, settled: 0 })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(done) = self.done {
            self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        }
    }
}

impl Driver {
    pub(crate) fn new(settings: Arc<Settings>, jobs: mpsc::Receiver<Job>, back: Back, link: Link) -> Self {
        Self {
            settings,
            jobs,
            back,
            link: Arc::new(link),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: 0,
            calls: FuturesUnordered::new(),
            settling: 0,
            pings: Vec::new(),
            came: Vec::new(),
            inbox: VecDeque::new(),
            is_open: true,
            closers: Vec::new(),
            dropped: Dropped::default(),
        }
    }

    /// Works until nobody can ask any more, or it is told to end. Then it does what there is, and what that has to give back.
    /// After a panic it is to be run again.
    pub(crate) async fn run(&mut self) {
        let dropped = std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        for done in dropped {
            // Whether that went back is not known.
            (0..done.settled).for_each(|_| self.back.count());
            self.end(&done);
        }
        loop {
            self.inbox.extend(self.came.drain(..));
            while let Some(job) = self.inbox.pop_front() {
                match job.work {
                    Work::Close => self.closers.push(job),
                    Work::Settle(_) => self.accept(job),
                    _ if self.closers.is_empty() => self.accept(job),
                    _ => job.answer(Err(closed()), &self.back),
                }
            }
            while self.calls.len() < MAX_CALLS
                && let Some(lane) = self.ready.pop_front()
            {
                self.start(lane);
            }
            if self.settling == 0 {
                self.start_pings();
            }
            if !self.closers.is_empty() && self.calls.is_empty() && self.jobs.is_empty() {
                break;
            }
            let room = self.settings.max_waiting.saturating_sub(self.waiting);
            tokio::select! {
                came = self.jobs.recv_many(&mut self.came, room), if self.is_open && room > 0 => {
                    self.is_open = came > 0;
                }
                Some(done) = self.calls.next() => self.end(&done),
                else => break,
            }
        }
        self.jobs.close();
        self.closers.drain(..).for_each(|closer| closer.answer(Ok(Vec::new()), &self.back));
    }

    /// Puts a job into its lane.
    fn accept(&mut self, job: Job) {
        let lane = match job.work {
            Work::Ping => return self.pings.push(job),
            Work::Beat(_) => return self.start_beat(job),
            Work::Ask(_) | Work::Settle(_) => Lane::Slot(job.slot),
            Work::Watch(_) | Work::Unwatch(_) | Work::Close => Lane::Channels,
        };
        self.settling += usize::from(matches!(job.work, Work::Settle(_)));
        self.waiting += 1;
        let queue = self.lanes.entry(lane).or_default();
        if queue.jobs.is_empty() && !queue.is_busy {
            self.ready.push_back(lane);
        }
        queue.jobs.push_back(job);
    }

    fn end(&mut self, done: &Done) {
        self.settling -= done.settled;
        let Some(lane) = done.lane else { return };
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        queue.is_busy = false;
        if queue.jobs.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.ready.push_back(lane);
        }
    }

    /// Calls for what waits in a lane, as much as fits.
    fn start(&mut self, lane: Lane) {
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        let (mut batch, mut charges) = (Vec::new(), 0);
        let most = if lane == Lane::Channels { 1 } else { self.settings.max_batch };
        while batch.len() < most
            && let Some(job) = queue.jobs.pop_front()
        {
            self.waiting -= 1;
            if job.is_moot() {
                continue;
            }
            let more: usize = job.requests().iter().map(|request| request.items.len()).sum();
            if charges > 0 && charges + more > MAX_CHARGES {
                self.waiting += 1;
                queue.jobs.push_front(job);
                break;
            }
            charges += more;
            batch.push(job);
        }
        if batch.is_empty() {
            self.lanes.remove(&lane);
            return;
        }
        queue.is_busy = true;
        let settled = batch.iter().filter(|job| matches!(job.work, Work::Settle(_))).count();
        let (link, back) = (Arc::clone(&self.link), self.back.clone());
        let under_way = self.under_way(Some(lane), settled);
        self.calls.push(Box::pin(async move {
            match lane {
                Lane::Slot(slot) => ask(&link, batch, slot, &back).await,
                Lane::Channels => {
                    for job in batch {
                        listen(&link, job, &back).await;
                    }
                }
            }
            under_way.end()
        }));
    }

    fn under_way(&self, lane: Option<Lane>, settled: usize) -> UnderWay {
        UnderWay { dropped: Arc::clone(&self.dropped), done: Some(Done { lane, settled }) }
    }

    /// They are seldom, and are no part of any order.
    fn start_beat(&mut self, job: Job) {
        let (link, back) = (Arc::clone(&self.link), self.back.clone());
        let under_way = self.under_way(None, 0);
        self.calls.push(Box::pin(async move {
            if let Work::Beat(beat) = &job.work {
                let there = link.beat(beat, job.slot).await;
                let there = there.and_then(|answer| Beat::read(&answer));
                job.answer(there.map(|there| vec![Said::Count(there)]), &back);
            }
            under_way.end()
        }));
    }

    fn start_pings(&mut self) {
        for ping in std::mem::take(&mut self.pings) {
            let (link, back) = (Arc::clone(&self.link), self.back.clone());
            let under_way = self.under_way(None, 0);
            self.calls.push(Box::pin(async move {
                let said = link.ping().await;
                ping.answer(said.map(|()| Vec::new()), &back);
                under_way.end()
            }));
        }
    }
}

/// One call for all of these.
async fn ask(link: &Link, jobs: Vec<Job>, slot: u16, back: &Back) {
    let call = Call::new(jobs.iter().flat_map(Job::requests));
    let said = match link.call(&call, slot).await {
        Ok(value) => call.read(value),
        Err(error) => Err(error),
    };
    let mut said = said.map(Vec::into_iter);
    for job in jobs {
        let own: Result<Vec<Said>, StoreError> = match &mut said {
            Ok(said) => said.take(job.requests().len()).collect(),
            Err(error) => Err(error.clone()),
        };
        if own.is_err() && matches!(job.work, Work::Settle(_)) {
            back.count();
        }
        job.answer(own, back);
    }
    link.mend(slot).await;
}

/// Listens to a key's channel, or no longer.
async fn listen(link: &Link, job: Job, back: &Back) {
    let heard = match &job.work {
        Work::Watch(name) => link.watch(name.clone()).await,
        Work::Unwatch(name) => {
            link.unwatch(name).await;
            Ok(())
        }
        _ => Ok(()),
    };
    job.answer(heard.map(|()| Vec::new()), back);
}
