//! Which of its upstreams a route's request goes to: the shell of [`sluicegate::choice`].

#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate::choice::{Probe, Seen, Server, pick};
use sluicegate::clock::Clock;
use sluicegate::timer::TokioTime;

use super::upstream::Upstream;

/// How long an upstream that can't be reached is avoided.
const AVOIDED: Duration = Duration::from_secs(1);

/// What is known of one upstream, by all routes that choose it. It outlives a configuration.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Mutex<Server>>);

impl Standing {
    /// Of one that nothing is known of.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Server::new(AVOIDED))))
    }

    /// How it looks.
    #[must_use]
    pub fn see(&self, now: u64) -> Seen {
        self.lock().see(now)
    }

    /// No panic can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self::new()
    }
}

/// The upstreams of a route.
#[derive(Debug)]
pub struct Group {
    upstreams: Vec<Arc<Upstream>>,
    time: TokioTime,
}

impl Group {
    /// These, of which there is at least one.
    #[must_use]
    pub const fn new(upstreams: Vec<Arc<Upstream>>, time: TokioTime) -> Self {
        Self { upstreams, time }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Chooses one for a request that was sent to `tried` already, and takes a place there; of those that are `put_off` only if there is
    /// nobody else. None if there is none.
    #[must_use]
    pub fn enter(&self, tried: &[usize], put_off: &[usize]) -> Option<(usize, &Arc<Upstream>, Place)> {
        let now = self.time.now();
        let mut rounds = self.upstreams.len();
        loop {
            let all = 0..self.upstreams.len();
            let mut among: Vec<usize> = all.clone().filter(|place| !put_off.contains(place)).collect();
            if among.is_empty() {
                among = all.collect();
            }
            let see = |place: &usize| Some(self.upstreams.get(*place)?.standing.see(now));
            let seen: Vec<Seen> = among.iter().filter_map(see).collect();
            let random = RandomState::new().hash_one(());
            let is_tried = |place: usize| among.get(place).is_some_and(|place| tried.contains(place));
            let picked = pick(&seen, is_tried, random)?;
            let (chosen, seen) = (*among.get(picked)?, seen.get(picked)?);
            let upstream = self.upstreams.get(chosen)?;
            let mut server = upstream.standing.lock();
            rounds -= 1;
            // Somebody was quicker to see whether it is back, which only one is to do. Each round finds one such at least.
            if server.see(now).avoided && !seen.avoided && rounds > 0 {
                continue;
            }
            let probe = server.begin(now);
            drop(server);
            let standing = upstream.standing.clone();
            let place = Place { standing, time: self.time, probe, is_used: false };
            return Some((chosen, upstream, place));
        }
    }
}

/// A request at an upstream. Dropped, it is there no more; and where it never [began](Self::begin), it is as if it had never been
/// there.
#[derive(Debug)]
#[must_use = "dropped, the request is not counted"]
pub struct Place {
    standing: Standing,
    time: TokioTime,
    /// It is the one that sees whether the upstream is back.
    probe: Option<Probe>,
    is_used: bool,
}

impl Place {
    /// The request is sent there now, or a connection made for it.
    pub const fn begin(&mut self) {
        self.is_used = true;
    }

    /// The upstream was reached.
    pub fn reached(&self) {
        self.standing.lock().reached();
    }

    /// It could not be.
    pub fn unreachable(&self) {
        self.standing.lock().unreachable(self.time.now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut server = self.standing.lock();
        if self.is_used {
            server.end();
        } else {
            server.call_off(self.probe);
        }
    }
}
