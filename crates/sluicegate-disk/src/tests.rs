//! A store on a disk that a test steers.

mod damage;
mod drive;
mod dropped;
mod failing;
mod power;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sluicegate::clock::{SystemClock, Utc};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store};
use sluicegate::timer::{ManualTime, block_on_until};

use crate::{Disk, DiskError, Options};
use drive::Drive;

/// Waits for the writer, which is a thread of its own.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    block_on_until(&SystemClock::new(), |context| match future.as_mut().poll(context) {
        Poll::Ready(found) => Ok(found),
        Poll::Pending => Err(None),
    })
}

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

fn strict() -> Options {
    Options::new().strict().patience(Duration::MAX)
}

fn try_open(options: &Options, drive: &Drive, time: &ManualTime) -> Result<Disk<ManualTime>, DiskError> {
    options.open_on(Box::new(drive.clone()), time.clone(), Utc::from_nanos(1 << 60))
}

fn open(options: &Options, drive: &Drive) -> (Disk<ManualTime>, ManualTime) {
    let time = ManualTime::new();
    (try_open(options, drive, &time).unwrap(), time)
}

/// What is left of each charge's bucket.
fn left(disk: &Disk<ManualTime>, charges: &[Charge<'_>]) -> Vec<u64> {
    let charges: Vec<Charge<'_>> = charges.iter().map(|charge| charge.of(0)).collect();
    wait(disk.peek(&charges)).unwrap().each.iter().map(|each| each.remaining()).collect()
}
