//! A hedge and a retry that have nothing to do, around a service that answers well, beside tower's and beside a timeout.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sluicegate::hedge;
use sluicegate::idempotent::Idempotent;
use sluicegate::retry::{Failed, Retry, Settings};
use sluicegate::timer::TokioTime;
use sluicegate_tower::again::Copies;
use sluicegate_tower::hedge::HedgeLayer;
use sluicegate_tower::judge::Errors;
use sluicegate_tower::retry::RetryLayer;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::{Layer, Service};

use super::work::{When, Work};
use super::{NO_DEARER, Subject};
use crate::error::Error;

/// What is asked is answered.
const ASKED: u64 = 7;
const DELAY: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
/// No histogram is rotated while this is measured.
const PERIOD: Duration = Duration::from_secs(3600);

const TIMEOUT: &str = "tokio's timeout";

pub(super) fn subjects() -> Result<Vec<Subject>, Error> {
    let mut all = Vec::new();
    for when in When::BOTH {
        hedges(when, &mut all)?;
        retries(when, &mut all)?;
    }
    Ok(all)
}

fn hedges(when: When, all: &mut Vec<Subject>) -> Result<(), Error> {
    let settings = match when {
        When::AtOnce => hedge::Settings::tracked(0.95, DELAY),
        // A percentile of next to nothing would be next to nothing, and one in twenty would be hedged.
        When::Later => hedge::Settings::fixed(DELAY),
    };
    let settings = settings.map_err(Error::setting("the hedge's delay"))?;
    let hedge = || hedge::Hedge::new(&settings, TokioTime::new());
    let case = format!("hedge, {}", when.text());
    let (own, work) = (hedge(), Idempotent::promise(move |_: usize| when.work(ASKED)));
    all.push(Subject::waiting(&case, async move || {
        own.run(&work).await.is_ok_and(|won| won.into_first() == ASKED)
    }));
    all.push(timeout(&case, when));

    let case = format!("hedge layer, {}", when.text());
    let mut own = HedgeLayer::new(hedge(), Copies::promise(), Errors).layer(Serves(when));
    all.push(Subject::waiting(&case, async move || serves(&mut own).await));
    let mut theirs =
        tower::hedge::Hedge::new_with_mock_latencies(Serves(when), Always, 10, 0.95, PERIOD, &[50; 100]);
    let peer = Subject::waiting(&case, async move || serves(&mut theirs).await);
    all.push(peer.of("tower's hedge", NO_DEARER));
    all.push(timeout(&case, when));
    Ok(())
}

fn retries(when: When, all: &mut Vec<Subject>) -> Result<(), Error> {
    let settings = Settings::new(3, DELAY, LONGEST).map_err(Error::setting("the retry's waits"))?;
    let retry = || Retry::new(settings.clone(), TokioTime::new());
    let case = format!("retry, {}", when.text());
    let (own, work) = (retry(), Idempotent::promise(move |_: usize| when.work(ASKED)));
    all.push(Subject::waiting(&case, async move || {
        own.run(&work, None, |_| Failed::Perhaps).await == Ok(ASKED)
    }));
    all.push(timeout(&case, when));

    let case = format!("retry layer, {}", when.text());
    let mut own = RetryLayer::new(retry(), Copies::promise(), Errors).layer(Serves(when));
    all.push(Subject::waiting(&case, async move || serves(&mut own).await));
    let backoff = ExponentialBackoffMaker::new(DELAY, LONGEST, 1.0, tower::util::rng::HasherRng::default());
    let mut backoff = backoff.map_err(Error::setting("tower's backoff"))?;
    let policy = Tries { left: 2, budget: Arc::new(TpsBudget::default()), backoff: backoff.make_backoff() };
    let mut theirs = tower::retry::Retry::new(policy, Serves(when));
    let peer = Subject::waiting(&case, async move || serves(&mut theirs).await);
    all.push(peer.of("tower's retry, budget and backoff", NO_DEARER));
    let mut theirs = tower::retry::Retry::new(Bare(2), Serves(when));
    let peer = Subject::waiting(&case, async move || serves(&mut theirs).await);
    all.push(peer.of("tower's retry, neither", None));
    all.push(timeout(&case, when));
    Ok(())
}

fn timeout(case: &str, when: When) -> Subject {
    let mut service = Serves(when);
    #[expect(clippy::disallowed_methods, reason = "a peer")]
    let peer = Subject::waiting(case, async move || {
        tokio::time::timeout(DELAY, service.call(ASKED)).await == Ok(Ok(ASKED))
    });
    peer.of(TIMEOUT, NO_DEARER)
}

async fn serves<S: Service<u64, Response = u64>>(service: &mut S) -> bool {
    if poll_fn(|context| service.poll_ready(context)).await.is_err() {
        return false;
    }
    service.call(ASKED).await.is_ok_and(|answer| answer == ASKED)
}

/// Answers what it is asked.
#[derive(Clone, Copy, Debug)]
struct Serves(When);

impl Service<u64> for Serves {
    type Response = u64;
    type Error = Infallible;
    type Future = Work;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u64) -> Work {
        self.0.work(number)
    }
}

/// Every request may be sent a second time.
#[derive(Clone, Copy, Debug)]
struct Always;

impl tower::hedge::Policy<u64> for Always {
    fn clone_request(&self, request: &u64) -> Option<u64> {
        Some(*request)
    }

    fn can_retry(&self, _: &u64) -> bool {
        true
    }
}

/// A policy as tower's documentation has it, with its budget and its backoff.
#[derive(Clone)]
struct Tries {
    left: u32,
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff,
}

impl<E> tower::retry::Policy<u64, u64, E> for Tries {
    type Future = <ExponentialBackoff as Backoff>::Future;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, E>) -> Option<Self::Future> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// A policy that counts tries, and nothing else.
#[derive(Clone, Copy, Debug)]
struct Bare(u32);

impl<E> tower::retry::Policy<u64, u64, E> for Bare {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, E>) -> Option<Self::Future> {
        result.as_ref().err()?;
        self.0 = self.0.checked_sub(1)?;
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}
