//! What growing costs: each operation timed, and the memory in the end, in a process of its own.

use std::fs;
use std::process::Command;

use clap::value_parser;
use sluicegate::clock::{Clock, SystemClock};
use sluicegate::keyed::Keyed;
use sluicegate::quota::Quota;

use super::limiters::{Limiter, Who};
use super::streams::{Key, as_f64};
use crate::error::Error;
use crate::out;

/// Operations up to this are counted one by one, in nanoseconds.
const FINE: usize = 100_000;

/// Fills a limiter with keys.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    who: Who,
    #[arg(long, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    keys: u64,
    /// Keys are text
    #[arg(long)]
    text: bool,
    /// Keys are full again, and forgotten, after a tenth of the others have come
    #[arg(long)]
    expire: bool,
}

/// What it was measured to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// Resident, for each key.
    pub(super) bytes: f64,
    /// Nanoseconds that 999 of 1000 operations took at the most.
    pub(super) p999: f64,
    /// And all.
    pub(super) longest: f64,
    /// Operations that were granted.
    pub(super) granted: u64,
}

/// The child: grows, and prints.
pub(crate) fn run(args: &Args) {
    let Growth { bytes, p999, longest, granted } =
        if args.text { grow::<String>(args) } else { grow::<u64>(args) };
    out::say(&format!("{bytes} {p999} {longest} {granted}"));
}

/// Has a child do it.
pub(super) fn measure(who: Who, keys: u64, text: bool, expire: bool) -> Result<Growth, Error> {
    let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
    let mut command = Command::new(program);
    let who = format!("{who:?}").to_lowercase();
    command.args(["keyed-growth", "--who", &who, "--keys", &keys.to_string()]);
    command.args(text.then_some("--text")).args(expire.then_some("--expire"));
    let output = command.output().map_err(Error::io("starting a child"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [bytes, p999, longest, granted] = numbers[..] else {
        return Err(Error::Ended { name: "keyed-growth".into(), status: output.status.to_string(), said });
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let granted = granted as u64;
    Ok(Growth { bytes, p999, longest, granted })
}

fn grow<K: Key>(args: &Args) -> Growth {
    let clock = SystemClock::new();
    // Touched, so that it is resident from the start.
    let mut fine = vec![1_u32; FINE];
    let (mut longest, mut granted) = (0, 0);
    let mut time = |decide: &dyn Fn() -> bool| {
        let begin = clock.now();
        granted += u64::from(decide());
        let took = clock.now() - begin;
        longest = longest.max(took);
        fine[usize::try_from(took).unwrap_or(FINE).min(FINE - 1)] += 1;
    };
    let before = resident();
    let after = if args.expire {
        let quota = Quota::every(std::time::Duration::from_secs(1)).unwrap_or(Quota::ban());
        let keyed = Keyed::<K, _>::with_clock(quota, usize::try_from(args.keys).unwrap_or(usize::MAX), clock);
        let apart = 10_000_000_000 / args.keys;
        for number in 0..args.keys {
            let (key, now) = (K::of(number), keyed_now(number, apart));
            time(&|| keyed.try_take_at(&key, 1, now).is_granted());
        }
        resident()
    } else {
        let limiter = Limiter::<K>::new(args.who, args.keys);
        for number in 0..args.keys {
            let key = K::of(number);
            time(&|| limiter.first(&key));
        }
        resident()
    };
    let mut left = args.keys / 1000;
    let over = fine.iter().enumerate().rev().find(|(_, count)| {
        let count = u64::from(**count - 1);
        let is_over = count > left;
        left = left.saturating_sub(count);
        is_over
    });
    let p999 = as_f64(over.map_or(0, |(nanos, _)| nanos as u64));
    let bytes = as_f64(after.saturating_sub(before)) / as_f64(args.keys);
    Growth { bytes, p999, longest: as_f64(longest), granted }
}

/// From the first key on, so many nanoseconds apart, whatever the clock shows meanwhile.
const fn keyed_now(number: u64, apart: u64) -> u64 {
    1_000_000_000 + number * apart
}

/// How much of this process is resident, in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}
