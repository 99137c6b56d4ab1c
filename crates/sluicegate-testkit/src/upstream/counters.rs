//! What the upstream counts, and the guard by which a request counts as in flight.
use super::Shared;
use crate::body::Guard;
use std::sync::Arc;

/// What the upstream has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests being answered now.
    pub in_flight: usize,
    /// The most that ever were at the same time.
    pub max_in_flight: usize,
    /// Requests whose head arrived.
    pub total: usize,
    /// Requests whose answer was handed over to its last byte.
    pub finished: usize,
    /// Requests given up before that: the peer went away, the answer broke off, or the upstream was stopped.
    pub aborted: usize,
    /// Bytes of bodies that `/sink` has read.
    pub sunk: u64,
    /// Connections accepted.
    pub connections: usize,
    /// Connections open now.
    pub connections_open: usize,
}

/// One request in flight. Dropped unfinished, it counts as aborted.
#[derive(Debug)]
pub(super) struct InFlight {
    shared: Arc<Shared>,
    finished: bool,
}

impl InFlight {
    /// Counts a request whose head just arrived.
    pub(super) fn begin(shared: &Arc<Shared>) -> Self {
        shared.counters.send_modify(|counters| {
            counters.total += 1;
            counters.in_flight += 1;
            counters.max_in_flight = counters.max_in_flight.max(counters.in_flight);
        });
        Self { shared: Arc::clone(shared), finished: false }
    }
}

impl Guard for InFlight {
    fn finished(&mut self) {
        self.finished = true;
        self.shared.counters.send_modify(|counters| {
            counters.in_flight -= 1;
            counters.finished += 1;
        });
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.counters.send_modify(|counters| {
                counters.in_flight -= 1;
                counters.aborted += 1;
            });
        }
    }
}
