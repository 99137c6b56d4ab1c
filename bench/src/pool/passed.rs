//! One thread gets buffers and writes to them, another gives them back.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::mpsc::sync_channel;
use std::thread;

use sluicegate::clock::{Clock, SystemClock};

use super::Subject;
use super::buffers::{Plan, beside};
use super::sizes::Sizes;
use super::source::{Ends, Source};
use crate::bucket::turn::Turn;

const CASE: &str = "passed to another thread";

/// So many go through the channel at once, so that it is not the channel that is measured.
const BATCH: u64 = 64;
/// So many such.
const PLACES: usize = 4;

pub(super) fn subjects() -> Vec<Subject> {
    beside(CASE, &Passed(Sizes::new()))
}

struct Passed(Sizes);

impl Plan for Passed {
    fn work(&self, from: impl Source + 'static) -> impl Fn(u64) -> Turn + 'static {
        let sizes = self.0.clone();
        move |operations| pass(operations, &sizes, |size| from.get(size))
    }
}

/// Nanoseconds from the first that is got to the last that was given back.
#[inline(never)]
pub(super) fn pass<T: Ends + Send>(operations: u64, sizes: &Sizes, get: impl Fn(usize) -> T + Sync) -> Turn {
    let (clock, begin) = (SystemClock::new(), Barrier::new(2));
    let (sender, receiver) = sync_channel::<Vec<T>>(PLACES);
    thread::scope(|scope| {
        let (clock, begin) = (&clock, &begin);
        let back = scope.spawn(move || {
            begin.wait();
            let mut back = 0;
            // Ends with the sender.
            while let Ok(batch) = receiver.recv() {
                back += batch.len() as u64;
                drop(black_box(batch));
            }
            (clock.now(), back)
        });
        begin.wait();
        let start = clock.now();
        let mut right = true;
        for first in (0..operations).step_by(usize::try_from(BATCH).unwrap_or(1)) {
            let batch = (first..operations.min(first + BATCH)).map(|number| {
                let size = sizes.at(number);
                let mut buffer = get(size);
                right &= buffer.write(size);
                buffer
            });
            if sender.send(batch.collect()).is_err() {
                break;
            }
        }
        drop(sender);
        let (end, back) = back.join().unwrap_or((start, 0));
        Turn::of(end.saturating_sub(start), operations, if right { back } else { 0 })
    })
}
