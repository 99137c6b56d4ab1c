//! H1, its other half: a hedge is work too. Servers with a line each, from hardly busy to nearly overloaded, hedged after delays that are
//! right for some of them and far too short for others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use sluicegate_core::hedge::{Due, Hedge, Primary, Settings};

use crate::numbers::{MILLI, Numbers, median, quantile};

const SERVERS: usize = 20;
const REQUESTS: usize = 5000;

/// How long a server works on a request: some milliseconds, and by accident a hundred.
fn service(numbers: &mut Numbers) -> f64 {
    let mean = if numbers.even() < 0.98 { 3.0 } else { 100.0 };
    numbers.exponential(mean * MILLI)
}

/// Milliseconds.
const MEAN: f64 = 0.98 * 3.0 + 0.02 * 100.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A server is done with what it works on.
    Done(usize),
    Arrival(usize),
    /// A request's delay has passed.
    Delay(usize),
}

struct Request {
    arrived: u64,
    /// Where its attempts go, in their order.
    servers: [usize; 2],
    /// How long they take.
    work: [u64; 2],
    primary: Option<Primary>,
    ended: Option<u64>,
}

/// An attempt: the request's number, and which one it is.
type Attempt = (usize, usize);

#[derive(Default)]
struct Server {
    line: VecDeque<Attempt>,
    works_on: Option<Attempt>,
}

struct Lab {
    hedge: Option<Hedge>,
    requests: Vec<Request>,
    servers: Vec<Server>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    hedges: usize,
}

impl Lab {
    /// The same requests for the same seed, hedged or not.
    fn new(seed: u64, utilisation: f64, hedge: Option<Hedge>) -> Self {
        let mut arrivals = Numbers::new(seed);
        let gap = MEAN * MILLI / utilisation / SERVERS as f64;
        let mut now = 0.0;
        let request = |number| {
            now += arrivals.exponential(gap);
            let mut numbers = Numbers::of(seed, number);
            let first = numbers.below(SERVERS);
            // Another one.
            let second = (first + 1 + numbers.below(SERVERS - 1)) % SERVERS;
            let work = [(); 2].map(|()| service(&mut numbers) as u64);
            Request { arrived: now as u64, servers: [first, second], work, primary: None, ended: None }
        };
        let requests: Vec<_> = (0..REQUESTS as u64).map(request).collect();
        let arrivals = requests.iter().enumerate();
        let events =
            arrivals.map(|(number, request)| Reverse((request.arrived, Event::Arrival(number)))).collect();
        let servers = (0..SERVERS).map(|_| Server::default()).collect();
        Self { hedge, requests, servers, events, hedges: 0 }
    }

    fn run(&mut self) {
        while let Some(Reverse((now, event))) = self.events.pop() {
            match event {
                Event::Arrival(number) => {
                    self.send(number, 0, now);
                    if let Some(hedge) = &mut self.hedge {
                        let primary = hedge.begin(now);
                        let at = hedge.next(&primary).unwrap();
                        self.requests[number].primary = Some(primary);
                        self.events.push(Reverse((at, Event::Delay(number))));
                    }
                }
                Event::Delay(number) => {
                    let (Some(hedge), Some(primary)) = (&mut self.hedge, &mut self.requests[number].primary)
                    else {
                        continue;
                    };
                    if hedge.due(primary, now, false) == Due::Hedge {
                        self.hedges += 1;
                        self.send(number, 1, now);
                    }
                }
                Event::Done(server) => {
                    let (number, attempt) = self.servers[server].works_on.take().unwrap();
                    let request = &mut self.requests[number];
                    if request.ended.is_none() {
                        request.ended = Some(now);
                        let primary = request.primary.take();
                        if let (Some(hedge), Some(primary), 0) = (&mut self.hedge, primary, attempt) {
                            hedge.answered(primary, now);
                        }
                    }
                    self.work(server, now);
                }
            }
        }
    }

    fn send(&mut self, number: usize, attempt: usize, now: u64) {
        let server = self.requests[number].servers[attempt];
        self.servers[server].line.push_back((number, attempt));
        if self.servers[server].works_on.is_none() {
            self.work(server, now);
        }
    }

    /// Begins the next in line. Who has lost has left the line; one that is worked on already is worked on to its end.
    fn work(&mut self, server: usize, now: u64) {
        while let Some((number, attempt)) = self.servers[server].line.pop_front() {
            let request = &self.requests[number];
            if request.ended.is_none() {
                self.servers[server].works_on = Some((number, attempt));
                self.events.push(Reverse((now + request.work[attempt], Event::Done(server))));
                return;
            }
        }
    }

    /// The 99th percentile, in milliseconds.
    fn p99(&self) -> f64 {
        let took = self.requests.iter().map(|request| request.ended.unwrap() - request.arrived);
        quantile(&mut took.collect::<Vec<_>>(), 0.99) / MILLI
    }
}

fn run(seed: u64, utilisation: f64, hedge: Option<Hedge>) -> Lab {
    let mut lab = Lab::new(seed, utilisation, hedge);
    lab.run();
    lab
}

const UTILISATIONS: [f64; 6] = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95];

/// The ratio of the p99 hedged to that without hedges; its median over seeds.
fn ratio(settings: &Settings, utilisation: f64, plain: &[f64]) -> (f64, usize) {
    let mut hedges = 0;
    let mut ratios: Vec<_> = (1..)
        .zip(plain)
        .map(|(seed, plain)| {
            let lab = run(seed, utilisation, Some(Hedge::new(settings)));
            hedges = hedges.max(lab.hedges);
            lab.p99() / plain
        })
        .collect();
    (median(&mut ratios).0, hedges)
}

#[test]
fn h1_hedging_never_worsens_the_tail_however_busy_servers_are() {
    let mut settings: Vec<_> = [5, 20, 50]
        .map(|delay| (format!("{delay} ms"), Settings::fixed(Duration::from_millis(delay)).unwrap()))
        .into();
    settings.push(("p95".into(), Settings::tracked(0.95, Duration::from_millis(20)).unwrap()));
    let mut best = f64::INFINITY;
    for utilisation in UTILISATIONS {
        let plain: Vec<_> = (1..=3).map(|seed| run(seed, utilisation, None).p99()).collect();
        for (name, settings) in &settings {
            let (ratio, hedges) = ratio(settings, utilisation, &plain);
            println!("utilisation {utilisation}, {name}: {ratio:.3} of the p99, {hedges} hedges");
            assert!(ratio <= 1.0, "utilisation {utilisation}, {name}: {ratio}");
            assert!(hedges <= 100 + REQUESTS / 20, "{hedges}");
            best = best.min(ratio);
        }
    }
    assert!(best < 0.6, "where it is right, it helps: {best}");
}

#[test]
fn h1_without_its_guards_hedging_does_worsen_the_tail() {
    let reckless = Settings::fixed(Duration::from_millis(5)).unwrap();
    let reckless = reckless.with_budget(1.0, 100_000).unwrap().with_tail(1.0).unwrap();
    for utilisation in [0.5, 0.7, 0.8, 0.9, 0.95] {
        let plain: Vec<_> = (1..=3).map(|seed| run(seed, utilisation, None).p99()).collect();
        let (ratio, hedges) = ratio(&reckless, utilisation, &plain);
        println!("utilisation {utilisation}: {ratio:.3} of the p99, {hedges} hedges");
    }
}
