//! Requests to servers with a line each.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use sluicegate_testkit::lab::busy::{Request, SERVERS, Servers, requests};
use sluicegate_testkit::lab::numbers::{MILLI, quantile};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, spawn_local};
use tower::Service;

use super::{Attempt, Time, block_on, failed, hedge};
use crate::error::Error;

/// How long latencies count, in nanoseconds: some hundred requests. A run is no longer than a second or three.
const PERIOD: u64 = 100_000_000;

/// The servers, as the service that is hedged.
#[derive(Clone)]
struct Farm {
    kind: Servers,
    time: Time,
    requests: Rc<Vec<Request>>,
    servers: Rc<RefCell<Vec<Server>>>,
}

#[derive(Default)]
struct Server {
    line: VecDeque<Waiting>,
    works: bool,
}

/// Somebody in line: for how long he is worked on, and who is told then.
struct Waiting {
    work: u64,
    answer: oneshot::Sender<()>,
}

impl Service<Attempt> for Farm {
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let request = self.requests[attempt.number];
        let (server, work) = (request.servers[attempt.place], request.work[attempt.place]);
        let (answer, answered) = oneshot::channel();
        self.servers.borrow_mut()[server].line.push_back(Waiting { work, answer });
        self.work(server);
        Box::pin(async move {
            // Everybody who stays in line is answered.
            let _ = answered.await;
            Ok(())
        })
    }
}

impl Farm {
    /// Begins the next in line, if nobody is worked on. Who has lost has left it, unless servers notice nothing.
    fn work(&self, server: usize) {
        let mut servers = self.servers.borrow_mut();
        let this = &mut servers[server];
        if this.works {
            return;
        }
        let next = std::iter::from_fn(|| this.line.pop_front())
            .find(|next| self.kind == Servers::Heedless || !next.answer.is_closed());
        let Some(Waiting { work, answer }) = next else { return };
        this.works = true;
        let farm = self.clone();
        spawn_local(async move {
            farm.time.sleep(work).await;
            // Nobody may be there any more.
            let _ = answer.send(());
            farm.servers.borrow_mut()[server].works = false;
            farm.work(server);
        });
    }
}

/// The same requests for the same seed as ours has; their p99, in milliseconds.
pub(in crate::tail) fn run(
    kind: Servers,
    seed: u64,
    utilisation: f64,
    percentile: Option<f64>,
) -> Result<f64, Error> {
    block_on(all(kind, requests(kind, seed, utilisation), percentile))?
}

async fn all(kind: Servers, requests: Vec<Request>, percentile: Option<f64>) -> Result<f64, Error> {
    let (time, requests) = (Time::new(), Rc::new(requests));
    let servers = (0..SERVERS).map(|_| Server::default()).collect();
    let farm = Farm { kind, time, requests: Rc::clone(&requests), servers: Rc::new(RefCell::new(servers)) };
    let mut hedge = hedge(farm, percentile, PERIOD);
    let mut running = JoinSet::new();
    for (number, request) in requests.iter().enumerate() {
        time.until(request.arrives).await;
        poll_fn(|context| hedge.poll_ready(context)).await.map_err(failed)?;
        let (answer, arrived) = (hedge.call(Attempt { number, place: 0 }), request.arrives);
        running.spawn_local(async move { answer.await.map(|()| time.now() - arrived) });
    }
    let mut took = Vec::new();
    while let Some(answered) = running.join_next().await {
        took.push(answered.map_err(|_| Error::Panicked("a request's task"))?.map_err(failed)?);
    }
    Ok(quantile(&mut took, 0.99) / MILLI)
}

#[cfg(test)]
mod tests {
    use sluicegate_testkit::lab::busy::Lab;

    use super::*;

    #[test]
    fn unhedged_the_harness_brings_what_the_lab_does() {
        for kind in [Servers::Stalling, Servers::Heedless] {
            let mut lab = Lab::new(kind, 1, 0.8, None, false);
            lab.run();
            let theirs = run(kind, 1, 0.8, None).unwrap();
            assert!((theirs / lab.p99() - 1.0).abs() < 0.02, "{kind:?}: {theirs}, {}", lab.p99());
        }
    }
}
