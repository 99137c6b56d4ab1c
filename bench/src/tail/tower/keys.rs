//! One request that reads many keys.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use sluicegate_testkit::lab::numbers::Numbers;
use sluicegate_testkit::lab::tail::{APART, BATCHES, KEYS, Outcome, read};
use tokio::task::JoinSet;
use tower::Service;

use super::{Attempt, Time, block_on, failed, hedge};
use crate::error::Error;
use crate::stop::Stop;

/// How long latencies count, in nanoseconds.
const PERIOD: u64 = 6 * APART;

/// So many batches before those that count: two of the histogram's periods.
const BEFORE: u64 = 12;

/// Servers of which each answers a key after a time that is drawn for it.
#[derive(Clone)]
struct Replicas {
    time: Time,
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    numbers: Numbers,
    /// How long the batch's first attempts take.
    firsts: Vec<u64>,
    hedges: u32,
}

impl Service<Attempt> for Replicas {
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let mut shared = self.shared.borrow_mut();
        let takes = if attempt.place == 0 {
            shared.firsts[attempt.number]
        } else {
            shared.hedges += 1;
            nanos(read(&mut shared.numbers))
        };
        let time = self.time;
        Box::pin(async move {
            time.sleep(takes).await;
            Ok(())
        })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time, not negative")]
fn nanos(time: f64) -> u64 {
    time as u64
}

/// The same keys for the same seed as ours has.
pub(in crate::tail) fn run(seed: u64, percentile: f64, stop: &Stop) -> Result<Outcome, Error> {
    let (mut batches, hedges) = block_on(all(seed, Some(percentile), BATCHES, stop))??;
    Ok(Outcome::of(&mut batches, hedges))
}

/// How long each of so many batches takes, in nanoseconds, and how many hedges there are.
async fn all(seed: u64, percentile: Option<f64>, count: u64, stop: &Stop) -> Result<(Vec<u64>, u32), Error> {
    let time = Time::new();
    let shared = Shared { numbers: Numbers::new(seed), firsts: Vec::new(), hedges: 0 };
    let replicas = Replicas { time, shared: Rc::new(RefCell::new(shared)) };
    let mut hedge = hedge(replicas.clone(), percentile, PERIOD);
    let mut batches = Vec::new();
    for batch in 0..BEFORE + count {
        stop.check()?;
        let start = batch * APART;
        time.until(start).await;
        {
            let mut shared = replicas.shared.borrow_mut();
            // Those before are others.
            let mut numbers = Numbers::of(seed, batch.checked_sub(BEFORE).unwrap_or(u64::MAX - batch));
            shared.firsts = (0..KEYS).map(|_| nanos(read(&mut numbers))).collect();
            shared.numbers = numbers;
            if batch == BEFORE {
                shared.hedges = 0;
            }
        }
        let mut keys = JoinSet::new();
        for number in 0..KEYS {
            poll_fn(|context| hedge.poll_ready(context)).await.map_err(failed)?;
            keys.spawn_local(hedge.call(Attempt { number, place: 0 }));
        }
        while let Some(answered) = keys.join_next().await {
            answered.map_err(|_| Error::Panicked("a key's task"))?.map_err(failed)?;
        }
        if batch >= BEFORE {
            batches.push(time.now() - start);
        }
    }
    let hedges = replicas.shared.borrow().hedges;
    Ok((batches, hedges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unhedged_a_batch_takes_as_long_as_its_slowest_key() {
        let (batches, hedges) = block_on(all(1, None, 20, &Stop::default())).unwrap().unwrap();
        assert_eq!((batches.len(), hedges), (20, 0));
        for (batch, took) in batches.into_iter().enumerate() {
            let mut numbers = Numbers::of(1, batch as u64);
            let slowest = (0..KEYS).map(|_| nanos(read(&mut numbers))).max().unwrap();
            // As exactly as tokio's timers are.
            assert!(took.abs_diff(slowest) <= 20_000, "{batch}: {took}, {slowest}");
        }
    }

    #[test]
    fn once_there_are_enough_latencies_the_slowest_are_hedged() {
        let (batches, hedges) = block_on(all(1, Some(0.98), 5, &Stop::default())).unwrap().unwrap();
        assert!((50..200).contains(&hedges), "some 2 of 100: {hedges}");
        let (plain, _) = block_on(all(1, None, 5, &Stop::default())).unwrap().unwrap();
        assert!(batches.iter().zip(&plain).all(|(hedged, plain)| hedged <= plain), "{batches:?}, {plain:?}");
    }
}
