//! tower's layers as a door: `LoadShed` before a `Buffer` before a `ConcurrencyLimit`, polled by the lab's clock.
//!
//! No runtime is needed, since nothing in them looks at time: whatever happens, everything that could go on is polled.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use sluicegate_core::concurrency::Outcome;
use sluicegate_core::queue::Refusal;
use sluicegate_testkit::lab::overload::Hand;
use sluicegate_testkit::lab::overload::clients::Request;
use sluicegate_testkit::lab::overload::door::{Door, Verdict};
use tokio::sync::oneshot;
use tower::Service;
use tower::buffer::{Buffer, future::ResponseFuture as Buffered};
use tower::limit::concurrency::{ConcurrencyLimit, future::ResponseFuture as Limited};
use tower::load_shed::{LoadShed, future::ResponseFuture};

/// As in tables.
pub(super) const NAME: &str = "tower";

type Answer = Limited<oneshot::Receiver<()>>;
type Response = ResponseFuture<Buffered<Answer>>;

/// Who has come to the service within, and how to answer.
type Came = Vec<(usize, oneshot::Sender<()>)>;

/// The service within: it says who came to it.
#[derive(Clone, Default)]
struct Servers(Arc<Mutex<Came>>);

impl Service<usize> for Servers {
    type Response = ();
    type Error = oneshot::error::RecvError;
    type Future = oneshot::Receiver<()>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: usize) -> Self::Future {
        let (answer, answered) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((number, answer));
        answered
    }
}

struct Tower {
    stack: LoadShed<Buffer<usize, Answer>>,
    /// The buffer's other half.
    worker: Pin<Box<dyn Future<Output = ()>>>,
    servers: Servers,
    /// Who is inside or waits, and, once inside, how the service answers.
    responses: HashMap<usize, Pin<Box<Response>>>,
    answers: HashMap<usize, oneshot::Sender<()>>,
}

/// Nobody inside.
pub(super) fn door(hand: Hand) -> Box<dyn Door> {
    let servers = Servers::default();
    let limited = ConcurrencyLimit::new(servers.clone(), hand.limit as usize);
    // The buffer's worker holds one more in its hand.
    let (buffer, worker) = Buffer::pair(limited, hand.queue - 1);
    let stack = LoadShed::new(buffer);
    let (responses, answers) = (HashMap::new(), HashMap::new());
    Box::new(Tower { stack, worker: Box::pin(worker), servers, responses, answers })
}

impl Tower {
    /// Whoever can go in does.
    fn go_on(&mut self, out: &mut Vec<Verdict>) {
        let waker = &mut Context::from_waker(Waker::noop());
        // It ends when the stack is dropped, not before.
        let _ = self.worker.as_mut().poll(waker);
        let started = std::mem::take(&mut *self.servers.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (number, answer) in started {
            self.answers.insert(number, answer);
            out.push(Verdict::Start(number));
        }
    }
}

impl Door for Tower {
    fn offer(&mut self, number: usize, _: &Request, _: u64, out: &mut Vec<Verdict>) {
        let waker = &mut Context::from_waker(Waker::noop());
        // Always ready: whoever finds the buffer full is told by the call.
        let _ = self.stack.poll_ready(waker);
        let mut response = Box::pin(self.stack.call(number));
        if response.as_mut().poll(waker).is_ready() {
            out.push(Verdict::Refuse(number, Refusal::Full));
            return;
        }
        self.responses.insert(number, response);
        self.go_on(out);
    }

    fn ended(&mut self, number: usize, outcome: Outcome, _: u64, out: &mut Vec<Verdict>) {
        let answer = self.answers.remove(&number);
        if let Some(mut response) = self.responses.remove(&number)
            && let Some(answer) = answer
            && outcome == Outcome::Good
        {
            // The response is there: nobody is told of nothing.
            let _ = answer.send(());
            let _ = response.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        self.go_on(out);
    }

    fn left(&mut self, number: usize, _: u64, out: &mut Vec<Verdict>) {
        self.responses.remove(&number);
        self.go_on(out);
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_testkit::lab::overload::clients::{Crowd, Instants};
    use sluicegate_testkit::lab::overload::door::Gate;
    use sluicegate_testkit::lab::overload::play::{End, Log, play};
    use sluicegate_testkit::lab::overload::service::{Servers, Work};
    use sluicegate_testkit::lab::overload::{MILLI, SECOND};

    use super::*;

    const HAND: Hand = Hand { limit: 3, queue: 20 };

    #[test]
    fn as_many_go_in_and_wait_as_were_asked_for() {
        let mut clients = Instants::new(std::iter::repeat_n(0, 30), Request::new(10 * MILLI));
        let log = play(Servers::new(9), &mut clients, &mut *door(HAND), u64::MAX);
        assert_eq!(log.refused(0, 1), 7);
        let mut waits = log.waits(0, 1);
        waits.sort_unstable();
        assert_eq!((waits[2], waits[3], waits[22]), (0, 10 * MILLI, 70 * MILLI), "three at a time");
    }

    /// Both are first come, first served, with the same bounds.
    #[test]
    fn it_does_to_everybody_what_a_static_limit_of_ours_does() {
        let run = |door: &mut dyn Door| -> Log {
            let mut crowd = Crowd::new(3, 500.0, Work::Exponential(10 * MILLI)).patient(90 * MILLI);
            play(Servers::new(3), &mut crowd, door, 5 * SECOND)
        };
        let (theirs, ours) = (run(&mut *door(HAND)), run(&mut Gate::by_hand(HAND)));
        let ends = |log: &Log| log.records.iter().map(|it| it.end).collect::<Vec<_>>();
        let (theirs, ours) = (ends(&theirs), ends(&ours));
        let of = |what| ours.iter().flatten().filter(|(_, end)| *end == what).count();
        assert!(of(End::Good) > 1000 && of(End::Refused(Refusal::Full)) > 100, "{}", of(End::Good));
        let same = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs == ours).count();
        assert!(same * 100 >= ours.len() * 90, "{same} of {}", ours.len());
    }
}
