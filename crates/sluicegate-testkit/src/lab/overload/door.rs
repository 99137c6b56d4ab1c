//! What stands before the servers and decides who goes in: nothing, or what is shipped.

mod by_refusals;
mod gate;

use sluicegate_core::concurrency::Outcome;
use sluicegate_core::queue::Refusal;

use super::clients::Request;

pub use by_refusals::ByRefusals;
pub use gate::Gate;

/// What a door has decided of a request, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the servers.
    Start(usize),
    /// It is turned away, on its arrival or later.
    Refuse(usize, Refusal),
}

/// What stands before the servers. Of each request that is offered it says once, then or later, what becomes of it, unless that has
/// left before.
pub trait Door {
    /// A request comes.
    fn offer(&mut self, number: usize, request: &Request, now: u64, out: &mut Vec<Verdict>);

    /// One that was started is answered, or its client has left, which is a drop.
    fn ended(&mut self, number: usize, outcome: Outcome, now: u64, out: &mut Vec<Verdict>);

    /// The client of one that waits has left.
    fn left(&mut self, number: usize, now: u64, out: &mut Vec<Verdict>);

    /// When it wants to be [woken](Self::woken) next.
    fn wake(&self) -> Option<u64> {
        None
    }

    /// Time has passed.
    fn woken(&mut self, now: u64, out: &mut Vec<Verdict>) {
        let _ = (now, out);
    }

    /// How many may be with the servers at once, if that is limited.
    fn limit(&self) -> Option<u32> {
        None
    }
}

/// No door: everything goes to the servers, and stands in their line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Door for Open {
    fn offer(&mut self, number: usize, _: &Request, _: u64, out: &mut Vec<Verdict>) {
        out.push(Verdict::Start(number));
    }

    fn ended(&mut self, _: usize, _: Outcome, _: u64, _: &mut Vec<Verdict>) {}

    fn left(&mut self, _: usize, _: u64, _: &mut Vec<Verdict>) {}
}
