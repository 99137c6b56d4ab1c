//! H1, its other half: a hedge is work too. Servers with a line each, from hardly busy to nearly overloaded, hedged after delays that are
//! right for some of them and far too short for others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;

use sluicegate_core::hedge::{Due, Hedge, Primary};

use super::numbers::{MILLI, Numbers, quantile};

/// How many servers there are.
pub const SERVERS: usize = 20;
/// How many requests a run has.
pub const REQUESTS: usize = 4000;

/// How busy servers are, in the experiments that say nothing else.
pub const UTILISATIONS: [f64; 6] = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95];

/// What servers are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
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

/// A request. Times are nanoseconds from the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// When it arrives.
    pub arrives: u64,
    /// Where its attempts go, in their order.
    pub servers: [usize; 2],
    /// How long they take.
    pub work: [u64; 2],
}

/// The same requests for the same seed.
#[must_use]
pub fn requests(kind: Servers, seed: u64, utilisation: f64) -> Vec<Request> {
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
        Request { arrives: now as u64, servers: [first, second], work }
    };
    (0..REQUESTS as u64).map(request).collect()
}

/// A request under way.
struct UnderWay {
    request: Request,
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

/// One run.
pub struct Lab {
    kind: Servers,
    /// Whether who would hedge knows of the line of who would be asked.
    told: bool,
    hedge: Option<Hedge>,
    requests: Vec<UnderWay>,
    servers: Vec<Server>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    hedges: usize,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lab = f.debug_struct("Lab");
        lab.field("requests", &self.requests.len()).field("servers", &self.servers.len());
        lab.field("hedges", &self.hedges).finish_non_exhaustive()
    }
}

impl Lab {
    /// Hedged or not; who hedges is `told` of the line of who would be asked, or not.
    #[must_use]
    pub fn new(kind: Servers, seed: u64, utilisation: f64, hedge: Option<Hedge>, told: bool) -> Self {
        let requests: Vec<_> = requests(kind, seed, utilisation)
            .into_iter()
            .map(|request| UnderWay { request, primary: None, ended: None })
            .collect();
        let arrivals = requests.iter().enumerate();
        let events = arrivals
            .map(|(number, under_way)| Reverse((under_way.request.arrives, Event::Arrival(number))))
            .collect();
        let servers = (0..SERVERS).map(|_| Server::default()).collect();
        Self { kind, told, hedge, requests, servers, events, hedges: 0 }
    }

    /// Goes on until every request is answered.
    pub fn run(&mut self) {
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
                    let overloaded = self.told && !self.servers[request.request.servers[1]].line.is_empty();
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
        let server = self.requests[number].request.servers[attempt];
        self.servers[server].line.push_back((number, attempt));
        if self.servers[server].works_on.is_none() {
            self.work(server, now);
        }
    }

    /// Begins the next in line.
    fn work(&mut self, server: usize, now: u64) {
        while let Some((number, attempt)) = self.servers[server].line.pop_front() {
            let UnderWay { request, ended, .. } = &self.requests[number];
            if ended.is_none() || matches!(self.kind, Servers::Heedless) {
                self.servers[server].works_on = Some((number, attempt));
                self.events.push(Reverse((now + request.work[attempt], Event::Done(server))));
                return;
            }
        }
    }

    /// How many hedges were made.
    #[must_use]
    pub const fn hedges(&self) -> usize {
        self.hedges
    }

    /// The 99th percentile, in milliseconds.
    #[must_use]
    pub fn p99(&self) -> f64 {
        let took = self.requests.iter().map(|request| request.ended.unwrap() - request.request.arrives);
        quantile(&mut took.collect::<Vec<_>>(), 0.99) / MILLI
    }
}
