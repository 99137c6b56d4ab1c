//! Who asks too often is told when to come back; the others don't notice. Then comes a flood of made-up names.
//!
//! `cargo run -p sluicegate --example each_client`. Time is virtual: it ends at once.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::time::Duration;

use sluicegate::clock::ManualClock;
use sluicegate::keyed::{AtCap, Keyed};

fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let clients = Keyed::<str>::builder()
        .class(["2/s".parse()?, "20/m".parse()?])
        .class(["100/s".parse()?])
        .classify(|name: &str| usize::from(name.starts_with("internal:")))
        .max_keys(1000)
        .at_cap(AtCap::Share)
        .build_with(&clock)?;

    println!("ann asks ten times in two seconds, bob once a second, and a job of ours all the time:");
    for tenth in 0..20 {
        let mut line = format!("{:>4} ms ", tenth * 100);
        for (name, every) in [("ann", 2), ("bob", 10), ("internal:backup", 1)] {
            if tenth % every == 0 {
                line += &format!("  {name}: {}", clients.try_take(name, 1));
            }
        }
        println!("{line}");
        clock.advance(Duration::from_millis(100));
    }

    let flood = (0..100_000).filter(|n| clients.try_take(&format!("made up {n}"), 1).is_granted()).count();
    let counts = clients.counts();
    println!("\n100000 made-up names: {flood} granted, {} known", clients.len());
    println!("decided on the bucket that names without a place share: {}", counts.crowding.overflowed);
    println!("bob is as well off as before: {}", clients.try_take("bob", 1));

    clock.advance(Duration::from_secs(60));
    clients.sweep(0, 1);
    println!("a minute later: {} known", clients.len());
    Ok(())
}
