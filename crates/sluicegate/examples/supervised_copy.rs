//! A steward and three wards that go wrong in three ways: one panics, one hangs, one blocks a thread that nobody can stop.
//!
//! `cargo run -p sluicegate --example supervised_copy`. Each goes on from its last committed position; the thread that was left behind tries to
//! publish in the end, and may not.
//!
//! After the steward of "Concurrency in Go", chapter 5. What was wrong there:
//! * It closes the channel that tells the ward to stop, and starts another at once, whether or not the first has stopped: then two work
//!   and publish. Here the next begins when the last is gone, and what can't be stopped is fenced off first, counted and told.
//! * It selects on the ward's pulse without looking whether that channel is closed. A dead ward's is closed, and so always ready: the steward
//!   believes it healthy, and spins. Here an end is an end.
//! * It knows one way to fail: a silence. A panic ends the process, an error and an early end go unnoticed. Here each is told apart.
//! * It starts again at once and for ever. Here there is a pause that grows, a bound, and somebody who is told when it is reached.
//! * The ward begins from the first value each time, and the bridge hands the same values out again. Here it goes on from its last
//!   committed position.
//! * It can be stopped, and nobody hears when the wards have. Here `run` ends when all are gone.
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
