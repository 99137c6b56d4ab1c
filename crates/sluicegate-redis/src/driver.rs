//! The task that talks to Redis: what comes while a call is under way goes together in the next.
//!
//! Each slot (there is one, but in a Cluster) has a lane: one call at a time, and all that waits for it. So an idle store asks at
//! once, and a busy one asks for as many as came during one round trip.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

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
}

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
struct Done {
    lane: Option<Lane>,
    settled: usize,
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
        }
    }

    /// Works until nobody can ask any more, or it is told to end. Then it does what there is, and what that has to give back.
    pub(crate) async fn run(mut self) {
        let mut is_open = true;
        let (mut jobs, mut closers) = (Vec::new(), Vec::new());
        loop {
            let room = self.settings.max_waiting.saturating_sub(self.waiting);
            tokio::select! {
                came = self.jobs.recv_many(&mut jobs, room), if is_open && room > 0 => is_open = came > 0,
                Some(done) = self.calls.next() => self.end(&done),
                else => break,
            }
            for job in jobs.drain(..) {
                match job.work {
                    Work::Close => closers.push(job),
                    Work::Settle(_) => self.accept(job),
                    _ if closers.is_empty() => self.accept(job),
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
            if !closers.is_empty() && self.calls.is_empty() && self.jobs.is_empty() {
                break;
            }
        }
        closers.into_iter().for_each(|closer| closer.answer(Ok(Vec::new()), &self.back));
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
        self.calls.push(Box::pin(async move {
            match lane {
                Lane::Slot(slot) => ask(&link, batch, slot, &back).await,
                Lane::Channels => {
                    for job in batch {
                        listen(&link, job, &back).await;
                    }
                }
            }
            Done { lane: Some(lane), settled }
        }));
    }

    /// They are seldom, and are no part of any order.
    fn start_beat(&mut self, job: Job) {
        let (link, back) = (Arc::clone(&self.link), self.back.clone());
        self.calls.push(Box::pin(async move {
            if let Work::Beat(beat) = &job.work {
                let there = link.beat(beat, job.slot).await;
                let there = there.and_then(|answer| Beat::read(&answer));
                job.answer(there.map(|there| vec![Said::Count(there)]), &back);
            }
            Done { lane: None, settled: 0 }
        }));
    }

    fn start_pings(&mut self) {
        for ping in std::mem::take(&mut self.pings) {
            let (link, back) = (Arc::clone(&self.link), self.back.clone());
            self.calls.push(Box::pin(async move {
                let said = link.ping().await;
                ping.answer(said.map(|()| Vec::new()), &back);
                Done { lane: None, settled: 0 }
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
