//! To be admitted and to leave: permits with their queue, beside tokio's semaphore.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate::permits::{Permits, Settings};
use sluicegate::queue::{self, Codel};
use sluicegate::timer::TokioTime;
use tokio::sync::Semaphore;

use super::{NO_DEARER, Subject};
use crate::bucket::turn;
use crate::error::Error;

/// Places, where some are free.
const PLACES: usize = 16;
/// Room to wait.
const QUEUE: usize = 16;
/// What a wait may be.
const TARGET: Duration = Duration::from_millis(5);

const OWNED: &str = "Semaphore, owned";
const BORROWED: &str = "Semaphore, borrowed";

pub(super) fn subjects() -> Result<Vec<Subject>, Error> {
    let mut all = Vec::new();
    for threads in [1, 2] {
        let name = |what: &str| {
            format!("admission, {what}, {threads} thread{}", if threads == 1 { "" } else { "s" })
        };
        free(&name("free"), &Permits::new(PLACES, QUEUE), threads, &mut all);
        for (kind, line) in lines()? {
            let permits = Permits::with(Settings::new(PLACES, line), TokioTime::new());
            free(&name(&format!("{kind}, free")), &permits, threads, &mut all);
        }
        taken(&name("none free, refused"), threads, &mut all);
    }
    tried(&mut all);
    handed("admission, waited and handed over, 1 thread", &Permits::new(1, QUEUE), &mut all);
    for (kind, line) in lines()? {
        let permits = Permits::with(Settings::new(1, line), TokioTime::new());
        handed(&format!("admission, {kind}, waited and handed over, 1 thread"), &permits, &mut all);
    }
    Ok(all)
}

/// Lines that look at the time: those of the layers, where deadlines and waits count, and one that sheds.
fn lines() -> Result<[(&'static str, queue::Settings); 2], Error> {
    let line = queue::Settings::new(QUEUE);
    let codel = Codel::new(TARGET, 2 * TARGET, 20 * TARGET).map_err(Error::setting("the line"))?;
    Ok([("with a clock", line.clone()), ("CoDel", line.with_codel(codel))])
}

/// Polled once: whether it is there, and what.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// By the way that waits if need be.
fn free(case: &str, permits: &Permits, threads: u64, all: &mut Vec<Subject>) {
    let permits = permits.clone();
    all.push(Subject::new(case, move |operations| {
        turn::take(threads, operations, || {
            permits.enter().is_ok_and(|enter| at_once(enter).is_some_and(|got| got.is_ok()))
        })
    }));
    let semaphore = Arc::new(Semaphore::new(PLACES));
    let theirs = Subject::new(case, move |operations| {
        turn::take(threads, operations, || {
            at_once(Arc::clone(&semaphore).acquire_owned()).is_some_and(|got| got.is_ok())
        })
    });
    all.push(theirs.of(OWNED, NO_DEARER));
    let semaphore = Semaphore::new(PLACES);
    let theirs = Subject::new(case, move |operations| {
        turn::take(threads, operations, || at_once(semaphore.acquire()).is_some_and(|got| got.is_ok()))
    });
    all.push(theirs.of(BORROWED, None));
}

/// All are taken, and nobody may wait.
fn taken(case: &str, threads: u64, all: &mut Vec<Subject>) {
    let permits = Permits::new(0, 0);
    all.push(Subject::new(case, move |operations| {
        turn::take(threads, operations, || permits.try_enter().is_none())
    }));
    let semaphore = Arc::new(Semaphore::new(0));
    let theirs = Subject::new(case, move |operations| {
        turn::take(threads, operations, || Arc::clone(&semaphore).try_acquire_owned().is_err())
    });
    all.push(theirs.of(OWNED, NO_DEARER));
    let semaphore = Semaphore::new(0);
    let theirs = Subject::new(case, move |operations| {
        turn::take(threads, operations, || semaphore.try_acquire().is_err())
    });
    all.push(theirs.of(BORROWED, None));

    // With a reason, and when to come back.
    let case = case.replace("refused", "refused with a reason");
    let permits = Permits::new(0, 0);
    all.push(Subject::new(&case, move |operations| {
        turn::take(threads, operations, || {
            permits.enter().is_err_and(|rejected| rejected.retry_after().is_some())
        })
    }));
    let semaphore = Semaphore::new(0);
    let theirs = Subject::new(&case, move |operations| {
        turn::take(threads, operations, || semaphore.try_acquire().is_err())
    });
    all.push(theirs.of(BORROWED, None));
}

/// By the way that never waits.
fn tried(all: &mut Vec<Subject>) {
    let case = "admission, tried, 1 thread";
    let permits = Permits::new(PLACES, QUEUE);
    all.push(Subject::new(case, move |operations| {
        turn::take(1, operations, || permits.try_enter().is_some())
    }));
    let semaphore = Arc::new(Semaphore::new(PLACES));
    let theirs = Subject::new(case, move |operations| {
        turn::take(1, operations, || Arc::clone(&semaphore).try_acquire_owned().is_ok())
    });
    all.push(theirs.of(OWNED, NO_DEARER));
}

/// One is held, another waits, gets it when it comes back, and gives it back.
fn handed(case: &str, permits: &Permits, all: &mut Vec<Subject>) {
    let permits = permits.clone();
    all.push(Subject::new(case, move |operations| {
        turn::take(1, operations, || {
            let (Some(held), Ok(waits)) = (permits.try_enter(), permits.enter()) else { return false };
            let (mut waits, mut context) = (pin!(waits), Context::from_waker(Waker::noop()));
            let waited = waits.as_mut().poll(&mut context).is_pending();
            drop(held);
            waited && waits.as_mut().poll(&mut context).is_ready()
        })
    }));
    let semaphore = Arc::new(Semaphore::new(1));
    let theirs = Subject::new(case, move |operations| {
        turn::take(1, operations, || {
            let Ok(held) = Arc::clone(&semaphore).try_acquire_owned() else { return false };
            let waits = Arc::clone(&semaphore).acquire_owned();
            let (mut waits, mut context) = (pin!(waits), Context::from_waker(Waker::noop()));
            let waited = waits.as_mut().poll(&mut context).is_pending();
            drop(held);
            waited && waits.as_mut().poll(&mut context).is_ready()
        })
    });
    all.push(theirs.of(OWNED, NO_DEARER));
}
