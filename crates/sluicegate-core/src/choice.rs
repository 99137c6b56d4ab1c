//! Which of several servers a request goes to.
//!
//! * **Never one twice while another is left**: who asks again wants somebody else.
//! * **Not who could not be reached lately.** Such a server is [avoided](Server::unreachable) for a while. When that is over, one
//!   request goes there to see, and it is avoided by the others until that one knows.
//! * Of the rest, two are drawn, and **the one with fewer requests in flight** is taken. Whoever looks at all of them sends everybody to the same
//!   one while what it knows is old; with two, the longest line grows with the logarithm of a logarithm of their number
//!   (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
//!
//! The first goes before the second: where all others were tried, one that is avoided is asked all the same, rather than nobody.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::nanos;

/// What is known of one server. Time is nanoseconds on any one clock.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::choice::{Server, pick};
///
/// let avoided_for = Duration::from_secs(1);
/// let mut servers = [Server::new(avoided_for), Server::new(avoided_for)];
/// servers[0].begin(0);
/// servers[0].unreachable(0);
/// servers[0].end();
/// let seen = servers.map(|server| server.see(500_000_000));
/// assert_eq!(pick(&seen, |_| false, 7), Some(1), "the first is avoided");
/// assert_eq!(pick(&seen, |place| place == 1, 7), Some(0), "rather than the same again");
/// assert_eq!(pick(&[], |_| false, 7), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Nanoseconds.
    avoided_for: u64,
    in_flight: usize,
    /// It could not be reached the last time; avoided until then.
    until: Option<u64>,
}

/// Says that a request that goes to a server is the one that sees whether it is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Until when the server was avoided before.
    was: u64,
    /// Until when the others avoid it since.
    until: u64,
}

/// How a server looks at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How many requests are at it.
    pub in_flight: usize,
    /// It could not be reached lately.
    pub avoided: bool,
}

impl Server {
    /// One that nothing is known of. If it can't be reached, it is to be avoided for so long.
    #[must_use]
    pub fn new(avoided_for: Duration) -> Self {
        Self { avoided_for: nanos(avoided_for), in_flight: 0, until: None }
    }

    /// How it looks.
    #[must_use]
    pub fn see(&self, now: u64) -> Seen {
        Seen { in_flight: self.in_flight, avoided: self.until.is_some_and(|until| now < until) }
    }

    /// A request goes there. If it could not be reached the last time, the others avoid it until this one knows; then it has a
    /// probe, for where it is [called off](Self::call_off).
    pub fn begin(&mut self, now: u64) -> Option<Probe> {
        self.in_flight += 1;
        let was = self.until.filter(|until| now >= *until)?;
        let until = now.saturating_add(self.avoided_for);
        self.until = Some(until);
        Some(Probe { was, until })
    }

    /// A request that had begun was not sent, and is there no more. If it was to see whether the server is back, that is for the next
    /// one, unless somebody has seen it in the meantime.
    pub fn call_off(&mut self, probe: Option<Probe>) {
        if let Some(Probe { was, until }) = probe
            && self.until == Some(until)
        {
            self.until = Some(was);
        }
        self.end();
    }

    /// A request has reached it, whatever it answered.
    pub const fn reached(&mut self) {
        self.until = None;
    }

    /// A request could not reach it.
    pub const fn unreachable(&mut self, now: u64) {
        self.until = Some(now.saturating_add(self.avoided_for));
    }

    /// A request is there no more: its answer has ended, or it was dropped.
    pub const fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

/// The place of the server to ask; none if there are no servers. `random` is any number, anew each time.
pub fn pick(servers: &[Seen], is_tried: impl Fn(usize) -> bool, random: u64) -> Option<usize> {
    let rank = |place: usize, seen: &Seen| (is_tried(place), seen.avoided);
    let best = servers.iter().enumerate().map(|(place, seen)| rank(place, seen)).min()?;
    let among = || servers.iter().enumerate().filter(|(place, seen)| rank(*place, seen) == best);
    let (one, other) = two_of(among().count(), random);
    let (place, first) = among().nth(one)?;
    match among().nth(other) {
        Some((other, second)) if second.in_flight < first.in_flight => Some(other),
        _ => Some(place),
    }
}

/// Two different numbers below `count`, each pair as likely; the same twice if there is but one.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let below = |bound: usize, random: u64| {
        let drawn = (u128::try_from(bound).unwrap_or(0) * u128::from(random & 0xffff_ffff)) >> 32;
        usize::try_from(drawn).unwrap_or(0)
    };
    let one = below(count, random);
    let other = below(count.saturating_sub(1), random >> 32);
    (one, if count > 1 && other >= one { other + 1 } else { other })
}
