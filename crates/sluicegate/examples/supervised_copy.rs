//! A steward and three wards that go wrong in three ways: one panics, one hangs, one blocks a thread that nobody can stop.
//!
//! `cargo run -p sluicegate --example supervised_copy`. Each goes on from its last committed position; the thread that was left behind tries to
//! publish in the end, and may not.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::future::pending;
use std::time::Duration;

use sluicegate::detector::{Rule, Watching};
use sluicegate::fence::Fenced;
use sluicegate::restart::{Settings, When};
use sluicegate::supervise::{Spec, Steward, Ward};
use sluicegate::timer::{Timer, TokioTime};

/// Rows that each ward copies, and the one at which its first generation goes wrong.
const ROWS: u32 = 30;
const BAD: u32 = 12;

#[derive(Clone, Copy, Debug)]
enum Wrong {
    Panics,
    Hangs,
    Blocks,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let time = TokioTime::new();
    let settings = Settings::default().with_patience(Duration::from_millis(200));
    let mut steward = Steward::new(settings, time).with_report(|report| {
        println!("{:>5} ms  {report}", report.at() / 1_000_000);
    });
    let mut copied = Vec::new();
    for wrong in [Wrong::Panics, Wrong::Hangs, Wrong::Blocks] {
        let watching = Watching::new(Rule::timeout(Duration::from_millis(300))?);
        let spec = Spec::new(&format!("{wrong:?}")).watched(watching).with_when(When::OnFailure);
        copied.push(steward.add(spec, move |ward| copy(ward, wrong, time)));
    }
    let finished = steward.run().await?;
    for rows in copied {
        println!("copied to row {:?}", rows.last());
    }
    println!("left running: {}", finished.leaking);
    Ok(())
}

/// Copies row by row, 10 ms each.
async fn copy(ward: Ward<u32>, wrong: Wrong, time: TokioTime) -> Result<(), Fenced<u32>> {
    for row in ward.position().unwrap_or(0)..ROWS {
        if row == BAD && ward.generation() == 1 {
            match wrong {
                Wrong::Panics => unreachable!("row {row} can't be read"),
                Wrong::Hangs => pending::<()>().await,
                Wrong::Blocks => {
                    let token = ward.token().clone();
                    ward.blocking(move || {
                        // Longer than anybody's patience.
                        std::thread::park_timeout(Duration::from_millis(800));
                        println!("          the thread that was left behind: {:?}", token.commit(row));
                    })
                    .await;
                }
            }
        }
        time.sleep_for(10_000_000).await;
        ward.token().commit(row + 1)?;
        ward.beater().beat();
    }
    Ok(())
}
