//! The two heartbeats of "Concurrency in Go", chapter 5, put right: one on an interval, and one at each unit of work.
//!
//! `cargo run -p sluicegate --example heartbeat`. What was wrong there:
//! * The pulse is sent by the loop that waits to hand over a result. It goes on while the consumer takes nothing, and is read as
//!   a sign that the work gets on. Here life and progress are two signs, and who lives and gets nothing done is said to be stalled.
//! * Between two units, while it works, it sends none: a long unit looks like a hang. Here it beats while anything is awaited.
//! * A pulse that nobody takes at that moment is thrown away; with room for one, the one that is kept is the oldest. Here a sign is
//!   one store to a word: the latest is there, whenever anybody looks.
//! * When the worker ends, its channels are closed, and a closed channel is always ready: who selects on it takes that for pulses. Where it
//!   stops without closing them, as by a panic, it looks like any silence. Here the end is told once, as the end or the panic it was.
//! * Who has waited two seconds in vain leaves, and what it waited for goes on for ever. Here the task is ended with who asked for it.
//! * A test sleeps, and hopes that the worker has begun. Here it waits for the first sign.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::future::pending;
use std::time::Duration;

use sluicegate::detector::{End, Life, Rule, Watching};
use sluicegate::heartbeat;
use sluicegate::timer::{Timer, TokioTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const MILLI: u64 = 1_000_000;

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    println!("on an interval: {:?}", on_an_interval().await?);
    println!("at each unit:   {:?}", at_each_unit().await?);
    Ok(())
}

/// Ten beats a second, whatever it waits for; a unit is 250 ms of work. The consumer takes three results, then none for a while, then
/// the others. Hands out how the worker stood, whenever that changed.
pub(crate) async fn on_an_interval() -> Result<Vec<Life>, Error> {
    let time = TokioTime::new();
    let watching = Watching::new(Rule::timeout(Duration::from_millis(400))?)
        .with_progress(Rule::timeout(Duration::from_millis(800))?);
    let (beater, mut listener) = heartbeat::pair(&watching, time);
    let (results, mut taken) = mpsc::channel(1);
    // Ends with this function, whoever leaves it, and when.
    let mut worker = JoinSet::new();
    worker.spawn(async move {
        for result in 0..16 {
            beater.progress();
            let unit = async {
                time.sleep_for(250 * MILLI).await;
                results.send(result).await
            };
            if beater.beating(Duration::from_millis(100), unit).await.is_err() {
                break;
            }
        }
    });
    listener.first_beat().await.map_err(|end| format!("it has never begun: {end:?}"))?;
    let mut lives = Vec::new();
    for _ in 0..3 {
        taken.recv().await.ok_or("it has ended early")?;
    }
    // Nobody takes anything now. It beats as well as ever.
    lives.extend(listener.changed().await);
    let (consumer, mut others) = (async { while taken.recv().await.is_some() {} }, Vec::new());
    let watch = async {
        while let Some(life) = listener.changed().await {
            others.push(life);
        }
    };
    tokio::join!(consumer, watch);
    lives.append(&mut others);
    Ok(lives)
}

/// A sign when a unit begins, and none between. The third of its units hangs. Hands out what was heard of that, how it ended once it was
/// cut off, and the last unit that it began.
pub(crate) async fn at_each_unit() -> Result<(Life, End, u32), Error> {
    let time = TokioTime::new();
    let (beater, mut listener) =
        heartbeat::pair(&Watching::new(Rule::timeout(Duration::from_millis(300))?), time);
    let (begins, mut begun) = mpsc::unbounded_channel();
    let mut worker = JoinSet::new();
    worker.spawn(async move {
        for unit in 1..=5_u32 {
            beater.progress();
            if begins.send(unit).is_err() {
                break;
            }
            if unit == 3 {
                pending::<()>().await;
            }
            time.sleep_for(20 * MILLI).await;
        }
    });
    listener.first_beat().await.map_err(|end| format!("it has never begun: {end:?}"))?;
    let silent = listener.changed().await.ok_or("it has no end twice")?;
    // Whoever asked for it ends it.
    worker.shutdown().await;
    let Some(Life::Ended(end)) = listener.changed().await else { return Err("its end is told".into()) };
    let mut last = 0;
    while let Some(unit) = begun.recv().await {
        last = unit;
    }
    Ok((silent, end, last))
}
