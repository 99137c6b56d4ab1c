//! The clock: everything that happens, in its order, and what came of each request.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use sluicegate_core::concurrency::Outcome;
use sluicegate_core::queue::Refusal;

use super::clients::{Clients, Request};
use super::door::{Door, Verdict};
use super::service::{Job, Servers, Service};

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered while its client was there.
    Good,
    /// It was turned away.
    Refused(Refusal),
    /// Its client has left before there was an answer.
    Left,
}

/// A request's story. Instants are nanoseconds from the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// What was asked for.
    pub request: Request,
    /// When it came.
    pub came: u64,
    /// When it was let in.
    pub started: Option<u64>,
    /// When a server began with it, or with turning it away, and when that is done.
    pub worked: Option<(u64, u64)>,
    /// What came of it, and when.
    pub end: Option<(u64, End)>,
}

/// What has happened.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// All requests, in the order in which they came.
    pub records: Vec<Record>,
    /// From when on the limit was what.
    pub limits: Vec<(u64, u32)>,
    servers: usize,
    until: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done(Job),
    Answered(usize),
    Leaves(usize),
    Comes(usize),
    Wakes,
}

/// Goes on until nothing happens any more, or to an instant.
pub fn play(servers: Servers, clients: &mut dyn Clients, door: &mut dyn Door, until: u64) -> Log {
    let log = Log { servers: servers.count, until, ..Log::default() };
    let mut play = Play {
        service: Service::new(servers),
        door,
        clients,
        events: BinaryHeap::new(),
        order: 0,
        to_come: Vec::new(),
        wakes: u64::MAX,
        verdicts: Vec::new(),
        log,
    };
    play.comes();
    while let Some(Reverse((now, _, event))) = play.events.pop() {
        if now >= until {
            break;
        }
        play.happens(event, now);
    }
    play.log
}

struct Play<'a> {
    service: Service,
    door: &'a mut dyn Door,
    clients: &'a mut dyn Clients,
    /// The order tells apart what happens at one instant.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    /// Who is on the way, and whether it comes of its own accord.
    to_come: Vec<(Request, bool)>,
    /// The instant for which it is planned to wake the door.
    wakes: u64,
    verdicts: Vec<Verdict>,
    log: Log,
}

impl Play<'_> {
    fn plan(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    /// Who comes next of its own accord.
    fn comes(&mut self) {
        if let Some((at, request)) = self.clients.next() {
            self.send(at, request, true);
        }
    }

    fn send(&mut self, at: u64, request: Request, own_accord: bool) {
        self.to_come.push((request, own_accord));
        self.plan(at, Event::Comes(self.to_come.len() - 1));
    }

    fn happens(&mut self, event: Event, now: u64) {
        let mut verdicts = std::mem::take(&mut self.verdicts);
        match event {
            Event::Comes(which) => {
                let (request, own_accord) = self.to_come[which];
                let number = self.log.records.len();
                let record = Record { request, came: now, started: None, worked: None, end: None };
                self.log.records.push(record);
                if request.patience < u64::MAX {
                    self.plan(now.saturating_add(request.patience), Event::Leaves(number));
                }
                self.door.offer(number, &request, now, &mut verdicts);
                if own_accord {
                    self.comes();
                }
            }
            Event::Done(job) => {
                self.service.done();
                match job {
                    Job::Serve(number) => self.plan(now + self.service.servers.wire, Event::Answered(number)),
                    Job::Refuse(number) => self.over(number, now),
                }
            }
            Event::Answered(number) if self.log.records[number].end.is_none() => {
                self.log.records[number].end = Some((now, End::Good));
                self.door.ended(number, Outcome::Good, now, &mut verdicts);
                self.over(number, now);
            }
            Event::Leaves(number) if self.log.records[number].end.is_none() => {
                let record = &mut self.log.records[number];
                record.end = Some((now, End::Left));
                if record.started.is_some() {
                    self.door.ended(number, Outcome::Dropped, now, &mut verdicts);
                } else {
                    self.door.left(number, now, &mut verdicts);
                }
                self.over(number, now);
            }
            Event::Answered(_) | Event::Leaves(_) => {}
            Event::Wakes => {
                self.wakes = u64::MAX;
                self.door.woken(now, &mut verdicts);
            }
        }
        verdicts.drain(..).for_each(|verdict| self.carry_out(verdict, now));
        self.verdicts = verdicts;
        self.work(now);
        if let Some(at) = self.door.wake().filter(|at| *at < self.wakes) {
            self.wakes = at;
            self.plan(at.max(now), Event::Wakes);
        }
        if let Some(limit) = self.door.limit()
            && self.log.limits.last().is_none_or(|(_, last)| *last != limit)
        {
            self.log.limits.push((now, limit));
        }
    }

    fn carry_out(&mut self, verdict: Verdict, now: u64) {
        match verdict {
            Verdict::Start(number) => {
                let record = &mut self.log.records[number];
                assert!(record.started.is_none() && record.end.is_none(), "{number}: {record:?}");
                record.started = Some(now);
                self.service.add(Job::Serve(number));
            }
            Verdict::Refuse(number, why) => {
                let record = &mut self.log.records[number];
                assert!(record.started.is_none() && record.end.is_none(), "{number}: {record:?}");
                record.end = Some((now, End::Refused(why)));
                if self.service.servers.refusal == 0 {
                    self.over(number, now);
                } else {
                    self.service.add(Job::Refuse(number));
                }
            }
        }
    }

    /// The client hears of it.
    fn over(&mut self, number: usize, now: u64) {
        let record = &self.log.records[number];
        let Some((_, end)) = record.end else { return };
        if let Some((at, request)) = self.clients.told(&record.request, end, now) {
            self.send(at.max(now), request, false);
        }
    }

    /// Idle servers begin with who is next.
    fn work(&mut self, now: u64) {
        let slower = self.service.servers.slower(now);
        let records = &mut self.log.records;
        let mut begun = Vec::new();
        while let Some(job) = self.service.next(|number| records[number].end.is_none()) {
            let (number, takes) = match job {
                Job::Serve(number) => (number, (records[number].request.work as f64 * slower) as u64),
                Job::Refuse(number) => (number, self.service.servers.refusal),
            };
            records[number].worked = Some((now, now + takes));
            begun.push((now + takes, job));
        }
        begun.into_iter().for_each(|(at, job)| self.plan(at, Event::Done(job)));
    }
}

