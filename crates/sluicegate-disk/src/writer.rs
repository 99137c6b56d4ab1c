//! The one thread that writes: what has changed since it last did, as one commit.
//!
//! No steward looks after it. It blocks in system calls, so nothing could cut it off; and after a panic it must not go on: nobody knows
//! whether the transaction that it was at is in the file, while what it took from the table counts as written. So the store ends then:
//! all who wait and all who come are told, and what is in the file counts when it is opened anew.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use sluicegate::clock::{Clock, SystemClock, nanos};

use crate::commits::Due;
use crate::error::DiskError;
use crate::file::{Batch, StoreFile};
use crate::shared::{Inner, Shared};

/// How many keys each commit looks at, to forget those that are as if never used.
const SWEPT: usize = 256;

/// The thread's name; no longer than Linux has room for.
const NAME: &str = "sluicegate-disk";

/// Starts the writer. It ends once the store does and all is written, or could not be.
pub(crate) fn start<C: Clock + 'static>(
    shared: Arc<Shared<C>>,
    file: StoreFile,
) -> Result<JoinHandle<Result<(), DiskError>>, DiskError> {
    let name = file.name().to_owned();
    let write = move || {
        let run = || run(&shared, file);
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            let error = DiskError::Panicked { file: name };
            let wakers = {
                let commits = &mut shared.lock().commits;
                commits.finish(error.clone());
                commits.leave_all()
            };
            wake(wakers);
            Err(error)
        })
    };
    let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(write);
    thread.map_err(|error| DiskError::Thread { cause: Arc::new(error) })
}

fn run<C: Clock>(shared: &Shared<C>, mut file: StoreFile) -> Result<(), DiskError> {
    // The pace of writing is the disk's, and follows no test's time.
    let pace = SystemClock::new();
    // Since when there is something to write; none while there is nothing.
    let mut since = None;
    let mut last = Ok(());
    loop {
        let mut inner = shared.lock();
        let has_ended = inner.commits.has_ended();
        match inner.commits.due() {
            Due::Nothing if has_ended => break,
            Due::Nothing => {
                since = None;
                drop(shared.rest(inner, None));
                continue;
            }
            Due::InAWhile(delay) => {
                let at = since.get_or_insert_with(|| pace.now()).saturating_add(nanos(delay));
                let left = at.saturating_sub(pace.now());
                if left > 0 {
                    drop(shared.rest(inner, Some(Duration::from_nanos(left))));
                    continue;
                }
            }
            Due::Now => {}
        }
        since = None;
        let (number, mut batch) = take(&mut inner, shared.now());
        drop(inner);
        // In the file's order, which touches fewer of its pages at a time.
        batch.changes.sort_unstable_by_key(|(id, _)| *id);
        last = file.commit(&batch);
        let wakers = publish(&mut shared.lock(), number, &batch, last.clone());
        // Outside the lock: waking may run foreign code.
        wake(wakers);
        if last.is_err() && has_ended {
            break;
        }
    }
    file.close();
    let wakers = shared.lock().commits.leave_all();
    wake(wakers);
    last
}

/// A waker is foreign code: one that panics is its task's matter, and no reason to write no more.
fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
    }
}

fn take(inner: &mut Inner, now: u64) -> (u64, Batch) {
    inner.table.sweep(SWEPT);
    let number = inner.commits.begin(now);
    let names = inner.table.names();
    let spaces = (0..).zip(names).skip(inner.saved_spaces);
    let spaces = spaces.map(|(space, name)| (space, name.clone())).collect();
    let (changes, seen) = (inner.table.take_dirty(), inner.table.now());
    (number, Batch { changes, spaces, seen })
}

fn publish(inner: &mut Inner, number: u64, batch: &Batch, outcome: Result<(), DiskError>) -> Vec<Waker> {
    if outcome.is_ok() {
        inner.saved_spaces += batch.spaces.len();
    } else {
        inner.table.still_dirty(batch.changes.iter().map(|(id, _)| *id));
    }
    inner.commits.end(number, outcome)
}
