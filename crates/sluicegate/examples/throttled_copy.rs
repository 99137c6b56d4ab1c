//! Copies a file no faster than it is told to, and stops at once when it is told to.
//!
//! `cargo run -p sluicegate --example throttled_copy -- FROM TO '10000000/s'`. The quota is in bytes; without one it is
//! `1000000/s burst 100000`. Enter ends it in the middle.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::fs::File;
use std::io;
use std::thread;

use sluicegate::clock::{Clock, SystemClock};
use sluicegate::io::{Canceller, Throttled};
use sluicegate::limiter::TokenBucket;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        return Err("say what to copy and where to: FROM TO [QUOTA]".into());
    };
    let quota = args.next().unwrap_or_else(|| "1000000/s burst 100000".into()).parse()?;

    let clock = SystemClock::new();
    let bucket = TokenBucket::with_clock(quota, clock);
    let mut reader = Throttled::reads(File::open(from)?, &bucket);
    on_enter(reader.canceller());

    let bytes = io::copy(&mut reader, &mut File::create(to)?)?;
    let millis = clock.now() / 1_000_000;
    println!("{bytes} bytes in {millis} ms, under {}", bucket.quota());
    Ok(())
}

/// A line on standard input cancels the copy. Its thread ends with the process.
fn on_enter(canceller: Canceller) {
    thread::spawn(move || {
        if io::stdin().read_line(&mut String::new()).is_ok_and(|read| read > 0) {
            canceller.cancel();
        }
    });
}
