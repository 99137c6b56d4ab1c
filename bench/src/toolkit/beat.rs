//! A sign of life. The peers: a watch channel, of which the last value is kept too; a channel of one place with `try_send`, as the
//! book's heartbeats have it; and, as the floor, the clock's reading in a relaxed store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate::clock::{CoarseClock, SystemClock};
use sluicegate::detector::{Rule, Watching};
use sluicegate::heartbeat;
use sluicegate::timer::{Timer, TokioTime};
use tokio::sync::{mpsc, watch};

use super::{NO_DEARER, Subject};
use crate::error::Error;

/// How often the coarse clock looks at the time.
const TICK: Duration = Duration::from_millis(1);

pub(super) fn subjects() -> Result<Vec<Subject>, Error> {
    let coarse = Arc::new(CoarseClock::start(TICK).map_err(Error::io("starting the coarse clock"))?);
    let mut all = of("beat", TokioTime::new())?;
    all.extend(of("beat, coarse clock", coarse)?);
    all.extend(of("beat, exact clock", SystemClock::new())?);
    Ok(all)
}

fn of<T: Timer>(case: &str, time: T) -> Result<Vec<Subject>, Error> {
    let rule = Rule::timeout(Duration::from_secs(1)).map_err(Error::setting("the beat's timeout"))?;
    let (beater, mut listener) = heartbeat::pair(&Watching::new(rule), time.clone());
    let ours = Subject::new(case, move || {
        beater.beat();
        true
    });
    let (watched, watcher) = watch::channel(0);
    let clock = time.clone();
    let watch = Subject::new(case, move || {
        watched.send_replace(clock.now());
        true
    });
    let (sender, mut receiver) = mpsc::channel(1);
    let clock = time.clone();
    let channel = Subject::new(case, move || {
        // Full, unless the listener has just looked.
        let _ = sender.try_send(clock.now());
        true
    });
    let word = AtomicU64::new(0);
    let floor = Subject::new(case, move || {
        word.store(time.now(), Ordering::Relaxed);
        true
    });
    // Those who listen look at the end of each turn: they are there.
    let listens = |subject: Subject, mut look: Box<dyn FnMut() -> bool>| {
        let mut turn = subject.turn;
        let turn = Box::new(move |runtime: &_, operations| {
            let (span, right) = turn(runtime, operations);
            (span, if look() { right } else { 0 })
        });
        Subject { turn, ..subject }
    };
    Ok(vec![
        listens(ours, Box::new(move || listener.look() == sluicegate::detector::Life::Alive)),
        listens(watch, Box::new(move || watcher.has_changed().is_ok())).of("tokio's watch", NO_DEARER),
        listens(channel, Box::new(move || receiver.try_recv().is_ok()))
            .of("tokio's mpsc, try_send", NO_DEARER),
        floor.of("a clock and a store", None),
    ])
}