impl Log {
    /// Those who came from one instant to before another.
    pub fn came(&self, from: u64, to: u64) -> impl Iterator<Item = &Record> {
        let first = self.records.partition_point(|record| record.came < from);
        self.records[first..].iter().take_while(move |record| record.came < to)
    }

    /// How many of those who came then were turned away.
    #[must_use]
    pub fn refused(&self, from: u64, to: u64) -> usize {
        self.came(from, to).filter(|record| matches!(record.end, Some((_, End::Refused(_))))).count()
    }

    /// Answers to clients who were there, a second, that came within this time.
    #[must_use]
    pub fn goodput(&self, from: u64, to: u64) -> f64 {
        let good = self
            .records
            .iter()
            .filter_map(|record| record.end)
            .filter(|(at, end)| *end == End::Good && (from..to).contains(at));
        good.count() as f64 * 1e9 / (to - from) as f64
    }

    /// The part of the servers' time that was worked in, from 0 to 1; turning away included.
    #[must_use]
    pub fn used(&self, from: u64, to: u64) -> f64 {
        let worked = self.records.iter().filter_map(|record| record.worked);
        let sum: u64 = worked.map(|(began, done)| done.min(to).saturating_sub(began.max(from))).sum();
        sum as f64 / (to - from) as f64 / self.servers as f64
    }

    /// How long those waited before a server began with them who came then and were let in; nanoseconds. Those who still wait at the
    /// end have waited till then.
    #[must_use]
    pub fn waits(&self, from: u64, to: u64) -> Vec<u64> {
        let let_in = self.came(from, to).filter(|record| record.started.is_some());
        let_in.map(|record| record.worked.map_or(self.until, |it| it.0) - record.came).collect()
    }

    /// How long those took who came then and were answered; nanoseconds.
    #[must_use]
    pub fn took(&self, from: u64, to: u64) -> Vec<u64> {
        let took = |record: &Record| match record.end {
            Some((at, End::Good)) => Some(at - record.came),
            _ => None,
        };
        self.came(from, to).filter_map(took).collect()
    }

    /// The limit, as the mean over this time; none where nothing is limited.
    #[must_use]
    pub fn limit(&self, from: u64, to: u64) -> Option<f64> {
        let ends = self.limits.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        let spans = self.limits.iter().zip(ends);
        let sum: f64 = spans
            .map(|((at, limit), end)| f64::from(*limit) * end.min(to).saturating_sub((*at).max(from)) as f64)
            .sum();
        (!self.limits.is_empty()).then(|| sum / (to - from) as f64)
    }
}
