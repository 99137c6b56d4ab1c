//! H1, its other half: a hedge is work too. Servers with a line each, from hardly busy to nearly overloaded, hedged after delays that are
//! right for some of them and far too short for others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use sluicegate_core::hedge::{Due, Hedge, Primary, Settings};

use crate::numbers::{MILLI, Numbers, median, quantile};

const SERVERS: usize = 20;
const REQUESTS: usize = 4000;

/// What servers are like.
#[derive(Clone, Copy, Debug)]
enum Servers {
    /// Three milliseconds, and by accident a hundred. Who has lost leaves the line; what is worked on is worked on to its end.
    Stalling,
    /// Five milliseconds, more or less. They notice nothing: whoever was sent is worked on, though he has lost long since.
    Heedless,
}

impl Servers {
    /// How long one works on an attempt.
    fn work(self, numbers: &mut Numbers) -> u64 {
        let mean = match self {
            Self::Stalling if numbers.even() < 0.02 => 100.0,
            Self::Stalling => 3.0,
            Self::Heedless => 5.0,
        };
        numbers.exponential(mean * MILLI) as u64
    }

    /// Milliseconds.
    fn mean(self) -> f64 {
        match self {
            Self::Stalling => 0.98 * 3.0 + 0.02 * 100.0,
            Self::Heedless => 5.0,
        }
    }
}

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
    kind: Servers,
    /// Whether who would hedge knows of the line of who would be asked.
    told: bool,
    hedge: Option<Hedge>,
    requests: Vec<Request>,
    servers: Vec<Server>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    hedges: usize,
}

impl Lab {
    /// The same requests for the same seed, hedged or not.
    fn new(kind: Servers, seed: u64, utilisation: f64, hedge: Option<Hedge>, told: bool) -> Self {
        let mut arrivals = Numbers::new(seed);
        let gap = kind.mean() * MILLI / utilisation / SERVERS as f64;
        let mut now = 0.0;
        let request = |number| {
            now += arrivals.exponential(gap);
            let mut numbers = Numbers::of(seed, number);
            let first = numbers.below(SERVERS);
            // Another one.
            let second = (first + 1 + numbers.below(SERVERS - 1)) % SERVERS;
            let work = [(); 2].map(|()| kind.work(&mut numbers));
            Request { arrived: now as u64, servers: [first, second], work, primary: None, ended: None }
        };
        let requests: Vec<_> = (0..REQUESTS as u64).map(request).collect();
        let arrivals = requests.iter().enumerate();
        let events =
            arrivals.map(|(number, request)| Reverse((request.arrived, Event::Arrival(number)))).collect();
        let servers = (0..SERVERS).map(|_| Server::default()).collect();
        Self { kind, told, hedge, requests, servers, events, hedges: 0 }
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
                    let request = &mut self.requests[number];
                    let (Some(hedge), Some(primary)) = (&mut self.hedge, &mut request.primary) else {
                        continue;
                    };
                    let overloaded = self.told && !self.servers[request.servers[1]].line.is_empty();
                    if hedge.due(primary, now, overloaded) == Due::Hedge {
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

    /// Begins the next in line.
    fn work(&mut self, server: usize, now: u64) {
        while let Some((number, attempt)) = self.servers[server].line.pop_front() {
            let request = &self.requests[number];
            if request.ended.is_none() || matches!(self.kind, Servers::Heedless) {
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

const UTILISATIONS: [f64; 6] = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95];
const SEEDS: u64 = 3;

fn p99(kind: Servers, seed: u64, utilisation: f64, hedge: Option<Hedge>, told: bool) -> f64 {
    let mut lab = Lab::new(kind, seed, utilisation, hedge, told);
    lab.run();
    assert!(lab.hedges <= 50 + REQUESTS / 20, "the budget: {}", lab.hedges);
    lab.p99()
}

/// Without hedges, at each utilisation and for each seed.
fn plain(kind: Servers) -> Vec<Vec<f64>> {
    let seeds = |utilisation| (1..=SEEDS).map(|seed| p99(kind, seed, utilisation, None, false)).collect();
    UTILISATIONS.into_iter().map(seeds).collect()
}

/// What a hedge makes of the p99 at each utilisation, in the middle of the seeds.
fn ratios(kind: Servers, plain: &[Vec<f64>], settings: &Settings, told: bool) -> Vec<f64> {
    let at = UTILISATIONS.into_iter().zip(plain);
    let ratios: Vec<_> = at
        .map(|(utilisation, plain)| {
            let of = |(seed, plain): (u64, &f64)| {
                p99(kind, seed, utilisation, Some(Hedge::new(settings)), told) / plain
            };
            median(&mut (1..).zip(plain).map(of).collect::<Vec<_>>()).0
        })
        .collect();
    println!("{kind:?}, told {told}: {ratios:.2?} of the p99 at {UTILISATIONS:?}; {settings:?}");
    ratios
}

fn fixed(delay: u64) -> Settings {
    Settings::fixed(Duration::from_millis(delay)).unwrap()
}

fn tracked() -> Settings {
    Settings::tracked(0.95, Duration::from_millis(20)).unwrap()
}

fn worst(ratios: &[f64]) -> f64 {
    ratios.iter().copied().fold(0.0, f64::max)
}

/// To a hundredth: a few thousand requests tell no more.
const NOT_WORSE: f64 = 1.01;

#[test]
fn h1_hedging_never_worsens_the_tail_however_busy_servers_are() {
    for kind in [Servers::Stalling, Servers::Heedless] {
        let plain = plain(kind);
        let mut best = f64::INFINITY;
        for settings in [fixed(5), fixed(20), fixed(50), tracked()] {
            let ratios = ratios(kind, &plain, &settings, true);
            assert!(worst(&ratios) <= NOT_WORSE, "{kind:?}: {ratios:?}");
            best = ratios.into_iter().fold(best, f64::min);
        }
        assert!(best < 0.95, "and where it is right, it helps: {best}");
    }
}

/// The machine alone sees when more are slow than a tail is.
#[test]
fn h1_nor_does_it_where_nobody_knows_of_a_line_and_losers_leave_it() {
    let plain = plain(Servers::Stalling);
    for settings in [fixed(5), fixed(20), fixed(50), tracked()] {
        let ratios = ratios(Servers::Stalling, &plain, &settings, false);
        assert!(worst(&ratios) <= NOT_WORSE, "{ratios:?}");
    }
}

/// What it costs to say nothing of an overload to who hedges: a twentieth more work, on servers that have hardly any time left.
#[test]
fn h1_where_nobody_knows_of_a_line_and_losers_stay_in_it_the_budget_bounds_the_harm() {
    let plain = plain(Servers::Heedless);
    for settings in [fixed(5), fixed(20), fixed(50), tracked()] {
        let ratios = ratios(Servers::Heedless, &plain, &settings, false);
        assert!(worst(&ratios) <= 1.25, "{ratios:?}");
    }
    let mut reckless = Lab::new(Servers::Heedless, 1, 0.8, Some(Hedge::new(&reckless())), false);
    reckless.run();
    let ratio = reckless.p99() / plain[3][0];
    assert!(ratio > 3.0, "without budget and tail it would be so many times the p99: {ratio}");
}

fn reckless() -> Settings {
    fixed(5).with_budget(1.0, 100_000).unwrap().with_tail(1.0).unwrap()
}
