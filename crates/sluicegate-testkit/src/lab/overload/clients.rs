//! Who comes, and when.

use super::SECOND;
use super::play::End;
use super::service::Work;
use crate::lab::numbers::Numbers;

/// What somebody asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Nanoseconds of a server's time, if it is as quick as at first.
    pub work: u64,
    /// For so many nanoseconds after it came an answer is of use; then the client leaves.
    pub patience: u64,
    /// Whose it is.
    pub key: u64,
    /// Its class.
    pub class: usize,
    /// Any number: what clients know it again by.
    pub task: u64,
    /// 1, or more if it is sent again.
    pub attempt: u32,
}

impl Request {
    /// Of the only client, who waits for ever.
    #[must_use]
    pub const fn new(work: u64) -> Self {
        Self { work, patience: u64::MAX, key: 0, class: 0, task: 0, attempt: 1 }
    }

    /// Its client leaves after so many nanoseconds.
    #[must_use]
    pub const fn patient(self, patience: u64) -> Self {
        Self { patience, ..self }
    }
}

/// All clients together.
pub trait Clients {
    /// Who comes next of its own accord, and when. Instants do not go back.
    fn next(&mut self) -> Option<(u64, Request)>;

    /// What came of one. Another is sent at the instant that is answered.
    fn told(&mut self, request: &Request, end: End, now: u64) -> Option<(u64, Request)> {
        let _ = (request, end, now);
        None
    }
}

/// They come at random, and send nothing again.
#[derive(Clone, Debug)]
pub struct Crowd {
    numbers: Numbers,
    /// From an instant on so many a second.
    rates: Vec<(u64, f64)>,
    work: Work,
    patience: u64,
    at: f64,
}

impl Crowd {
    /// So many a second.
    #[must_use]
    pub fn new(seed: u64, rate: f64, work: Work) -> Self {
        Self { numbers: Numbers::new(seed), rates: vec![(0, rate)], work, patience: u64::MAX, at: 0.0 }
    }

    /// And so many a second from an instant on, which is later than all before.
    #[must_use]
    pub fn then(mut self, from: u64, rate: f64) -> Self {
        self.rates.push((from, rate));
        self
    }

    /// Each leaves after so many nanoseconds.
    #[must_use]
    pub fn patient(self, patience: u64) -> Self {
        Self { patience, ..self }
    }
}

impl Clients for Crowd {
    fn next(&mut self) -> Option<(u64, Request)> {
        // An exponential gap that a change of the rate cuts goes on with the new one.
        let mut gap = self.numbers.exponential(1.0);
        loop {
            let now = self.at as u64;
            let place = self.rates.iter().rposition(|(from, _)| *from <= now).unwrap_or(0);
            let (rate, until) = (self.rates[place].1, self.rates.get(place + 1).map(|it| it.0 as f64));
            let at = self.at + gap * SECOND as f64 / rate;
            match until {
                Some(until) if at > until => {
                    gap -= (until - self.at) * rate / SECOND as f64;
                    self.at = until;
                }
                _ => {
                    self.at = at;
                    break;
                }
            }
        }
        let work = self.work.draw(&mut self.numbers);
        Some((self.at as u64, Request::new(work).patient(self.patience)))
    }
}

/// They come at these instants, in order, each with the same request.
#[derive(Clone, Debug)]
pub struct Instants<I> {
    instants: I,
    request: Request,
}

impl<I: Iterator<Item = u64>> Instants<I> {
    /// At these instants, in order.
    pub const fn new(instants: I, request: Request) -> Self {
        Self { instants, request }
    }
}

impl<I: Iterator<Item = u64>> Clients for Instants<I> {
    fn next(&mut self) -> Option<(u64, Request)> {
        Some((self.instants.next()?, self.request))
    }
}
