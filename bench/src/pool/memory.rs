//! Whether what a pool holds stays as it is, however many buffers it gives out.

use std::fs;
use std::hint::black_box;

use super::passed::pass;
use super::sizes::Sizes;
use super::source::{Ends, Source, ours};
use crate::bucket::turn;
use crate::error::Error;
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// What it may grow, in KiB.
const MOST: f64 = 1024.0;

/// A page, in KiB: `statm` counts them, and on what our peers run on they are of this size.
const PAGE: f64 = 4.0;

/// Two threads get and return, and one passes to the other, in turns.
pub(super) fn row(buffers: u64) -> Result<Row, Error> {
    let (pool, sizes) = (ours::<Vec<u8>>(), Sizes::new());
    let some = |buffers: u64| {
        black_box(turn::take(2, buffers / 4, || {
            let size = sizes.next();
            pool.get(size).write(size)
        }));
        black_box(pass(buffers / 2, &sizes, |size| Source::get(&pool, size)));
    };
    const PARTS: u64 = 10;
    some(buffers / PARTS);
    let before = resident()?;
    for _ in 0..PARTS {
        some(buffers / PARTS);
    }
    let grown = (resident()? - before).max(0.0);
    let case = format!("resident memory, growth over {buffers} buffers");
    let bound = ("1 MiB", Summary::of([MOST]));
    Ok(Row::new((&case, "KiB"), Summary::of([grown]), bound, Some(Goal::AtMost(1.0))))
}

/// In KiB.
fn resident() -> Result<f64, Error> {
    const STATM: &str = "/proc/self/statm";
    let text = fs::read_to_string(STATM).map_err(Error::io(format!("reading {STATM}")))?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    Ok(pages.unwrap_or_default() * PAGE)
}
